// Convolution with fewer multiplications (Winograd 1980; Lavin and Gray 2016, arXiv 1509.09308), NHWC, stride 1. The
// filters and their matrices: filtering.inl.h; which pixels and tiles: tiling.inl.h.
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
// Errors: at most so many units in the last place of the largest sum of magnitudes that a value is made of: y 40, dx
// 20, dweight 40; of 3×3 kernels in tiles of 6×6 outputs 60, 40 and 30; of 5×5 kernels 40, 20 and 80. With normal data
// that was 2e-5, 5e-6 and 1.5e-5 of the largest value; a direct convolution is five to twenty times as exact, and
// training notices neither.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

// Floats from one frequency of U or dU to the next.
FOVEAL_INLINE int64_t weights_step(int64_t inputs, int64_t outputs) { return inputs * outputs + SKEW; }

// V of one tile: v[frequency * step + c], of channels that are used, in whole registers. Y, X: its axes.
template <class Y, class X>
__attribute__((noinline)) void transform_input(const TileGrid& g, const float* x, const float* affine, int64_t rectify,
                                               const float* zeros, const Place& place, float* v, int64_t step) {
  const Patch<Y::SIZE, X::SIZE, const float*> patch(x + place.image * g.height * g.width * g.channels, zeros,
                                                    place.y - g.top, place.x - g.left, g.height, g.width, g.channels);
  const auto transform = [&](const auto& read) FOVEAL_INLINED {
    for (int64_t c = 0; c < g.used_channels; c += LANES) {
      multiply_both_sides<typename Y::Input, typename X::Input>(
          [&](auto i, auto j) FOVEAL_INLINED { return read(i, j, c); },
          [&](auto i, auto j, Reg value) FOVEAL_INLINED { store(v + frequency<Y, X>(i, j) * step + c, value); });
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
template <int N, int R>
void transform_weights(const winograd_weights_args& a, const Run& run) {
  using Kernel = KernelMatrix<N, R>;
  constexpr int64_t INPUTS = 16;  // of a work item, which has one panel's outputs: of each frequency it writes one run
  const int64_t step = weights_step(a.inputs, a.outputs), depth = R * R * a.inputs, parts = ceil_div(a.inputs, INPUTS);
  each(run, a.outputs / PANEL * parts, [&](int64_t item, int) {
    const int64_t begin = item / parts * PANEL, first = item % parts * INPUTS;
    for (int64_t input = first; input < least(a.inputs, first + INPUTS); ++input) {
      for (int64_t o = begin; o < begin + PANEL; o += LANES) {
        const float* const w = a.weight + panel_place(depth, input, o);
        float* const u = a.u + panel_place(a.inputs, input, o);
        multiply_both_sides<Kernel, Kernel>(
            [&](auto i, auto j) FOVEAL_INLINED {
              const int64_t tap = a.turned ? (R - 1 - i) * R + R - 1 - j : i * R + j;
              return load(w + tap * a.inputs * PANEL);
            },
            [&](auto i, auto j, Reg value) FOVEAL_INLINED { store(u + (i * N + j) * step, value); });
      }
    }
  });
}

// y of one tile and its columns n … n + columns, from m[frequency * step + column].
template <class Y, class X>
__attribute__((noinline)) void transform_output(const TileGrid& g, const winograd_forward_args& a, const Place& place,
                                                int64_t n, int64_t columns, const float* m, int64_t step,
                                                bool streams) {
  const int64_t share = a.code == nullptr ? 1 : 2, height = g.out_height / share, width = g.out_width / share;
  const int64_t y0 = place.y / share, x0 = place.x / share;
  const int64_t rows = least(Y::OUT / share, height - y0), pixels = least(X::OUT / share, width - x0);
  const int64_t at = ((place.image * height + y0) * width + x0) * g.filters + n;
  const auto transform = [&](int64_t c, const auto& out) FOVEAL_INLINED {
    if (n + c >= g.used_filters) {
      for (int i = 0; i < Y::OUT; ++i) {
        for (int j = 0; j < X::OUT; ++j) out(i, j, Reg{});
      }
      return;
    }
    const Reg bias = a.bias == nullptr ? Reg{} : load(a.bias + n + c);
    multiply_both_sides_transposed<typename Y::Output, typename X::Output>(
        [&](auto i, auto j) FOVEAL_INLINED { return load(m + frequency<Y, X>(i, j) * step + c); },
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
      Reg values[Y::OUT][X::OUT];
      transform(c, [&](auto i, auto j, Reg value) FOVEAL_INLINED { values[i][j] = value; });
      unroll<Y::OUT / 2>([&](auto i) FOVEAL_INLINED {
        unroll<X::OUT / 2>([&](auto j) FOVEAL_INLINED {
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
  const TileGrid g = tile_grid<F>(a);
  const TileSet all(g, 0, run.batch, 0, g.high);
  // enough items for all threads: fewer tiles each, or, of few tiles, also fewer filters
  const int64_t wanted = 2 * pool_threads(*run.pool);
  const int64_t rounding = g.low + g.narrow > 0 ? KINDS - 1 : 0;  // of an item's share of each kind
  const int64_t block = least(a.block - rounding, most(LEAST_BLOCK, ceil_div(all.count(), wanted)));
  const int64_t blocks = ceil_div(all.count(), block);
  const int64_t panels = ceil_div(g.filters, TILE_COLUMNS), parts = least(panels, ceil_div(wanted, blocks));
  const int64_t v_step = a.block * g.channels + SKEW, m_step = a.block * TILE_COLUMNS + SKEW;
  const int64_t weights = weights_step(g.channels, g.filters);
  // registers that are parts of a line: more lines would be open than a core can hold, and go to memory in parts
  const bool in_lines = LANES == LINE && a.code == nullptr;
  const bool streams = in_lines && run.batch * g.out_height * g.out_width * g.filters > STREAMED;
  each(run, blocks * parts, [&](int64_t item, int thread) {
    float* const zeros = a.scratch + thread * a.scratch_floats;
    float* const v = zeros + g.channels;
    float* const m = v + F::FREQUENCIES * v_step;
    zero_floats(zeros, g.channels);
    const TileSet set = all.part(item / parts, blocks);
    const int64_t part = item % parts;
    set.each_tile<F>(0, set.count(), [&](auto kind, int64_t t, const Place& place) FOVEAL_INLINED {
      transform_input<Down<F, kind>, Across<F, kind>>(g, a.x, a.affine, a.rectify, zeros, place, v + t * g.channels,
                                                      v_step);
    });
    for (int64_t panel = panels * part / parts; panel < panels * (part + 1) / parts; ++panel) {
      const int64_t n = panel * TILE_COLUMNS, columns = tile_columns(n, g.filters);
      for (int q = 0; q < F::FREQUENCIES; ++q) {
        const TileB u = from_panels(a.u + q * weights, g.channels, 0, n);
        const Range having = set.having<F>(q);
        Stretch next;  // of U, which as a whole fits no cache
        if (q + 1 < F::FREQUENCIES) next = {u.data + weights, g.channels * columns};
        tile_rows({v + q * v_step + having.begin * g.channels, g.channels, 1, 0, next}, u, {1, a.used_channels},
                  {m + q * m_step + having.begin * TILE_COLUMNS, TILE_COLUMNS, nullptr, false, false, nullptr},
                  having.end - having.begin, columns);
      }
      set.each_tile<F>(0, set.count(), [&](auto kind, int64_t t, const Place& place) FOVEAL_INLINED {
        transform_output<Down<F, kind>, Across<F, kind>>(g, a, place, n, columns, m + t * TILE_COLUMNS, m_step,
                                                         streams);
      });
    }
    if (streams) stream_end();
  });
}

// dM of one tile: m[frequency * step + k].
template <class Y, class X>
__attribute__((noinline)) void transform_gradient(const TileGrid& g, const winograd_backward_args& a,
                                                  const float* zeros, const Place& place, float* m, int64_t step) {
  const auto transform = [&](const auto& read) FOVEAL_INLINED {
    for (int64_t k = 0; k < g.filters; k += LANES) {
      multiply_both_sides<typename Y::Output, typename X::Output>(
          [&](auto i, auto j) FOVEAL_INLINED { return read(i, j, k); },
          [&](auto i, auto j, Reg value) FOVEAL_INLINED { store(m + frequency<Y, X>(i, j) * step + k, value); });
    }
  };
  if (a.code != nullptr) {
    const int64_t high = g.out_height / 2, wide = g.out_width / 2, at = place.image * high * wide * g.filters;
    const Patch<Y::OUT / 2, X::OUT / 2, const float*> dy(a.dy + at, zeros, place.y / 2, place.x / 2, high, wide,
                                                         g.filters);
    const Patch<Y::OUT / 2, X::OUT / 2, const uint8_t*> code(a.code + at, reinterpret_cast<const uint8_t*>(zeros),
                                                             place.y / 2, place.x / 2, high, wide, g.filters);
    transform([&](auto i, auto j, int64_t k) FOVEAL_INLINED {
      return routed(load(dy.pixel[i / 2][j / 2] + k), code.pixel[i / 2][j / 2] + k, i % 2 * 2 + j % 2);
    });
    return;
  }
  using Pixels = Patch<Y::OUT, X::OUT, const float*>;
  const int64_t image = place.image * g.out_height * g.out_width * g.filters;
  const Pixels dy(a.dy + image, zeros, place.y, place.x, g.out_height, g.out_width, g.filters);
  if (a.y == nullptr) {
    transform([&](auto i, auto j, int64_t k) FOVEAL_INLINED { return load(dy.pixel[i][j] + k); });
    return;
  }
  const Pixels y(a.y + image, zeros, place.y, place.x, g.out_height, g.out_width, g.filters);
  transform([&](auto i, auto j, int64_t k) FOVEAL_INLINED {
    const NormGradient gradient(a.y_affine, a.coefficients, g.filters, k, a.relu);
    return gradient(load(dy.pixel[i][j] + k), load(y.pixel[i][j] + k)) * broadcast(y.inside[i][j]);
  });
}

// B dV Bᵀ of one tile, added to dx of its image. trash: where what falls outside the image goes.
template <class Y, class X>
__attribute__((noinline)) void add_input_gradient(const TileGrid& g, const Place& place, const float* v, int64_t step,
                                                  float* dx, float* trash) {
  const Patch<Y::SIZE, X::SIZE, float*> patch(dx, trash, place.y - g.top, place.x - g.left, g.height, g.width,
                                              g.channels);
  for (int64_t c = 0; c < g.channels; c += LANES) {
    multiply_both_sides_transposed<typename Y::Input, typename X::Input>(
        [&](auto i, auto j) FOVEAL_INLINED { return load(v + frequency<Y, X>(i, j) * step + c); },
        [&](auto i, auto j, Reg value) FOVEAL_INLINED {
          float* const to = patch.pixel[i][j] + c;
          store(to, load(to) + value);
        });
  }
}

// dx of image i of a set: the sum of its tiles' B dV Bᵀ. Sets are gathered from above; what two of them share holds the
// first one's sums when the second comes. Returns the rows of pixels that are finished with this one.
template <class F>
FOVEAL_INLINE Range gather_gradient(const TileGrid& g, const TileSet& set, int64_t i, const float* v, int64_t step,
                                    float* dx, const float* mask, float* trash) {
  const int64_t line = g.width * g.channels, below = set.row + set.rows[0] + set.rows[1];
  const auto edge = [&](int64_t above, int64_t overlap) FOVEAL_INLINED {  // row of pixels below so many rows of tiles
    if (above == 0) return int64_t{0};
    return above == g.high ? g.height : least(g.height, most(0, above * F::OUT - g.top + overlap));
  };
  const Range finished{edge(set.row, 0), edge(below, 0)};
  const Range fresh{edge(set.row, F::TAPS - 1), edge(below, F::TAPS - 1)};
  zero_floats(dx + fresh.begin * line, (fresh.end - fresh.begin) * line);
  set.each_of_image<F>(i, [&](auto kind, int64_t t, const Place& place) FOVEAL_INLINED {
    add_input_gradient<Down<F, kind>, Across<F, kind>>(g, place, v + t * g.channels, step, dx, trash);
  });
  for (int64_t p = finished.begin * line; mask != nullptr && p < finished.end * line; p += LANES) {
    store(dx + p, load(mask + p) > Reg{} ? load(dx + p) : Reg{});
  }
  return finished;
}

constexpr int64_t GATHERED = 32;  // inputs and filters that a work item gathers

// dU → dweight panels (taps, I, O); zeros for inputs that are padding. of_du(filter, input, filters, inputs, thread):
// dU of so many from these on, in panels of `depth` rows, `step` floats from one frequency to the next.
template <class F, class Part>
void gather_weights(const TileGrid& g, float* dweight, int64_t depth, int64_t step, const Run& run, const Part& of_du) {
  constexpr int N = F::SIZE, R = F::TAPS;
  using Kernel = KernelMatrix<N, R>;
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
      multiply_both_sides_transposed<Kernel, Kernel>(
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
  constexpr int64_t GROUP = 8;  // tiles of one work item
  const TileGrid g = tile_grid<F>(a);
  const int64_t most_tiles = a.images * a.rows * g.wide;
  const int64_t v_step = most_tiles * g.channels + SKEW, m_step = most_tiles * g.filters + SKEW;
  const int64_t wide = most(g.channels, g.filters), weights = weights_step(g.channels, g.filters);
  const int64_t part_step = weights_step(GATHERED, GATHERED);
  const int64_t scratch_step = 2 * wide + (a.du == nullptr ? F::FREQUENCIES * part_step : 0);
  const int64_t bands = ceil_div(g.high, a.rows), passes = ceil_div(run.batch, a.images) * bands;
  for (int64_t pass = 0; pass < passes; ++pass) {  // bands of so many images, then those below them
    const int64_t image = pass / bands * a.images, images = least(a.images, run.batch - image);
    const int64_t row = pass % bands * a.rows;
    const TileSet set(g, image, images, row, least(a.rows, g.high - row));
    each(run, ceil_div(set.count(), GROUP), [&](int64_t item, int thread) {
      float* const zeros = a.scratch + thread * scratch_step;
      zero_floats(zeros, wide);
      // V and M in turn: what one tile of both reads and writes is more streams than a core's prefetcher follows
      const int64_t begin = item * GROUP, end = begin + GROUP;
      set.each_tile<F>(begin, end, [&](auto kind, int64_t t, const Place& place) FOVEAL_INLINED {
        transform_input<Down<F, kind>, Across<F, kind>>(g, a.x, a.affine, a.rectify, zeros, place, a.v + t * g.channels,
                                                        v_step);
      });
      set.each_tile<F>(begin, end, [&](auto kind, int64_t t, const Place& place) FOVEAL_INLINED {
        transform_gradient<Down<F, kind>, Across<F, kind>>(g, a, zeros, place, a.m + t * g.filters, m_step);
      });
    });
    if (a.du == nullptr) {  // of few tiles dU would be large beside V and M: its parts are made, and stay in cache
      const auto made = [&](int64_t filter, int64_t input, int64_t filters, int64_t inputs, int thread) {
        float* const part = a.scratch + thread * scratch_step + 2 * wide;
        for (int q = 0; q < F::FREQUENCIES; ++q) {
          const Range having = set.having<F>(q);
          const float* const v = a.v + q * v_step + having.begin * g.channels + input;
          const float* const m = a.m + q * m_step + having.begin * g.filters + filter;
          for (int64_t n = 0; n < filters; n += TILE_COLUMNS) {
            tile_rows({v, 1, g.channels, 0}, {m + n, g.filters, 0}, {1, having.end - having.begin},
                      into_panels(part + q * part_step, GATHERED, 0, n, false), inputs, tile_columns(n, filters));
          }
        }
        return part;
      };
      gather_weights<F>(g, a.dweight, GATHERED, part_step, run, made);
    }
    each(run, F::FREQUENCIES, [&](int64_t q, int) {
      const Range having = set.having<F>(q);
      const int64_t tiles = having.end - having.begin;
      float* const v = a.v + q * v_step + having.begin * g.channels;
      float* const m = a.m + q * m_step + having.begin * g.filters;
      float* const du = a.du == nullptr ? nullptr : a.du + q * weights;
      // the next frequency's matrices are fetched while these are multiplied: V and U beside dU, M and dU beside dV
      const int64_t more = q + 1 < F::FREQUENCIES;
      const Stretch next_v{v + v_step, more * tiles * g.channels}, next_m{m + m_step, more * tiles * g.filters};
      Ahead ahead{next_v, a.dx == nullptr ? next_m : Stretch{a.turned + (q + 1) * weights, more * weights}};
      for (int64_t t = 0; du != nullptr && (t < tiles || pass + t == 0); t += BATCH_BLOCK) {
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
      const Range finished =
          gather_gradient<F>(g, set, i, a.v, v_step, a.dx + at, a.mask == nullptr ? nullptr : a.mask + at,
                             a.scratch + thread * scratch_step + wide);
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

// body(the tiling that the plan chose).
template <class Args, class Body>
FOVEAL_INLINE void with_tiling(const Args& a, const Body& body) {
  if (a.kernel == 5) {
    body(Tiling<4, 5, 2>{});
  } else if (a.tile == 4) {
    body(Tiling<4, 3, 4>{});
  } else if (a.edge == 2) {
    body(Tiling<6, 3, 2>{});
  } else {
    body(Tiling<6, 3, 4>{});
  }
}

void winograd_weights(const winograd_weights_args& a, const Run& run) {
  if (a.kernel == 5) {
    transform_weights<8, 5>(a, run);
  } else if (a.tile == 4) {
    transform_weights<6, 3>(a, run);
  } else {
    transform_weights<8, 3>(a, run);
  }
}
void winograd_forward(const winograd_forward_args& a, const Run& run) {
  with_tiling(a, [&](auto tiling) { winograd_forward_as<decltype(tiling)>(a, run); });
}
void winograd_backward(const winograd_backward_args& a, const Run& run) {
  with_tiling(a, [&](auto tiling) { winograd_backward_as<decltype(tiling)>(a, run); });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
