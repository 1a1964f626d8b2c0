// What a processor can do at most: chains of multiply-adds on registers, no memory touched. For benchmarks only.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

// Twelve chains at a time: more than are needed to hide an addition's latency, fewer than there are registers.
void fma_peak(const fma_peak_args& a, const Run& run) {
  constexpr int CHAINS = 12;
  const Reg factor = broadcast(static_cast<float>(a.factor)), term = broadcast(static_cast<float>(a.term));
  each(run, run.batch, [&](int64_t item, int) {
    for (int64_t at = 0; at < a.width; at += CHAINS * LANES) {
      float* const y = a.y + item * a.width + at;
      Reg value[CHAINS];  // which the compiler must not know, lest it takes them for one
      unroll<CHAINS>([&](auto k) FOVEAL_INLINED { value[k] = load(y + k * LANES); });
      for (int64_t i = 0; i < a.count; ++i) {
        unroll<CHAINS>([&](auto k) FOVEAL_INLINED { value[k] = fma(value[k], factor, term); });
      }
      unroll<CHAINS>([&](auto k) FOVEAL_INLINED { store(y + k * LANES, value[k]); });
    }
  });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
