// Convolution as an implicit matrix product, NHWC: a tile's rows are neighbouring output pixels of one image row, its
// reduction runs over (kernel row, kernel column and channel), with dilation, groups or padding channels over each
// kernel row in turn; nothing is unfolded. Borders of zeros are written into a scratch copy of the image rows at hand,
// which stays in cache; kernel rows that lie in one, above or below the image, are left out.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

FOVEAL_INLINE void copy_floats(float* to, const float* from, int64_t count) { __builtin_memcpy(to, from, count * 4); }
FOVEAL_INLINE void zero_floats(float* to, int64_t count) { __builtin_memset(to, 0, count * 4); }

// rows: (rows, width, channels) with its zeros in place, the first one row `first` of an image of `height`; y:
// `out_height` rows of `out_width` pixels. In each of `blocks` parts of the channels and filters a convolution of its
// own, of its first `used` channels: the others are padding.
struct ConvRows {
  int64_t first, height, width, channels, used, kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x,
      blocks, out_height, out_width, filters;
};

void conv_rows(const ConvRows& g, const float* rows, const float* panels, float* y, const TileC& epilogue) {
  const int64_t inputs = g.channels / g.blocks, outputs = g.filters / g.blocks, tiles = ceil_div(outputs, TILE_COLUMNS);
  const int64_t span = g.kernel_width * inputs, depth = g.kernel_height * span;
  const int64_t row = g.width * g.channels, next = g.dilation_y * row, step = g.stride_x * g.channels;
  const bool whole = g.dilation_x == 1 && g.used == g.channels;  // a kernel row is one run of floats
  for (int64_t t = 0; t < g.blocks * tiles; ++t) {
    const int64_t block = t / tiles, n = t % tiles * TILE_COLUMNS, columns = tile_columns(n, outputs);
    const float* const weights = panels + block * depth * outputs;
    for (int64_t r = 0; r < g.out_height; ++r) {
      const int64_t top = g.first + r * g.stride_y, begin = top < 0 ? ceil_div(-top, g.dilation_y) : 0;
      const int64_t end = least(g.kernel_height, ceil_div(most(0, g.height - top), g.dilation_y));
      const int64_t filter = block * outputs + n, at = r * g.out_width * g.filters + filter;
      const float* const from = rows + r * g.stride_y * row + block * inputs;
      TileC c = epilogue;
      c.data = y + at;
      c.row = g.filters;
      if (epilogue.bias != nullptr) c.bias = epilogue.bias + filter;
      if (epilogue.mask != nullptr) c.mask = epilogue.mask + at;
      if (whole || begin >= end) {
        tile_rows({from + begin * next, step, 1, next}, from_panels(weights, depth, begin * span, n, span),
                  {most(0, end - begin), span}, c, g.out_width, columns);
        continue;
      }
      for (int64_t ky = begin; ky < end; ++ky) {
        const bool last = ky + 1 == end;
        c.resume = ky > begin;
        c.relu = last && epilogue.relu;
        c.mask = last && epilogue.mask != nullptr ? epilogue.mask + at : nullptr;
        c.streams = last && epilogue.streams && ky == begin;  // what comes back is not sent past the caches
        tile_rows({from + ky * next, step, 1, g.dilation_x * g.channels},
                  from_panels(weights, depth, ky * span, n, inputs), {g.kernel_width, g.used}, c, g.out_width, columns);
      }
    }
  }
}

// Rows of a band: no more than `most_rows` (scratch has room for them), fewer where the images alone would leave
// threads idle. Bits do not depend on it: every output is a chain of its own.
int64_t band_rows(const Run& run, int64_t most_rows, int64_t out_height) {
  const int64_t pieces = ceil_div(4 * pool_threads(*run.pool), run.batch);
  return most(1, least(most_rows, ceil_div(out_height, pieces)));
}

// Max pooling of two rows of `width` pixels, to row `to` (in pixels) of y and its codes.
void pool_pair(const float* pair, int64_t width, int64_t channels, float* y, uint8_t* code, int64_t to) {
  for (int64_t x = 0; x + 1 < width; x += 2, ++to) {
    const float *const above = pair + x * channels, *const below = above + width * channels;
    for (int64_t c = 0; c < channels; c += LANES) {
      const Largest largest(load(above + c), load(above + channels + c), load(below + c), load(below + channels + c));
      largest.store(y, code, to * channels + c);
    }
  }
}

void conv2d_forward(const conv2d_forward_args& a, const Run& run) {
  const int64_t extent_y = (a.kernel_height - 1) * a.dilation_y + 1, extent_x = (a.kernel_width - 1) * a.dilation_x + 1;
  const int64_t right = (a.out_width - 1) * a.stride_x + extent_x - a.left - a.width;
  const int64_t bottom = (a.out_height - 1) * a.stride_y + extent_y - a.top - a.height;
  const bool copies = a.top > 0 || a.left > 0 || right > 0 || bottom > 0;
  int64_t band = band_rows(run, a.band, a.out_height);
  if (a.code != nullptr) band = most(2, band / 2 * 2);
  const int64_t bands = ceil_div(a.out_height, band);
  const int64_t wide = copies ? a.left + a.width + most(right, 0) : a.width;
  const bool streams = a.code == nullptr && run.batch * a.out_height * a.out_width * a.filters > STREAMED;
  each(run, run.batch * bands, [&](int64_t item, int thread) {
    const int64_t n = item / bands, y0 = item % bands * band, out_rows = least(band, a.out_height - y0);
    const float* const image = a.x + n * a.height * a.width * a.channels;
    const int64_t first = y0 * a.stride_y - a.top, count = (out_rows - 1) * a.stride_y + extent_y;
    const float* rows = image + first * a.width * a.channels;
    if (copies) {
      float* const scratch = a.scratch + thread * a.scratch_floats;
      for (int64_t r = 0; r < count; ++r) {
        float* const to = scratch + r * wide * a.channels;
        if (first + r < 0 || first + r >= a.height) {
          zero_floats(to, wide * a.channels);
          continue;
        }
        zero_floats(to, a.left * a.channels);
        copy_floats(to + a.left * a.channels, image + (first + r) * a.width * a.channels, a.width * a.channels);
        zero_floats(to + (a.left + a.width) * a.channels, (wide - a.left - a.width) * a.channels);
      }
      rows = scratch;
    }
    ConvRows g{first,           a.height,       wide,       a.channels,  a.used_channels,
               a.kernel_height, a.kernel_width, a.stride_y, a.stride_x,  a.dilation_y,
               a.dilation_x,    a.blocks,       out_rows,   a.out_width, a.filters};
    const TileC epilogue{nullptr, 0, a.bias, false, a.relu != 0, nullptr, streams};
    if (a.code == nullptr) {
      conv_rows(g, rows, a.weight, a.y + (n * a.out_height + y0) * a.out_width * a.filters, epilogue);
    } else {
      g.out_height = 2;
      float* const pair = a.scratch + (thread + 1) * a.scratch_floats - 2 * a.out_width * a.filters;
      for (int64_t r = 0; r + 1 < out_rows; r += 2) {
        g.first = first + r * a.stride_y;
        conv_rows(g, rows + r * a.stride_y * wide * a.channels, a.weight, pair, epilogue);
        pool_pair(pair, a.out_width, a.filters, a.y, a.code,
                  (n * (a.out_height / 2) + (y0 + r) / 2) * (a.out_width / 2));
      }
    }
    if (streams) stream_end();
  });
}

// Outputs that a row or column of inputs comes into, on one axis: out = first, first + 1, … `count` of them.
struct Reached {
  int64_t first, count;
};
// Of inputs [at, at + size): those with 0 <= in + before - out * stride < extent, those outside the map included.
FOVEAL_INLINE Reached reached_outputs(int64_t at, int64_t size, int64_t before, int64_t stride, int64_t extent) {
  const int64_t low = at + before - extent + 1;  // may lie before the map
  return {low >= 0 ? ceil_div(low, stride) : -(-low / stride), (size + extent - 2) / stride + 1};
}

// dx of inputs that are `stride` apart, which the same taps reach: of rows of the gradient (rows of `wide` pixels, the
// first one at `down`, `across`), each tap a matrix product with its own turned weights.
void strided_rows(const conv2d_backward_data_args& a, const float* rows, int64_t wide, Reached down, Reached across,
                  int64_t y0, int64_t out_rows, float* dx, const float* mask) {
  const int64_t inputs = a.filters / a.blocks, outputs = a.channels / a.blocks, tiles = ceil_div(outputs, TILE_COLUMNS);
  const int64_t depth = a.kernel_height * a.kernel_width * inputs, apart = a.stride_x / gcd(a.stride_x, a.dilation_x);
  for (int64_t t = 0; t < a.blocks * tiles; ++t) {
    const int64_t block = t / tiles, n = t % tiles * TILE_COLUMNS, columns = tile_columns(n, outputs);
    const float* const weights = a.turned + block * depth * outputs;
    for (int64_t item = 0; item < out_rows * least(a.stride_x, a.width); ++item) {
      const int64_t r = item / least(a.stride_x, a.width), x = item % least(a.stride_x, a.width);
      const int64_t at = (r * a.width + x) * a.channels + block * outputs + n,
                    pixels = ceil_div(a.width - x, a.stride_x);
      TileC c{dx + at, a.stride_x * a.channels, nullptr, false, false, mask == nullptr ? nullptr : mask + at};
      // turned taps (u, v) belong to (kernel_height - 1 - u, kernel_width - 1 - v)
      const auto above = [&](int64_t u) { return y0 + r + a.top - (a.kernel_height - 1 - u) * a.dilation_y; };
      const auto before = [&](int64_t v) { return x + a.left - (a.kernel_width - 1 - v) * a.dilation_x; };
      int64_t v = 0, u = 0;
      while (v < a.kernel_width && before(v) % a.stride_x != 0) ++v;
      while (u < a.kernel_height && above(u) % a.stride_y != 0) ++u;
      if (u == a.kernel_height || v == a.kernel_width) {  // no tap reaches these
        tile_rows({rows, 0, 0, 0}, from_panels(weights, depth, 0, n), {0, 0}, c, pixels, columns);
        continue;
      }
      const int64_t count = (a.kernel_width - 1 - v) / apart + 1, skipped = a.stride_y / gcd(a.stride_y, a.dilation_y);
      const float* const whole_mask = c.mask;
      for (; u < a.kernel_height; u += skipped) {
        const int64_t row = above(u) / a.stride_y - down.first, column = before(v) / a.stride_x - across.first;
        c.mask = u + skipped < a.kernel_height ? nullptr : whole_mask;
        tile_rows({rows + (row * wide + column) * a.filters + block * inputs, a.filters, 1,
                   apart * a.dilation_x / a.stride_x * a.filters},
                  from_panels(weights, depth, (u * a.kernel_width + v) * inputs, n, apart * inputs),
                  {count, a.used_filters}, c, pixels, columns);
        c.resume = true;
      }
    }
  }
}

// dx is the convolution of dy, bordered with zeros, with the turned weights: with a stride, another one for each place
// of a pixel between two strides, whose taps are those that come out at whole outputs.
void conv2d_backward_data(const conv2d_backward_data_args& a, const Run& run) {
  const int64_t band = band_rows(run, a.band, a.height), bands = ceil_div(a.height, band);
  const int64_t extent_y = (a.kernel_height - 1) * a.dilation_y + 1, extent_x = (a.kernel_width - 1) * a.dilation_x + 1;
  const Reached across = reached_outputs(0, a.width, a.left, a.stride_x, extent_x);
  const int64_t begin = most(0, -across.first), from_x = most(0, across.first), wide = across.count;
  const int64_t inside = most(0, least(a.out_width - from_x, wide - begin));
  each(run, run.batch * bands, [&](int64_t item, int thread) {
    const int64_t n = item / bands, y0 = item % bands * band, out_rows = least(band, a.height - y0);
    const float* const dy = a.dy + n * a.out_height * a.out_width * a.filters;
    float* const scratch = a.scratch + thread * a.scratch_floats;
    const Reached down = reached_outputs(y0, out_rows, a.top, a.stride_y, extent_y);
    for (int64_t r = 0; r < down.count; ++r) {
      float* const to = scratch + r * wide * a.filters;
      const int64_t from = down.first + r;
      if (from < 0 || from >= a.out_height) {
        zero_floats(to, wide * a.filters);
        continue;
      }
      zero_floats(to, least(begin, wide) * a.filters);
      copy_floats(to + begin * a.filters, dy + (from * a.out_width + from_x) * a.filters, inside * a.filters);
      zero_floats(to + (begin + inside) * a.filters, most(0, wide - begin - inside) * a.filters);
    }
    const int64_t at = (n * a.height + y0) * a.width * a.channels;
    const float* const mask = a.mask == nullptr ? nullptr : a.mask + at;
    if (a.stride_y == 1 && a.stride_x == 1) {
      conv_rows({down.first, a.out_height, wide, a.filters, a.used_filters, a.kernel_height, a.kernel_width, 1, 1,
                 a.dilation_y, a.dilation_x, a.blocks, out_rows, a.width, a.channels},
                scratch, a.turned, a.dx + at, {nullptr, 0, nullptr, false, false, mask});
    } else {
      strided_rows(a, scratch, wide, down, across, y0, out_rows, a.dx + at, mask);
    }
  });
}

// Valid outputs [begin, end) on one axis for a tap: 0 <= out * stride + tap - before < size.
struct Valid {
  int64_t begin, end;
};
FOVEAL_INLINE Valid valid_outputs(int64_t tap, int64_t before, int64_t stride, int64_t size, int64_t outputs) {
  const int64_t begin = tap >= before ? 0 : ceil_div(before - tap, stride);
  const int64_t room = size - 1 + before - tap;
  return {begin, room < 0 ? 0 : least(outputs, room / stride + 1)};
}

// dW[tap, i, o] = sum over images and pixels, in order, of x[shifted by the tap, i] * dy[o]. Each thread owns some
// tiles and passes over the images, so that no partial sums are ever combined. Without padding a whole kernel row
// (columns and channels) is one run of neighbouring floats, which is what makes 1 and 3 channels worth a tile.
void conv2d_backward_weights(const conv2d_backward_weights_args& a, const Run& run) {
  const bool runs = a.top == 0 && a.left == 0 && a.dilation_y == 1 && a.dilation_x == 1 && a.blocks == 1 &&
                    (a.out_width - 1) * a.stride_x + a.kernel_width <= a.width &&
                    (a.out_height - 1) * a.stride_y + a.kernel_height <= a.height;
  const int64_t inputs = a.channels / a.blocks, outputs = a.filters / a.blocks;
  const int64_t taps_x = runs ? 1 : a.kernel_width, span = runs ? a.kernel_width * inputs : inputs;
  const int64_t columns = ceil_div(outputs, TILE_COLUMNS), taps = a.kernel_height * taps_x;
  const int64_t whole = a.blocks * taps * columns;
  const int64_t chunks = row_chunks(span, ceil_div(ITEMS * pool_threads(*run.pool), whole)), tiles = whole * chunks;
  const int64_t depth = a.kernel_height * a.kernel_width * inputs;
  each_share(run, tiles, [&](int64_t begin, int64_t end, int) {
    for (int64_t image = 0; image < run.batch; ++image) {
      const float* const x = a.x + image * a.height * a.width * a.channels;
      const float* const dy = a.dy + image * a.out_height * a.out_width * a.filters;
      for (int64_t t = begin; t < end; ++t) {
        const int64_t m = span * (t % chunks) / chunks, count = span * (t % chunks + 1) / chunks - m;
        const int64_t n = t / chunks % columns * TILE_COLUMNS;
        const int64_t tap = t / chunks / columns % taps, block = t / chunks / columns / taps;
        const int64_t ky = tap / taps_x, kx = tap % taps_x, down = ky * a.dilation_y, across = kx * a.dilation_x;
        const Valid vy = valid_outputs(down, a.top, a.stride_y, a.height, a.out_height);
        const Valid vx = runs ? Valid{0, a.out_width} : valid_outputs(across, a.left, a.stride_x, a.width, a.out_width);
        TileC c = into_panels(a.dweight + block * depth * outputs, depth, (ky * a.kernel_width + kx) * inputs + m, n,
                              image > 0);
        if (a.mask != nullptr) c.mask = a.mask + (c.data - a.dweight);
        const int64_t from_y = vy.begin * a.stride_y + down - a.top, from_x = vx.begin * a.stride_x + across - a.left;
        const int64_t channel = block * inputs + m, filter = block * outputs + n;
        const Reduction k{most(0, vy.end - vy.begin), most(0, vx.end - vx.begin)};
        tile_rows({x + (from_y * a.width + from_x) * a.channels + channel, 1, a.stride_x * a.channels,
                   a.stride_y * a.width * a.channels},
                  {dy + (vy.begin * a.out_width + vx.begin) * a.filters + filter, a.filters, a.out_width * a.filters},
                  k, c, count, tile_columns(n, outputs));
      }
    }
  });
}

// One row of the outputs' gradient, finished: routed through pooling's codes, or batch norm's part added.
FOVEAL_INLINE void gradient_row(const conv2d_first_backward_args& a, int64_t image, int64_t row, float* out) {
  const int64_t F = a.filters, at = (image * a.out_height + row) * a.out_width * F;
  if (a.code != nullptr) {
    const int64_t high = a.out_height / 2, wide = a.out_width / 2, from = (image * high + row / 2) * wide * F;
    const bool pooled = row / 2 < high;  // a last odd row is in no window, nor is a last odd column
    for (int64_t x = 0; x < a.out_width; ++x) {
      const int64_t i = from + x / 2 * F;
      const int32_t tap = static_cast<int32_t>(row % 2 * 2 + x % 2);
      for (int64_t f = 0; f < F; f += LANES) {
        store(out + x * F + f, pooled && x / 2 < wide ? routed(load(a.dy + i + f), a.code + i + f, tap) : Reg{});
      }
    }
    return;
  }
  for (int64_t x = 0; x < a.out_width; ++x) {
    for (int64_t f = 0; f < F; f += LANES) {
      const int64_t i = at + x * F + f;
      const NormGradient gradient(a.y_affine, a.coefficients, F, f, a.relu);
      store(out + x * F + f, gradient(load(a.dy + i), load(a.y + i)));
    }
  }
}

// A kernel row (columns and channels) is one run of neighbouring floats of x: the rows of a tile.
void conv2d_first_backward(const conv2d_first_backward_args& a, const Run& run) {
  const int64_t span = a.kernel_width * a.channels, depth = a.kernel_height * span, size = depth * a.filters;
  const int64_t groups = ceil_div(run.batch, a.images), sums_size = size + a.filters;
  each(run, groups, [&](int64_t group, int thread) {
    float* const sums = a.partial + group * sums_size;
    zero_floats(sums, sums_size);
    for (int64_t image = group * a.images; image < least(run.batch, (group + 1) * a.images); ++image) {
      for (int64_t row = 0; row < a.out_height; row += a.band) {
        const int64_t rows = least(a.band, a.out_height - row), across = a.out_width * a.filters;
        const float* dy = a.dy + (image * a.out_height + row) * across;
        if (a.code != nullptr || a.y != nullptr) {
          float* const made = a.scratch + thread * a.band * across;
          for (int64_t r = 0; r < rows; ++r) gradient_row(a, image, row + r, made + r * across);
          dy = made;
        }
        if (a.dbias != nullptr) add_columns(dy, a.filters, rows * a.out_width, a.filters, sums + size);
        for (int64_t ky = 0; ky < a.kernel_height; ++ky) {
          const float* const x = a.x + (image * a.height + row * a.stride_y + ky) * a.width * a.channels;
          for (int64_t n = 0; n < a.filters; n += TILE_COLUMNS) {
            tile_rows({x, 1, a.stride_x * a.channels, a.stride_y * a.width * a.channels}, {dy + n, a.filters, across},
                      {rows, a.out_width}, into_panels(sums, depth, ky * span, n, true), span,
                      tile_columns(n, a.filters));
          }
        }
      }
    }
  });
  each_range(run, a.dbias == nullptr ? size : sums_size, PIECE / 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += LANES) {
      Reg sum = load(a.partial + i);
      for (int64_t group = 1; group < groups; ++group) sum += load(a.partial + group * sums_size + i);
      store(i < size ? a.dweight + i : a.dbias + (i - size), sum);
    }
  });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
