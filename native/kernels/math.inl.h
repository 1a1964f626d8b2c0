// e^x in vectors and what activations make of it: own polynomials and basic operations only, one text for all targets,
// so the same bits. Errors are a few units in the last place over the whole range (tests/native/activation_cases.py).
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

FOVEAL_INLINE Reg magnitude(Reg x) { return (Reg)((WordReg)x & 0x7FFFFFFF); }
FOVEAL_INLINE Reg unless_nan(Reg x, Reg y) { return x == x ? y : x; }  // one NaN for all processors: the one given

// coefficients[0] + coefficients[1] x + ...
template <int N>
FOVEAL_INLINE Reg polynomial(Reg x, const float (&coefficients)[N]) {
  Reg sum = broadcast(coefficients[N - 1]);
  unroll<N - 1>([&](auto i) { sum = fma(sum, x, broadcast(coefficients[N - 2 - i])); });
  return sum;
}

// e^x = 2^n (1 + rest) with |rest| < 1/2, for -104 <= x <= 0.
struct Exponential {
  WordReg n;  // and a multiple of 512
  Reg rest;

  FOVEAL_INLINE Reg power() const { return (Reg)((n + 127) << 23); }  // 2^n, where n >= -126
  // factor e^x, for factors below 2^63: 2^n alone may be too small for a float
  FOVEAL_INLINE Reg times(Reg factor) const {
    return fma(factor, rest, factor) * (Reg)((n + (127 + 64)) << 23) * broadcast(0x1p-64f);
  }
};

// x = high + low, low being small: x = n ln 2 + r, |r| <= 0.37, and e^r - 1 = r + r² q(r).
FOVEAL_INLINE Exponential exponential(Reg high, Reg low) {
  constexpr float q[] = {0.5f, 0.16666667f, 0.041666403f, 0.0083332006f, 0.0013941805f, 0.00019949779f};
  const Reg shift = broadcast(0x1.8p23f);  // adding it rounds to an integer, which then lies in the lowest 9 bits
  const Reg shifted = fma(high + low, broadcast(1.44269504f), shift), n = shifted - shift;
  const Reg r = fma(n, broadcast(2.12194440e-4f), fma(n, broadcast(-0.693359375f), high)) + low;
  return {(WordReg)shifted, fma(r * r, polynomial(r, q), r)};
}

// 1 / (1 + e^-x), as e / (1 + e) with e = e^-|x| where x < 0, so that nothing cancels or overflows.
FOVEAL_INLINE Reg sigmoid(Reg x) {
  const Reg one = broadcast(1.0f);
  const Reg e = exponential(-minimum(magnitude(x), broadcast(104.0f)), Reg{}).times(one);
  const Reg positive = one / (one + e);
  return unless_nan(x, x < Reg{} ? e * positive : positive);
}

// With d = e^-2|x| - 1, to which 1 is never added before it is subtracted: tanh |x| = -d / (2 + d).
FOVEAL_INLINE Reg hyperbolic_tangent(Reg x) {
  const Reg two = broadcast(2.0f);
  const Exponential e = exponential(minimum(magnitude(x), broadcast(20.0f)) * -two, Reg{});  // beyond: 1 in float
  const Reg power = e.power(), d = fma(power, e.rest, power - broadcast(1.0f)), y = d / (two + d);
  return unless_nan(x, x < Reg{} ? y : -y);
}

// x² - square, square being x² as it is rounded.
FOVEAL_INLINE Reg lost_of_square(Reg x, Reg square) {
#if defined(__FMA__) || defined(__aarch64__)
  return fma(x, x, -square);
#else  // products of halves of 12 bits are exact (Dekker 1971)
  const Reg head = (Reg)((WordReg)x & 0xFFFFF000), tail = x - head;
  return (head * head - square) + head * tail + head * tail + tail * tail;
#endif
}

// The normal distribution left of -t, t = |x|: Φ(-t) = tail e^(-t²/2), a smooth factor times what becomes small.
struct NormalTail {
  Reg t;               // at most 14.5, beyond which Φ(-t) is 0 in float
  Reg tail;            // (1 / 2) erfcx(t / √2)
  Exponential square;  // e^(-t²/2)
};

FOVEAL_INLINE NormalTail normal_tail(Reg x) {
  constexpr float p[] = {0.11968733f,  0.11955869f, 0.11034903f,  0.07784125f, 0.09778813f,
                         -0.08253308f, 0.19559386f, -0.23111376f, 0.11368422f, -0.020855682f};
  const Reg t = minimum(magnitude(x), broadcast(14.5f));
  const Reg v = broadcast(1.0f) / fma(t, broadcast(0.3f), broadcast(1.0f));
  // t² to more digits than a float has, for e^ multiplies its error
  const Reg square = t * t, half = broadcast(-0.5f);
  return {t, v * polynomial(v, p), exponential(square * half, lost_of_square(t, square) * half)};
}

// x Φ(x), which is |x| Φ(-|x|) less than max(x, 0).
FOVEAL_INLINE Reg gelu(Reg x) {
  const NormalTail n = normal_tail(x);
  return unless_nan(x, maximum(x, Reg{}) - n.square.times(n.t * n.tail));
}

// Φ(x) + x φ(x); at -t it is Φ(-t) - t φ(t), and the rest up to 1 at t.
FOVEAL_INLINE Reg gelu_slope(Reg x) {
  const NormalTail n = normal_tail(x);
  const Reg left = n.square.times(fma(n.t, broadcast(-0.3989423f), n.tail));  // 1 / √(2π)
  return unless_nan(x, x > Reg{} ? broadcast(1.0f) - left : left);
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
