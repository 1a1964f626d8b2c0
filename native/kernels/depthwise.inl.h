// Depthwise convolution, NHWC: a filter for each channel, which is what vectors run over. Neighbouring pixels of a row
// are made together, so that a weight is loaded once for all of them; taps in the border are left out. Weights lie in
// panels, as those of a convolution with one input.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

// On one axis the taps tap, tap + step, … of a kernel, `count` of them, which read the pixels at, at + move, …
struct Taps {
  int64_t tap, step, count, at, move;

  FOVEAL_INLINE Taps moved(int64_t pixels) const { return {tap, step, count, at + pixels, move}; }
  // Those that read one of `length` pixels.
  FOVEAL_INLINE Taps within(int64_t length) const {
    Taps t = *this;
    for (; t.count > 0 && (t.at < 0 || t.at >= length); --t.count) {
      t.tap += t.step;
      t.at += t.move;
    }
    for (int64_t last = t.at + (t.count - 1) * t.move; t.count > 0 && (last < 0 || last >= length); --t.count) {
      last -= t.move;
    }
    return t;
  }
};

// The pixels that an output sees.
FOVEAL_INLINE Taps seen_by(int64_t output, int64_t kernel, int64_t stride, int64_t dilation, int64_t before) {
  return {0, 1, kernel, output * stride - before, dilation};
}

// The outputs that see a pixel: those of taps for which pixel + before - tap * dilation is a multiple of the stride.
FOVEAL_INLINE Taps that_see(int64_t pixel, int64_t kernel, int64_t stride, int64_t dilation, int64_t before) {
  int64_t tap = 0, step = 1;
  while (tap < stride && (pixel + before - tap * dilation) % stride != 0) ++tap;
  while (step * dilation % stride != 0) ++step;
  const int64_t count = tap < least(stride, kernel) ? ceil_div(kernel - tap, step) : 0;
  return {tap, step, count, (pixel + before - tap * dilation) / stride, -step * dilation / stride};
}

// Values as they are, or with batch norm applied on the way; per channel.
struct AsIs {
  FOVEAL_INLINE AsIs(const float*, int64_t, int64_t, int64_t) {}
  FOVEAL_INLINE Reg operator()(Reg x) const { return x; }
};
struct Normalised {
  Reg scale, shift, least;

  FOVEAL_INLINE Normalised(const float* affine, int64_t channels, int64_t c, int64_t relu)
      : scale(load(affine + c)),
        shift(load(affine + channels + c)),
        least(relu ? Reg{} : broadcast(-__builtin_inff())) {}
  FOVEAL_INLINE Reg operator()(Reg x) const { return maximum(fma(x, scale, shift), least); }
};

// `count` pixels, `to_step` floats apart, each the sum over taps of source pixels times weights; from one to the next
// the source moves on by `advance` pixels.
struct DepthwiseRow {
  const float *source, *affine, *weight, *bias, *mask;
  float* to;
  int64_t channels, source_width, kernel_height, kernel_width, count, to_step, advance, rectify;
  bool relu, streams;
};

// The end of `N` sums, those of the pixels at `to` and after it.
template <int N>
FOVEAL_INLINE void depthwise_store(const DepthwiseRow& r, Reg (&sum)[N], int64_t to) {
  unroll<N>([&](auto n) {
    const int64_t at = to + n * r.to_step;
    if (r.relu) sum[n] = maximum(sum[n], Reg{});
    if (r.mask != nullptr) sum[n] = load(r.mask + at) > Reg{} ? sum[n] : Reg{};
    if (r.streams) {
      stream(r.to + at, sum[n]);
    } else {
      store(r.to + at, sum[n]);
    }
  });
}

template <class Read, int N>
FOVEAL_INLINE void depthwise_pixels(const DepthwiseRow& r, const Taps& y, const Taps& x, int64_t pixel) {
  const int64_t C = r.channels, row = r.source_width * C, advance = r.advance * C;
  const int64_t at = pixel * r.to_step;
  for (int64_t c = 0; c < C; c += LANES) {
    const Read read(r.affine, C, c, r.rectify);
    const float* const weights = r.weight + panel_place(r.kernel_height * r.kernel_width, 0, c);
    Reg sum[N];
    unroll<N>([&](auto n) { sum[n] = r.bias == nullptr ? Reg{} : load(r.bias + c); });
    for (int64_t i = 0; i < y.count; ++i) {
      const float* from = r.source + (y.at + i * y.move) * row + x.at * C + c;
      const float* w = weights + ((y.tap + i * y.step) * r.kernel_width + x.tap) * PANEL;
      for (int64_t j = 0; j < x.count; ++j) {
        const Reg weight = load(w);
        unroll<N>([&](auto n) FOVEAL_INLINED { sum[n] = fma(read(load(from + n * advance)), weight, sum[n]); });
        from += x.move * C;
        w += x.step * PANEL;
      }
    }
    depthwise_store(r, sum, at + c);
  }
}

// Likewise where neighbouring taps see neighbouring pixels, a whole kernel row of K taps: each source pixel is loaded
// once and goes to all sums that see it, to each in the order of the taps. at: what tap 0 of the first pixel sees;
// MOVE: 1 or -1, from tap to tap. EDGE: some of it may lie outside, and is left out.
template <class Read, int N, int K, int MOVE, bool EDGE>
void depthwise_block(const DepthwiseRow& r, const Taps& y, int64_t at, int64_t pixel) {
  const int64_t C = r.channels, row = r.source_width * C;
  for (int64_t c = 0; c < C; c += LANES) {
    const Read read(r.affine, C, c, r.rectify);
    const float* const weights = r.weight + panel_place(r.kernel_height * K, 0, c);
    Reg sum[N];
    unroll<N>([&](auto n) { sum[n] = r.bias == nullptr ? Reg{} : load(r.bias + c); });
    for (int64_t i = 0; i < y.count; ++i) {
      const float* const from = r.source + (y.at + i * y.move) * row + at * C + c;
      const float* const w = weights + (y.tap + i * y.step) * K * PANEL;
      Reg weight[K];
      unroll<K>([&](auto j) { weight[j] = load(w + j * PANEL); });
      unroll<N + K - 1>([&](auto k) FOVEAL_INLINED {
        constexpr int m = MOVE > 0 ? int(k) : N - 1 - int(k);  // the pixel, counted from the one at `at`
        if (EDGE && (at + m < 0 || at + m >= r.source_width)) return;
        const Reg value = read(load(from + m * C));
        unroll<K>([&](auto j) FOVEAL_INLINED {
          constexpr int n = m - MOVE * int(j);
          if constexpr (n >= 0 && n < N) sum[n] = fma(value, weight[j], sum[n]);
        });
      });
    }
    depthwise_store(r, sum, pixel * r.to_step + c);
  }
}

template <class Read, int K, int MOVE>
void depthwise_row_of(const DepthwiseRow& r, const Taps& y, int64_t at) {
  for (int64_t pixel = 0; pixel < r.count;) {
    const int64_t left = r.count - pixel, here = at + pixel;
    const int64_t first = MOVE > 0 ? here : here - (K - 1);
    const auto block = [&](auto n, auto edge) {
      depthwise_block<Read, n, K, MOVE, edge>(r, y, here, pixel);
      pixel += n;
    };
    if (left >= 8 && first >= 0 && first + 8 + K - 1 <= r.source_width) {
      block(Index<8>{}, Index<false>{});
    } else if (left >= 8) {
      block(Index<8>{}, Index<true>{});
    } else if (left >= 4) {
      block(Index<4>{}, Index<true>{});
    } else if (left >= 2) {
      block(Index<2>{}, Index<true>{});
    } else {
      block(Index<1>{}, Index<true>{});
    }
  }
}

// As many pixels at a time as are left inside.
template <class Read, int N>
FOVEAL_INLINE bool depthwise_inside(const DepthwiseRow& r, const Taps& y, const Taps& x, int64_t& pixel) {
  if (pixel + N > r.count) return false;
  if (x.moved((pixel + N - 1) * r.advance).within(r.source_width).count < x.count) return false;
  depthwise_pixels<Read, N>(r, y, x.moved(pixel * r.advance), pixel);
  pixel += N;
  return true;
}

template <class Read>
void depthwise_row(const DepthwiseRow& r, const Taps& y, const Taps& x) {
  const bool whole = r.advance == 1 && x.step == 1 && x.count == r.kernel_width;
  if (whole && r.kernel_width == 3 && x.move == 1) return depthwise_row_of<Read, 3, 1>(r, y, x.at);
  if (whole && r.kernel_width == 5 && x.move == 1) return depthwise_row_of<Read, 5, 1>(r, y, x.at);
  if (whole && r.kernel_width == 3 && x.move == -1) return depthwise_row_of<AsIs, 3, -1>(r, y, x.at);
  if (whole && r.kernel_width == 5 && x.move == -1) return depthwise_row_of<AsIs, 5, -1>(r, y, x.at);
  for (int64_t pixel = 0; pixel < r.count;) {
    const Taps inside = x.moved(pixel * r.advance).within(r.source_width);
    if (inside.count == x.count) {
      if (depthwise_inside<Read, 8>(r, y, x, pixel)) continue;
      if (depthwise_inside<Read, 4>(r, y, x, pixel)) continue;
      if (depthwise_inside<Read, 2>(r, y, x, pixel)) continue;
    }
    depthwise_pixels<Read, 1>(r, y, inside, pixel++);
  }
}

void depthwise_forward(const depthwise_forward_args& a, const Run& run) {
  const int64_t C = a.channels;
  const bool streams = run.batch * a.out_height * a.out_width * C > STREAMED;
  const auto row = a.affine == nullptr ? depthwise_row<AsIs> : depthwise_row<Normalised>;
  each(run, run.batch * a.out_height, [&](int64_t item, int) {
    const Taps y = seen_by(item % a.out_height, a.kernel_height, a.stride_y, a.dilation_y, a.top).within(a.height);
    row({a.x + item / a.out_height * a.height * a.width * C, a.affine, a.weight, a.bias, nullptr,
         a.y + item * a.out_width * C, C, a.width, a.kernel_height, a.kernel_width, a.out_width, C, a.stride_x,
         a.rectify, a.relu != 0, streams},
        y, seen_by(0, a.kernel_width, a.stride_x, a.dilation_x, a.left));
    if (streams) stream_end();
  });
}

// dx of an image. Pixels that are a stride apart are seen through the same taps, by neighbouring outputs.
void depthwise_image_data(const depthwise_backward_args& a, const float* dy, const float* mask, float* dx,
                          bool streams) {
  const int64_t C = a.channels;
  for (int64_t row = 0; row < a.height; ++row) {
    const Taps y = that_see(row, a.kernel_height, a.stride_y, a.dilation_y, a.top).within(a.out_height);
    for (int64_t first = 0; first < least(a.stride_x, a.width); ++first) {
      const int64_t at = (row * a.width + first) * C;
      depthwise_row<AsIs>({dy, nullptr, a.weight, nullptr, mask == nullptr ? nullptr : mask + at, dx + at, C,
                           a.out_width, a.kernel_height, a.kernel_width, ceil_div(a.width - first, a.stride_x),
                           a.stride_x * C, 1, 0, false, streams},
                          y, that_see(first, a.kernel_width, a.stride_x, a.dilation_x, a.left));
    }
  }
}

// Sums of `T` neighbouring taps of a kernel row over a row of outputs, for R registers of channels, going on from
// `sums`.
template <int T, int R>
FOVEAL_INLINE void depthwise_sums(const depthwise_backward_args& a, const float* x, const float* dy, float* sums,
                                  int64_t tap, int64_t column, int64_t c) {
  const int64_t C = a.channels, taps = a.kernel_height * a.kernel_width, step = a.stride_x * C;
  Valid valid[T];
  int64_t begin = 0, end = a.out_width;
  for (int t = 0; t < T; ++t) {
    valid[t] = valid_outputs((column + t) * a.dilation_x, a.left, a.stride_x, a.width, a.out_width);
    begin = most(begin, valid[t].begin);
    end = least(end, valid[t].end);
  }
  if (begin > end) begin = end = a.out_width;  // no output sees all of the taps' pixels
  const float* from[T];
  float* place[T][R];
  Reg sum[T][R];
  unroll<T>([&](auto t) {
    from[t] = x + ((column + t) * a.dilation_x - a.left) * C + c;
    unroll<R>([&](auto r) {
      place[t][r] = sums + panel_place(taps, tap + t, c + r * LANES);
      sum[t][r] = load(place[t][r]);
    });
  });
  const auto add = [&](auto t, int64_t output) FOVEAL_INLINED {
    unroll<R>([&](auto r) FOVEAL_INLINED {
      sum[t][r] = fma(load(from[t] + output * step + r * LANES), load(dy + output * C + c + r * LANES), sum[t][r]);
    });
  };
  unroll<T>([&](auto t) FOVEAL_INLINED {
    for (int64_t output = valid[t].begin; output < least(begin, valid[t].end); ++output) add(t, output);
  });
  if (a.stride_x == 1 && a.dilation_x == 1 && begin < end) {  // the taps see neighbours: each is loaded once
    Reg window[T][R];
    unroll<T - 1>([&](auto t) FOVEAL_INLINED {
      unroll<R>([&](auto r) FOVEAL_INLINED { window[t][r] = load(from[t] + begin * C + r * LANES); });
    });
    for (int64_t output = begin; output < end; ++output) {
      unroll<R>([&](auto r) FOVEAL_INLINED {
        const Reg gradient = load(dy + output * C + c + r * LANES);
        window[T - 1][r] = load(from[T - 1] + output * C + r * LANES);
        unroll<T>([&](auto t) FOVEAL_INLINED { sum[t][r] = fma(window[t][r], gradient, sum[t][r]); });
        unroll<T - 1>([&](auto t) FOVEAL_INLINED { window[t][r] = window[t + 1][r]; });
      });
    }
  } else {
    for (int64_t output = begin; output < end; ++output) {
      unroll<T>([&](auto t) FOVEAL_INLINED { add(t, output); });
    }
  }
  unroll<T>([&](auto t) FOVEAL_INLINED {
    for (int64_t output = most(end, valid[t].begin); output < valid[t].end; ++output) add(t, output);
  });
  unroll<T>([&](auto t) { unroll<R>([&](auto r) { store(place[t][r], sum[t][r]); }); });
}

template <int T>
void depthwise_taps(const depthwise_backward_args& a, const float* x, const float* dy, float* sums, int64_t tap,
                    int64_t column) {
  int64_t c = 0;
  for (; c + 2 * LANES <= a.channels; c += 2 * LANES) depthwise_sums<T, 2>(a, x, dy, sums, tap, column, c);
  if (c < a.channels) depthwise_sums<T, 1>(a, x, dy, sums, tap, column, c);
}

void depthwise_image_weights(const depthwise_backward_args& a, const float* image, const float* dy, float* sums) {
  const int64_t C = a.channels;
  zero_floats(sums, a.kernel_height * a.kernel_width * C);
  for (int64_t y = 0; y < a.out_height; ++y, dy += a.out_width * C) {
    const Taps rows = seen_by(y, a.kernel_height, a.stride_y, a.dilation_y, a.top).within(a.height);
    for (int64_t i = 0; i < rows.count; ++i) {
      const float* const x = image + (rows.at + i * rows.move) * a.width * C;
      for (int64_t column = 0; column < a.kernel_width;) {
        const int64_t tap = (rows.tap + i) * a.kernel_width + column, left = a.kernel_width - column;
        const auto taps = left >= 3 ? depthwise_taps<3> : left == 2 ? depthwise_taps<2> : depthwise_taps<1>;
        taps(a, x, dy, sums, tap, column);
        column += least(left, 3);
      }
    }
  }
}

// An image at a time, what is left of batch norm first: its gradients are then made while it is in cache. dweight: sums
// over pixels within an image in float, over images in double, each in order.
void depthwise_backward(const depthwise_backward_args& a, const Run& run) {
  const int64_t C = a.channels, size = a.kernel_height * a.kernel_width * C;
  const int64_t pixels = a.height * a.width, outputs = a.out_height * a.out_width;
  const int64_t of_x = a.affine == nullptr ? 0 : pixels * C, of_dy = a.y == nullptr ? 0 : outputs * C;
  const bool streams = a.moments == nullptr && run.batch * pixels * C > STREAMED;
  each(run, run.batch, [&](int64_t n, int thread) {
    float* const made = a.scratch + thread * (of_x + of_dy);
    const float* const x = normalised_rows(a.x + n * pixels * C, a.affine, a.rectify, pixels, C, made, C);
    const float* const dy = finished_rows(a, C, n * outputs, outputs, made + of_x, C);
    depthwise_image_weights(a, x, dy, a.partial + n * size);
    if (a.dx == nullptr) return;
    const int64_t at = n * pixels * C;
    depthwise_image_data(a, dy, a.mask == nullptr ? nullptr : a.mask + at, a.dx + at, streams);
    if (streams) stream_end();
    if (a.moments == nullptr) return;
    add_gradients(a.x + at, a.dx + at, a.affine, a.mean, a.rectify, pixels, C, false, a.moments + n * 2 * C);
  });
  add_partials(run, a.partial, run.batch, size, size, a.dweight);
}

// turn_weights for each block of a grouped convolution.
void turn_blocks(const turn_blocks_args& a, const Run& run) {
  const int64_t size = a.taps * a.inputs * a.outputs;
  for (int64_t block = 0; block < a.blocks; ++block) {
    turn_weights({a.weight + block * size, a.turned + block * size, a.taps, a.inputs, a.outputs}, run);
  }
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
