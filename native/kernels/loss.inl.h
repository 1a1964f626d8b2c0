// Softmax and cross-entropy. exp and log are our own, in double and with basic operations only, so that no library's
// choice of instructions can change a bit.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

FOVEAL_INLINE double power_of_two(int64_t e) {
  const uint64_t bits = static_cast<uint64_t>(e + 1023) << 52;
  double value;
  __builtin_memcpy(&value, &bits, 8);
  return value;
}

// x = n ln 2 + r, |r| <= ln 2 / 2; e^r as a Taylor series to r^13 (error below 1e-17). Below -700: 0. x <= 700.
double exponential(double x) {
  if (!(x >= -700.0)) return x != x ? x : 0.0;
  const int64_t n = static_cast<int64_t>(x * 1.4426950408889634 + (x < 0 ? -0.5 : 0.5));
  const double whole = static_cast<double>(n);
  const double r = (x - whole * 0.69314718036912382) - whole * 1.9082149292705877e-10;
  constexpr double inverse[] = {
      1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
      1.0 / 720,        1.0 / 120,       1.0 / 24,       1.0 / 6,       0.5,          1.0,         1.0};
  double sum = 0;
  for (const double coefficient : inverse) sum = sum * r + coefficient;
  return sum * power_of_two(n);
}

// x = m 2^e, m in [sqrt(1/2), sqrt(2)); ln m = 2 artanh((m - 1) / (m + 1)) as a series. x > 0 and not denormal, or NaN.
double logarithm(double x) {
  if (x != x) return x;
  uint64_t bits;
  __builtin_memcpy(&bits, &x, 8);
  int64_t e = static_cast<int64_t>(bits >> 52) - 1023;
  bits = (bits & 0xFFFFFFFFFFFFF) | (uint64_t{1023} << 52);
  double m;
  __builtin_memcpy(&m, &bits, 8);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    e += 1;
  }
  const double s = (m - 1.0) / (m + 1.0), s2 = s * s;
  double series = 0;
  for (int k = 21; k > 0; k -= 2) series = series * s2 + 1.0 / k;
  return 2.0 * s * series + static_cast<double>(e) * 0.6931471805599453;
}

// With q as in foveal/layers/loss.py. Plain: hit = mass = 1 and spread = 0, so that these terms change no bit.
void softmax_cross_entropy(const softmax_cross_entropy_args& a, const Run& run) {
  const auto weight = [&](int64_t k) { return a.class_weights == nullptr ? 1.0 : double{a.class_weights[k]}; };
  const double spread = a.label_smoothing / static_cast<double>(a.classes);
  double total = 0, all = 0;
  for (int64_t n = 0; n < run.batch; ++n) total += weight(a.labels[n]);
  for (int64_t k = 0; k < a.classes; ++k) all += weight(k);
  const double inverse_total = 1.0 / total;
  // result[0] mean loss, result[1] number of correct answers: summed below, in the order of the batch
  each_range(run, run.batch, 16, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const float* const z = a.logits + n * a.stride;
      const int64_t label = a.labels[n];
      double top = z[0], sum = 0;
      for (int64_t k = 1; k < a.classes; ++k) top = z[k] > top ? z[k] : top;
      for (int64_t k = 0; k < a.classes; ++k) sum += exponential(z[k] - top);
      const double log_sum = logarithm(sum), hit = (1.0 - a.label_smoothing) * weight(label), mass = hit + spread * all;
      double loss = hit * (log_sum - (z[label] - top));
      for (int64_t k = 0; k < a.classes && spread > 0; ++k) loss += spread * weight(k) * (log_sum - (z[k] - top));
      a.losses[n] = static_cast<float>(loss);
      if (a.dlogits == nullptr) continue;
      float* const d = a.dlogits + n * a.stride;
      for (int64_t k = 0; k < a.classes; ++k) {
        const double p = exponential(z[k] - top) / sum;
        d[k] = static_cast<float>((p * mass - spread * weight(k) - (k == label ? hit : 0.0)) * inverse_total);
      }
      for (int64_t k = a.classes; k < a.stride; ++k) d[k] = 0;
    }
  });
  double loss = 0;
  int64_t correct = 0;
  for (int64_t n = 0; n < run.batch; ++n) {
    loss += a.losses[n];
    const float* const z = a.logits + n * a.stride;
    int64_t best = 0;
    for (int64_t k = 1; k < a.classes; ++k) best = z[k] > z[best] ? k : best;
    correct += best == a.labels[n];
  }
  a.result[0] = static_cast<float>(loss * inverse_total);
  a.result[1] = static_cast<float>(correct);
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
