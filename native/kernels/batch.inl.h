// The batch: images gathered, moved and normalised straight into the program's input buffer, in one pass.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

// 0 … size - 1 mirrored at both ends without repeating them; |i| may go beyond by less than size.
FOVEAL_INLINE int64_t reflect(int64_t i, int64_t size) {
  if (size == 1) return 0;
  if (i < 0) i = -i;
  return i < size ? i : 2 * (size - 1) - i;
}

// y[h, w] = 0 where top <= h < bottom and left <= w < right; elsewhere
// pixel[reflect(h + dy), reflect(w' + dx)] * scale + shift, w' = w, or width - 1 - w where flipped.
// moves: (batch, 7) flip, dy, dx, top, left, bottom, right.
void assemble_batch(const assemble_batch_args& a, const Run& run) {
  const int64_t row = a.width * a.channels;
  each(run, run.batch, [&](int64_t n, int) {
    const int64_t source = a.index[n];
    const uint8_t* const image = a.pixels + source * a.height * row;
    float* const y = a.x + n * a.height * row;
    const int32_t *const move = a.moves + 7 * n, dy = move[1], dx = move[2];
    const int64_t top = move[3], left = move[4], bottom = move[5], right = move[6];
    const bool flip = move[0] != 0;
    a.y[n] = a.labels[source];
    for (int64_t h = 0; h < a.height; ++h) {
      const uint8_t* const from = image + reflect(h + dy, a.height) * row;
      float* const to = y + h * row;
      if (!flip && dx == 0 && a.channels == 1) {
        for (int64_t w = 0; w < a.width; ++w) to[w] = fma(static_cast<float>(from[w]), a.scale[0], a.shift[0]);
      } else {
        for (int64_t w = 0; w < a.width; ++w) {
          const uint8_t* const pixel = from + reflect((flip ? a.width - 1 - w : w) + dx, a.width) * a.channels;
          for (int64_t c = 0; c < a.channels; ++c) {
            to[w * a.channels + c] = fma(static_cast<float>(pixel[c]), a.scale[c], a.shift[c]);
          }
        }
      }
      if (top <= h && h < bottom) __builtin_memset(to + left * a.channels, 0, (right - left) * a.channels * 4);
    }
  });
}

void pad_images(const pad_images_args& a, const Run& run) {
  const int64_t high = a.top + a.height + a.bottom, wide = a.left + a.width + a.right;
  each(run, run.batch, [&](int64_t n, int) {
    const float* x = a.x + n * a.height * a.width * a.channels;
    float* const y = a.y + n * high * wide * a.out_channels;
    __builtin_memset(y, 0, high * wide * a.out_channels * 4);
    for (int64_t h = 0; h < a.height; ++h) {
      float* to = y + ((a.top + h) * wide + a.left) * a.out_channels;
      for (int64_t w = 0; w < a.width; ++w, to += a.out_channels) {
        for (int64_t c = 0; c < a.channels; ++c) to[c] = *x++;
      }
    }
  });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
