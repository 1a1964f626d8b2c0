// Convolution with fewer multiplications (Winograd 1980; Lavin and Gray 2016, arXiv 1509.09308), NHWC, stride 1.
//
// An output tile of m × m pixels is Aᵀ [(G w Gᵀ) ⊙ (Bᵀ x B)] A, x being the n × n pixels under it, n = m + r - 1. Over
// channels the elementwise product becomes n² matrix products of (tiles × channels) with (channels × filters).
// Backward in adjoint form: dM = A dy Aᵀ (tiles do not overlap, so each dy is read once), dU += Vᵀ dM, dw = Gᵀ dU G,
// db the sum over tiles of one of dM's frequencies,
// dV = dM Uᵀ, and dx is the sum of the overlapping B dV Bᵀ.
//
//   x (N, H, W, I) → V (n², tiles, I);  weight → U (n², panels of (I, 16));  M (n², tiles, filters) → y
// SKEW floats lie between the matrices of two frequencies, which may be multiples of 4 KB.
//
// Errors: at most 40 units in the last place of the largest sum of magnitudes that a value of y is made of, 20 for dx,
// 40 (3×3) or 80 (5×5) for dweight. With normal data that was 2e-5, 5e-6 and 1.5e-5 of the largest value; a direct
// convolution is five to twenty times as exact, and training notices neither.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

// Floats from one frequency of U or dU to the next.
FOVEAL_INLINE int64_t weights_step(int64_t inputs, int64_t outputs) { return inputs * outputs + SKEW; }

// Where tiles lie: images of out_height × out_width pixels in tiles of OUT × OUT, row by row.
struct TileGrid {
  int64_t height, width, channels, used_channels, top, left, out_height, out_width, filters, used_filters;
  int64_t high, wide, per_image;
};
template <class F, class Args>
FOVEAL_INLINE TileGrid tile_grid(const Args& a) {
  const int64_t high = ceil_div(a.out_height, F::OUT), wide = ceil_div(a.out_width, F::OUT);
  return {a.height,       a.width, a.channels, a.used_channels, a.top, a.left, a.out_height, a.out_width, a.filters,
          a.used_filters, high,    wide,       high * wide};
}

// The pixels of a patch whose first one is (y0, x0), and which of them lie in the image; the others point to `outside`.
template <int N, class Pointer>
struct Patch {
  Pointer pixel[N][N];
  float inside[N][N];
  bool whole;

  FOVEAL_INLINE Patch(Pointer image, Pointer outside, int64_t y0, int64_t x0, int64_t height, int64_t width,
                      int64_t channels)
      : whole(y0 >= 0 && y0 + N <= height && x0 >= 0 && x0 + N <= width) {
    const auto each_pixel = [&](const auto& is_in) FOVEAL_INLINED {
      for (int i = 0; i < N; ++i) {
        for (int j = 0; j < N; ++j) {
          const bool in = is_in(y0 + i, x0 + j);
          pixel[i][j] = in ? image + ((y0 + i) * width + x0 + j) * channels : outside;
          inside[i][j] = in;
        }
      }
    };
    if (whole) {  // most are, and need no more than their addresses
      each_pixel([](int64_t, int64_t) FOVEAL_INLINED { return true; });
    } else {
      each_pixel([&](int64_t y, int64_t x) FOVEAL_INLINED { return y >= 0 && y < height && x >= 0 && x < width; });
    }
  }
};

// V of one tile: v[(i n + j) * step + c], of channels that are used, in whole registers.
template <class F>
FOVEAL_INLINE void transform_input(const TileGrid& g, const float* x, const float* affine, int64_t rectify,
                                   const float* zeros, int64_t tile, float* v, int64_t step) {
  constexpr int N = F::SIZE;
  const int64_t in_image = tile % g.per_image;
  const Patch<N, const float*> patch(x + tile / g.per_image * g.height * g.width * g.channels, zeros,
                                     in_image / g.wide * F::OUT - g.top, in_image % g.wide * F::OUT - g.left, g.height,
                                     g.width, g.channels);
  const auto transform = [&](const auto& read) FOVEAL_INLINED {
    for (int64_t c = 0; c < g.used_channels; c += LANES) {
      multiply_both_sides<InputMatrix<F>>([&](auto i, auto j) FOVEAL_INLINED { return read(i, j, c); },
                                          [&](auto i, auto j, Reg value)
                                              FOVEAL_INLINED { store(v + (i * N + j) * step + c, value); });
    }
  };
  if (affine == nullptr) {
    transform([&](auto i, auto j, int64_t c) FOVEAL_INLINED { return load(patch.pixel[i][j] + c); });
  } else if (patch.whole) {
    transform([&](auto i, auto j, int64_t c)
                  FOVEAL_INLINED { return Affine(affine, g.channels, c, rectify)(load(patch.pixel[i][j] + c)); });
  } else {  // the border of zeros lies around what batch norm gives
    transform([&](auto i, auto j, int64_t c) FOVEAL_INLINED {
      const Reg value = Affine(affine, g.channels, c, rectify)(load(patch.pixel[i][j] + c));
      return value * broadcast(patch.inside[i][j]);
    });
  }
}

// weight panels (taps, I, O) → U, n² panels of (I, O). turned: the taps in reverse order (of turned weights: as they
// were).
template <class F>
void transform_weights(const winograd_weights_args& a, const Run& run) {
  constexpr int N = F::SIZE, R = F::TAPS;
  constexpr int64_t INPUTS = 16;  // of a work item, which has one panel's outputs: of each frequency it writes one run
  const int64_t step = weights_step(a.inputs, a.outputs), depth = R * R * a.inputs, parts = ceil_div(a.inputs, INPUTS);
  each(run, a.outputs / PANEL * parts, [&](int64_t item, int) {
    const int64_t begin = item / parts * PANEL, first = item % parts * INPUTS;
    for (int64_t input = first; input < least(a.inputs, first + INPUTS); ++input) {
      for (int64_t o = begin; o < begin + PANEL; o += LANES) {
        const float* const w = a.weight + panel_place(depth, input, o);
        float* const u = a.u + panel_place(a.inputs, input, o);
        multiply_both_sides<KernelMatrix<F>>(
            [&](auto i, auto j) FOVEAL_INLINED {
              const int64_t tap = a.turned ? (R - 1 - i) * R + R - 1 - j : i * R + j;
              return load(w + tap * a.inputs * PANEL);
            },
            [&](auto i, auto j, Reg value) FOVEAL_INLINED { store(u + (i * N + j) * step, value); });
      }
    }
  });
}

// y of one tile and its columns n … n + columns, from m[(i N + j) * step + column].
template <class F>
FOVEAL_INLINE void transform_output(const TileGrid& g, const winograd_forward_args& a, int64_t tile, int64_t n,
                                    int64_t columns, const float* m, int64_t step, bool streams) {
  constexpr int N = F::SIZE, OUT = F::OUT;
  const int64_t in_image = tile % g.per_image, y0 = in_image / g.wide * OUT, x0 = in_image % g.wide * OUT;
  const int64_t share = a.code == nullptr ? 1 : 2, height = g.out_height / share, width = g.out_width / share;
  const int64_t rows = least(OUT / share, height - y0 / share), pixels = least(OUT / share, width - x0 / share);
  const int64_t at = ((tile / g.per_image * height + y0 / share) * width + x0 / share) * g.filters + n;
  const auto transform = [&](int64_t c, const auto& out) FOVEAL_INLINED {
    if (n + c >= g.used_filters) {
      unroll<OUT>([&](auto i) FOVEAL_INLINED { unroll<OUT>([&](auto j) FOVEAL_INLINED { out(i, j, Reg{}); }); });
      return;
    }
    const Reg bias = a.bias == nullptr ? Reg{} : load(a.bias + n + c);
    multiply_both_sides_transposed<OutputMatrix<F>>([&](auto i, auto j)
                                                        FOVEAL_INLINED { return load(m + (i * N + j) * step + c); },
                                                    [&](auto i, auto j, Reg value) FOVEAL_INLINED {
                                                      value = value + bias;
                                                      out(i, j, a.relu ? maximum(value, Reg{}) : value);
                                                    });
  };
  for (int64_t c = 0; c < columns; c += LANES) {
    if (a.code == nullptr) {
      transform(c, [&](auto i, auto j, Reg value) FOVEAL_INLINED {
        if (i >= rows || j >= pixels) return;
        float* const to = a.y + at + (i * width + j) * g.filters + c;
        if (streams) {
          stream(to, value);
        } else {
          store(to, value);
        }
      });
    } else {
      Reg values[OUT][OUT];
      transform(c, [&](auto i, auto j, Reg value) FOVEAL_INLINED { values[i][j] = value; });
      unroll<OUT / 2>([&](auto i) FOVEAL_INLINED {
        unroll<OUT / 2>([&](auto j) FOVEAL_INLINED {
          if (i >= rows || j >= pixels) return;
          const Largest largest(values[2 * i][2 * j], values[2 * i][2 * j + 1], values[2 * i + 1][2 * j],
                                values[2 * i + 1][2 * j + 1]);
          largest.store(a.y, a.code, at + (i * width + j) * g.filters + c);
        });
      });
    }
  }
}

constexpr int64_t LEAST_BLOCK = 8;  // tiles of a work item, where there are more

template <class F>
void winograd_forward_as(const winograd_forward_args& a, const Run& run) {
  constexpr int FREQUENCIES = F::SIZE * F::SIZE;
  const TileGrid g = tile_grid<F>(a);
  const int64_t tiles = run.batch * g.per_image;
  // enough items for all threads: fewer tiles each, or, of few tiles, also fewer filters
  const int64_t wanted = 2 * pool_threads(*run.pool);
  const int64_t block = least(a.block, most(LEAST_BLOCK, ceil_div(tiles, wanted))), blocks = ceil_div(tiles, block);
  const int64_t panels = ceil_div(g.filters, TILE_COLUMNS), parts = least(panels, ceil_div(wanted, blocks));
  const int64_t v_step = a.block * g.channels + SKEW, m_step = a.block * TILE_COLUMNS + SKEW;
  const int64_t weights = weights_step(g.channels, g.filters);
  const bool streams = a.code == nullptr && run.batch * g.out_height * g.out_width * g.filters > STREAMED;
  each(run, blocks * parts, [&](int64_t item, int thread) {
    float* const zeros = a.scratch + thread * a.scratch_floats;
    float* const v = zeros + g.channels;
    float* const m = v + FREQUENCIES * v_step;
    zero_floats(zeros, g.channels);
    const int64_t part = item % parts, begin = item / parts * block, count = least(block, tiles - begin);
    for (int64_t t = 0; t < count; ++t) {
      transform_input<F>(g, a.x, a.affine, a.rectify, zeros, begin + t, v + t * g.channels, v_step);
    }
    for (int64_t panel = panels * part / parts; panel < panels * (part + 1) / parts; ++panel) {
      const int64_t n = panel * TILE_COLUMNS, columns = tile_columns(n, g.filters);
      for (int q = 0; q < FREQUENCIES; ++q) {
        const TileB u = from_panels(a.u + q * weights, g.channels, 0, n);
        Stretch next;  // of U, which as a whole fits no cache
        if (q + 1 < FREQUENCIES) next = {u.data + weights, g.channels * columns};
        tile_rows({v + q * v_step, g.channels, 1, 0, next}, u, {1, a.used_channels},
                  {m + q * m_step, TILE_COLUMNS, nullptr, false, false, nullptr}, count, columns);
      }
      for (int64_t t = 0; t < count; ++t) {
        transform_output<F>(g, a, begin + t, n, columns, m + t * TILE_COLUMNS, m_step, streams);
      }
    }
    if (streams) stream_end();
  });
}

// dM of one tile: m[(i n + j) * step + k].
template <class F>
FOVEAL_INLINE void transform_gradient(const TileGrid& g, const winograd_backward_args& a, const float* zeros,
                                      int64_t tile, float* m, int64_t step) {
  constexpr int N = F::SIZE, OUT = F::OUT;
  const int64_t in_image = tile % g.per_image, y0 = in_image / g.wide * OUT, x0 = in_image % g.wide * OUT;
  const int64_t image = tile / g.per_image * g.out_height * g.out_width * g.filters;
  const auto transform = [&](const auto& read) FOVEAL_INLINED {
    for (int64_t k = 0; k < g.filters; k += LANES) {
      multiply_both_sides<OutputMatrix<F>>([&](auto i, auto j) FOVEAL_INLINED { return read(i, j, k); },
                                           [&](auto i, auto j, Reg value)
                                               FOVEAL_INLINED { store(m + (i * N + j) * step + k, value); });
    }
  };
  if (a.code != nullptr) {
    const int64_t high = g.out_height / 2, wide = g.out_width / 2, at = tile / g.per_image * high * wide * g.filters;
    const Patch<OUT / 2, const float*> dy(a.dy + at, zeros, y0 / 2, x0 / 2, high, wide, g.filters);
    const Patch<OUT / 2, const uint8_t*> code(a.code + at, reinterpret_cast<const uint8_t*>(zeros), y0 / 2, x0 / 2,
                                              high, wide, g.filters);
    transform([&](auto i, auto j, int64_t k) FOVEAL_INLINED {
      return routed(load(dy.pixel[i / 2][j / 2] + k), code.pixel[i / 2][j / 2] + k, i % 2 * 2 + j % 2);
    });
    return;
  }
  const Patch<OUT, const float*> dy(a.dy + image, zeros, y0, x0, g.out_height, g.out_width, g.filters);
  if (a.y == nullptr) {
    transform([&](auto i, auto j, int64_t k) FOVEAL_INLINED { return load(dy.pixel[i][j] + k); });
    return;
  }
  const Patch<OUT, const float*> y(a.y + image, zeros, y0, x0, g.out_height, g.out_width, g.filters);
  transform([&](auto i, auto j, int64_t k) FOVEAL_INLINED {
    const NormGradient gradient(a.y_affine, a.coefficients, g.filters, k, a.relu);
    return gradient(load(dy.pixel[i][j] + k), load(y.pixel[i][j] + k)) * broadcast(y.inside[i][j]);
  });
}

struct Rows {
  int64_t begin, end;
};
// A band of dx of one image, rows `row` to `row` + `rows` of its tiles: the sum of their B dV Bᵀ. Bands are gathered
// from above; what two of them share holds the first one's sums when the second comes. trash: where what falls outside
// the image goes. Returns the rows of pixels that are finished with this band.
template <class F>
FOVEAL_INLINE Rows gather_gradient(const TileGrid& g, int64_t row, int64_t rows, const float* v, int64_t step,
                                   float* dx, const float* mask, float* trash) {
  constexpr int N = F::SIZE;
  const int64_t line = g.width * g.channels;
  const auto edge = [&](int64_t above, int64_t overlap) FOVEAL_INLINED {  // row of pixels below so many rows of tiles
    if (above == 0) return int64_t{0};
    return above == g.high ? g.height : least(g.height, most(0, above * F::OUT - g.top + overlap));
  };
  const Rows finished{edge(row, 0), edge(row + rows, 0)};
  const Rows fresh{edge(row, N - F::OUT), edge(row + rows, N - F::OUT)};
  zero_floats(dx + fresh.begin * line, (fresh.end - fresh.begin) * line);
  for (int64_t t = row * g.wide; t < (row + rows) * g.wide; ++t, v += g.channels) {
    const Patch<N, float*> patch(dx, trash, t / g.wide * F::OUT - g.top, t % g.wide * F::OUT - g.left, g.height,
                                 g.width, g.channels);
    for (int64_t c = 0; c < g.channels; c += LANES) {
      multiply_both_sides_transposed<InputMatrix<F>>([&](auto i, auto j)
                                                         FOVEAL_INLINED { return load(v + (i * N + j) * step + c); },
                                                     [&](auto i, auto j, Reg value) FOVEAL_INLINED {
                                                       float* const to = patch.pixel[i][j] + c;
                                                       store(to, load(to) + value);
                                                     });
    }
  }
  for (int64_t i = finished.begin * line; mask != nullptr && i < finished.end * line; i += LANES) {
    store(dx + i, load(mask + i) > Reg{} ? load(dx + i) : Reg{});
  }
  return finished;
}

constexpr int64_t GATHERED = 32;  // inputs and filters that a work item gathers

// dU → dweight panels (taps, I, O); zeros for inputs that are padding. of_du(filter, input, filters, inputs, thread):
// dU of so many from these on, in panels of `depth` rows, `step` floats from one frequency to the next.
template <class F, class Part>
void gather_weights(const TileGrid& g, float* dweight, int64_t depth, int64_t step, const Run& run, const Part& of_du) {
  constexpr int N = F::SIZE, R = F::TAPS;
  const int64_t across = ceil_div(g.filters, GATHERED);
  each(run, across * ceil_div(g.channels, GATHERED), [&](int64_t item, int thread) {
    const int64_t filter = item % across * GATHERED, filters = least(GATHERED, g.filters - filter);
    const int64_t first = item / across * GATHERED, count = least(GATHERED, g.channels - first);
    const int64_t used = most(0, least(count, g.used_channels - first));
    const float* const du = of_du(filter, first, filters, used, thread);
    const auto gather = [&](int64_t input, int64_t o) FOVEAL_INLINED {
      float* const dw = dweight + panel_place(R * R * g.channels, first + input, filter + o);
      if (input >= used) {
        for (int tap = 0; tap < R * R; ++tap) store(dw + tap * g.channels * PANEL, Reg{});
        return;
      }
      const float* const u = du + panel_place(depth, input, o);
      multiply_both_sides_transposed<KernelMatrix<F>>(
          [&](auto i, auto j) FOVEAL_INLINED { return load(u + (i * N + j) * step); },
          [&](auto i, auto j, Reg value) FOVEAL_INLINED { store(dw + (i * R + j) * g.channels * PANEL, value); });
    };
    for (int64_t panel = 0; panel < filters; panel += PANEL) {
      for (int64_t input = 0; input < count; ++input) {
        for (int64_t o = panel; o < panel + PANEL; o += LANES) gather(input, o);
      }
    }
  });
}

template <class F>
void winograd_backward_as(const winograd_backward_args& a, const Run& run) {
  constexpr int FREQUENCIES = F::SIZE * F::SIZE;
  constexpr int64_t GROUP = 8;  // tiles of one work item
  const TileGrid g = tile_grid<F>(a);
  const int64_t most_tiles = a.images * a.rows * g.wide;
  const int64_t v_step = most_tiles * g.channels + SKEW, m_step = most_tiles * g.filters + SKEW;
  const int64_t wide = most(g.channels, g.filters), weights = weights_step(g.channels, g.filters);
  const int64_t part_step = weights_step(GATHERED, GATHERED);
  const int64_t scratch_step = 2 * wide + (a.du == nullptr ? FREQUENCIES * part_step : 0);
  const int64_t bands = ceil_div(g.high, a.rows), passes = ceil_div(run.batch, a.images) * bands;
  for (int64_t pass = 0; pass < passes; ++pass) {  // bands of so many images, then those below them
    const int64_t image = pass / bands * a.images, images = least(a.images, run.batch - image);
    const int64_t row = pass % bands * a.rows, rows = least(a.rows, g.high - row), in_band = rows * g.wide;
    const int64_t tiles = images * in_band;
    const auto place = [&](int64_t t)
                           FOVEAL_INLINED { return (image + t / in_band) * g.per_image + row * g.wide + t % in_band; };
    each(run, ceil_div(tiles, GROUP), [&](int64_t item, int thread) {
      float* const zeros = a.scratch + thread * scratch_step;
      zero_floats(zeros, wide);
      // V and M in turn: what one tile of both reads and writes is more streams than a core's prefetcher follows
      const int64_t begin = item * GROUP, end = least(tiles, begin + GROUP);
      for (int64_t t = begin; t < end; ++t) {
        transform_input<F>(g, a.x, a.affine, a.rectify, zeros, place(t), a.v + t * g.channels, v_step);
      }
      for (int64_t t = begin; t < end; ++t) {
        transform_gradient<F>(g, a, zeros, place(t), a.m + t * g.filters, m_step);
      }
    });
    if (a.du == nullptr) {  // of few tiles dU would be large beside V and M: its parts are made, and stay in cache
      const auto made = [&](int64_t filter, int64_t input, int64_t filters, int64_t inputs, int thread) {
        float* const part = a.scratch + thread * scratch_step + 2 * wide;
        for (int q = 0; q < FREQUENCIES; ++q) {
          for (int64_t n = 0; n < filters; n += TILE_COLUMNS) {
            tile_rows({a.v + q * v_step + input, 1, g.channels, 0}, {a.m + q * m_step + filter + n, g.filters, 0},
                      {1, tiles}, into_panels(part + q * part_step, GATHERED, 0, n, false), inputs,
                      tile_columns(n, filters));
          }
        }
        return part;
      };
      gather_weights<F>(g, a.dweight, GATHERED, part_step, run, made);
    }
    each(run, FREQUENCIES, [&](int64_t q, int) {
      float *const v = a.v + q * v_step, *const m = a.m + q * m_step;
      float* const du = a.du == nullptr ? nullptr : a.du + q * weights;
      // the next frequency's matrices are fetched while these are multiplied: V and U beside dU, M and dU beside dV
      const int64_t more = q + 1 < FREQUENCIES;
      const Stretch next_v{v + v_step, more * tiles * g.channels}, next_m{m + m_step, more * tiles * g.filters};
      Ahead ahead{next_v, a.dx == nullptr ? next_m : Stretch{a.turned + (q + 1) * weights, more * weights}};
      for (int64_t t = 0; du != nullptr && t < tiles; t += BATCH_BLOCK) {
        for (int64_t n = 0; n < g.filters; n += TILE_COLUMNS) {
          tile_rows({v + t * g.channels, 1, g.channels, 0, ahead.take(a.used_channels, least(BATCH_BLOCK, tiles - t))},
                    {m + t * g.filters + n, g.filters, 0}, {1, least(BATCH_BLOCK, tiles - t)},
                    into_panels(du, g.channels, 0, n, pass + t > 0), a.used_channels, tile_columns(n, g.filters));
        }
      }
      if (q == F::SIZE + 1 && a.dbias != nullptr) {  // of point 1 on both axes: there dM is the sum of a tile's dy
        if (pass == 0) __builtin_memset(a.sums, 0, g.filters * 8);
        add_columns(m, g.filters, tiles, g.filters, a.sums);
        if (pass + 1 == passes) set_columns(g.filters, a.sums, a.dbias);
      }
      if (a.dx == nullptr) return;
      const bool resumes = du != nullptr && pass > 0;
      ahead = {next_m, resumes ? Stretch{du + weights, more * weights} : Stretch{}};
      for (int64_t n = 0; n < g.channels; n += TILE_COLUMNS) {
        const TileB u = from_panels(a.turned + q * weights, g.filters, 0, n);
        tile_rows({m, g.filters, 1, 0, ahead.take(tiles, a.used_filters)}, u, {1, a.used_filters},
                  {v + n, g.channels, nullptr, false, false, nullptr}, tiles, tile_columns(n, g.channels));
      }
    });
    if (a.dx == nullptr) continue;
    each(run, images, [&](int64_t i, int thread) {
      const int64_t at = (image + i) * g.height * g.width * g.channels;
      const Rows finished =
          gather_gradient<F>(g, row, rows, a.v + i * in_band * g.channels, v_step, a.dx + at,
                             a.mask == nullptr ? nullptr : a.mask + at, a.scratch + thread * scratch_step + wide);
      if (a.moments == nullptr) return;
      const int64_t begin = at + finished.begin * g.width * g.channels;
      add_gradients(a.x + begin, a.dx + begin, a.affine, a.mean, a.rectify, (finished.end - finished.begin) * g.width,
                    g.channels, row > 0, a.moments + (image + i) * 2 * g.channels);
    });
  }
  if (a.du == nullptr) return;
  gather_weights<F>(g, a.dweight, g.channels, weights, run, [&](int64_t filter, int64_t input, int64_t, int64_t, int) {
    return a.du + panel_place(g.channels, input, filter);
  });
}

void winograd_weights(const winograd_weights_args& a, const Run& run) {
  a.kernel == 3 ? transform_weights<F43>(a, run) : transform_weights<F45>(a, run);
}
void winograd_forward(const winograd_forward_args& a, const Run& run) {
  a.kernel == 3 ? winograd_forward_as<F43>(a, run) : winograd_forward_as<F45>(a, run);
}
void winograd_backward(const winograd_backward_args& a, const Run& run) {
  a.kernel == 3 ? winograd_backward_as<F43>(a, run) : winograd_backward_as<F45>(a, run);
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
