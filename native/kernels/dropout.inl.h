// Dropout. Whether a value is kept is a function of (seed, epoch, step, layer, place in the batch, c, h, w): the same
// Philox 4×32-10 as in foveal/rng.py, one counter for four neighbouring channels.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

constexpr uint32_t PURPOSE_DROPOUT = 5;  // rng.py: PURPOSES

struct Key {
  uint32_t k0, k1;
};

// words[i] lane q: word i of the counter that lane q of the four registers holds.
FOVEAL_INLINE void philox(WordReg words[4], Key key) {
  for (int round = 0; round < 10; ++round) {
    WordReg low0, high0, low2, high2;
    wide_products(words[0], 0xD2511F53, low0, high0);
    wide_products(words[2], 0xCD9E8D57, low2, high2);
    words[0] = high2 ^ words[1] ^ key.k0;
    words[2] = high0 ^ words[3] ^ key.k1;
    words[1] = low2;
    words[3] = low0;
    key.k0 += 0x9E3779B9;
    key.k1 += 0xBB67AE85;
  }
}

Key dropout_key(const Run& run, int64_t layer) {
  WordReg words[4] = {WordReg{PURPOSE_DROPOUT}, WordReg{run.epoch}, WordReg{static_cast<uint32_t>(layer)}, WordReg{}};
  philox(words, {static_cast<uint32_t>(run.seed), static_cast<uint32_t>(run.seed >> 32)});
  return {words[0][0], words[1][0]};
}

FOVEAL_INLINE IntReg is_kept(WordReg word, Reg least_kept) {
  return __builtin_convertvector((IntReg)(word >> 8), Reg) * 0x1p-24f >= least_kept;
}

// Which of 4 * LANES neighbouring channels from c on to keep, in their order.
FOVEAL_INLINE void keep_of_image(uint8_t* keep, int64_t c, int64_t pixel, WordReg image, WordReg step, Key key, Reg p) {
  WordReg quads{};
  for (int q = 0; q < LANES; ++q) quads[q] = static_cast<uint32_t>(c / 4 + q);
  WordReg words[4] = {quads, WordReg{} + static_cast<uint32_t>(pixel), image, step};
  philox(words, key);  // word i of lane q belongs to channel c + 4 q + i
  WordReg bytes{};     // byte i of lane q: little-endian, as all processors are that foveal runs on
  for (int i = 0; i < 4; ++i) bytes |= (WordReg)is_kept(words[i], p) & (1u << 8 * i);
  __builtin_memcpy(keep, &bytes, sizeof bytes);
}

// The same where the image is a vector to the layer: element f takes word f % 4 of the counter f / 4 at pixel 0.
FOVEAL_INLINE void keep_of_vector(uint8_t* keep, int64_t c, int64_t pixel, int64_t pixels, WordReg image, WordReg step,
                                  Key key, Reg p) {
  for (int64_t from = 0; from < 4 * LANES; from += LANES) {
    WordReg f{};
    for (int q = 0; q < LANES; ++q) f[q] = static_cast<uint32_t>((c + from + q) * pixels + pixel);
    WordReg words[4] = {f / 4, WordReg{}, image, step};
    philox(words, key);
    const WordReg i = f % 4;
    const IntReg kept = is_kept(i == 0 ? words[0] : i == 1 ? words[1] : i == 2 ? words[2] : words[3], p);
    store_bytes(keep + from, kept & 1);
  }
}

void dropout_forward(const dropout_forward_args& a, const Run& run) {
  const Key key = dropout_key(run, a.layer);
  const Reg scale = broadcast(static_cast<float>(1.0 / (1.0 - a.p)));
  const Reg least_kept = broadcast(static_cast<float>(a.p));
  const WordReg step = WordReg{} + run.step;
  each(run, run.batch, [&](int64_t n, int) {
    const WordReg image = WordReg{} + static_cast<uint32_t>(n);
    for (int64_t pixel = 0; pixel < a.pixels; ++pixel) {
      const int64_t at = (n * a.pixels + pixel) * a.channels;
      for (int64_t c = 0; c < a.channels; c += 4 * LANES) {
        uint8_t keep[4 * LANES];
        if (a.flat) {
          keep_of_vector(keep, c, pixel, a.pixels, image, step, key, least_kept);
        } else {
          keep_of_image(keep, c, pixel, image, step, key, least_kept);
        }
        const int64_t count = least(4 * LANES, a.channels - c);
        __builtin_memcpy(a.mask + at + c, keep, count);
        for (int64_t i = 0; i < count; i += LANES) {
          const IntReg kept = load_bytes(keep + i);
          store(a.y + at + c + i, kept != IntReg{} ? load(a.x + at + c + i) * scale : Reg{});
        }
      }
    }
  });
}

void dropout_backward(const dropout_backward_args& a, const Run& run) {
  const Reg scale = broadcast(static_cast<float>(1.0 / (1.0 - a.p)));
  each_range(run, run.batch * a.count, PIECE, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) {
      const IntReg keep = load_bytes(a.mask + i);
      store(a.dx + i, keep != IntReg{} ? load(a.dy + i) * scale : Reg{});
    }
  });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
