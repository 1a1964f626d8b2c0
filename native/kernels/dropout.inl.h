// Dropout. Whether a value is kept is a function of (seed, epoch, step, layer, place in the batch, c, h, w): the same
// Philox 4×32-10 as in foveal/rng.py, one counter for four neighbouring channels.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

constexpr uint32_t PURPOSE_DROPOUT = 5;  // rng.py: PURPOSES
constexpr int QUADS = 16;                // counters computed side by side

struct Key {
  uint32_t k0, k1;
};

// words[i][q]: word i of counter (c0[q], c1, c2, c3).
FOVEAL_INLINE void philox(uint32_t words[4][QUADS], Key key) {
  for (int round = 0; round < 10; ++round) {
    for (int q = 0; q < QUADS; ++q) {
      const uint64_t p0 = uint64_t{0xD2511F53} * words[0][q], p1 = uint64_t{0xCD9E8D57} * words[2][q];
      const uint32_t w0 = static_cast<uint32_t>(p1 >> 32) ^ words[1][q] ^ key.k0;
      const uint32_t w2 = static_cast<uint32_t>(p0 >> 32) ^ words[3][q] ^ key.k1;
      words[1][q] = static_cast<uint32_t>(p1);
      words[3][q] = static_cast<uint32_t>(p0);
      words[0][q] = w0;
      words[2][q] = w2;
    }
    key.k0 += 0x9E3779B9;
    key.k1 += 0xBB67AE85;
  }
}

Key dropout_key(const Run& run, int64_t layer) {
  uint32_t words[4][QUADS] = {};
  words[0][0] = PURPOSE_DROPOUT;
  words[1][0] = run.epoch;
  words[2][0] = static_cast<uint32_t>(layer);
  philox(words, {static_cast<uint32_t>(run.seed), static_cast<uint32_t>(run.seed >> 32)});
  return {words[0][0], words[1][0]};
}

void dropout_forward(const dropout_forward_args& a, const Run& run) {
  const Key key = dropout_key(run, a.layer);
  const float least_kept = static_cast<float>(a.p), scale = static_cast<float>(1.0 / (1.0 - a.p));
  each(run, run.batch, [&](int64_t n, int) {
    for (int64_t pixel = 0; pixel < a.pixels; ++pixel) {
      const int64_t at = (n * a.pixels + pixel) * a.channels;
      for (int64_t c = 0; c < a.channels; c += 4 * QUADS) {
        uint32_t words[4][QUADS];
        for (int q = 0; q < QUADS; ++q) {
          words[0][q] = static_cast<uint32_t>(c / 4 + q);
          words[1][q] = static_cast<uint32_t>(pixel);
          words[2][q] = static_cast<uint32_t>(n);
          words[3][q] = run.step;
        }
        philox(words, key);
        const int64_t count = least(4 * QUADS, a.channels - c);
        for (int64_t i = 0; i < count; ++i) {
          const bool keep = static_cast<float>(words[i % 4][i / 4] >> 8) * 0x1p-24f >= least_kept;
          a.mask[at + c + i] = keep;
          a.y[at + c + i] = keep ? a.x[at + c + i] * scale : 0.0f;
        }
      }
    }
  });
}

void dropout_backward(const dropout_backward_args& a, const Run& run) {
  const Reg scale = broadcast(static_cast<float>(1.0 / (1.0 - a.p)));
  each_range(run, run.batch * a.count, PIECE, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) {
      const IntReg keep = __builtin_convertvector(*reinterpret_cast<const ByteReg*>(a.mask + i), IntReg);
      store(a.dy + i, keep != IntReg{} ? load(a.dy + i) * scale : Reg{});
    }
  });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
