// Limits on lengths: foveal/optim/clipping.py. Squares are summed in double, where the product of two floats is exact,
// so that a target without fused multiply-add gives the same bits; the order of every sum is that of the stored values.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

constexpr int64_t CHAINS = 16;  // sums side by side, whatever the target's vectors are

// The norm of `count` floats: of each piece 16 chains, added in order; then the pieces, in order.
void clip_gradient(const clip_gradient_args& a, const Run& run) {
  each_range(run, a.count, PIECE, [&](int64_t begin, int64_t end) {
    double chain[CHAINS] = {}, sum = 0;
    for (int64_t i = begin; i < end; i += CHAINS) {
      for (int64_t j = 0; j < CHAINS; ++j) {
        const double g = a.gradient[i + j];
        chain[j] += g * g;
      }
    }
    for (int64_t j = 0; j < CHAINS; ++j) sum += chain[j];
    a.partial[begin / PIECE] = sum;
  });
  double sum = 0;
  for (int64_t piece = 0; piece < ceil_div(a.count, PIECE); ++piece) sum += a.partial[piece];
  const double share = a.most / (__builtin_sqrt(sum) + 1e-6);
  if (share >= 1.0) return;  // NaN goes on, to show
  const Reg scale = broadcast(static_cast<float>(share));
  each_range(run, a.count, PIECE, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) store(a.gradient + i, load(a.gradient + i) * scale);
  });
}

// Each unit is a chain over its `depth` weights as they lie in their panel, which is a work item.
void limit_norms(const limit_norms_args& a, const Run& run) {
  each(run, a.units / PANEL, [&](int64_t item, int) {
    float* const w = a.weight + item * PANEL * a.depth;
    double sum[PANEL] = {};
    for (int64_t i = 0; i < a.depth; ++i) {
      for (int64_t j = 0; j < PANEL; ++j) {
        const double value = w[i * PANEL + j];
        sum[j] += value * value;
      }
    }
    float scale[PANEL];
    bool any = false;
    for (int64_t j = 0; j < PANEL; ++j) {
      const double norm = __builtin_sqrt(sum[j]);
      const bool over = norm > a.most;
      scale[j] = over ? static_cast<float>(a.most / norm) : 1.0f;
      any = any || over;
    }
    for (int64_t i = 0; i < a.depth && any; ++i) {
      for (int64_t j = 0; j < PANEL; j += LANES) store(w + i * PANEL + j, load(w + i * PANEL + j) * load(scale + j));
    }
  });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
