// Dense layers and 1×1 convolutions: Y = X W + b over all rows of the batch.
//   x (R, I), weight panels (I, O), y (R, O); R = batch * rows, I = inputs, O = units, as stored.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

constexpr int64_t DEPTH_BLOCK = 512;      // of the reduction: a block of a panel is 32 KB
constexpr int64_t BATCH_BLOCK = 256;      // rows of a weight gradient's block
constexpr int64_t POINTWISE_BLOCK = 128;  // pixels of a 1×1 convolution's backward pass that are taken at a time

// Floats from one row of scratch to the next. Rows a multiple of 4 KB apart lie in one set of the first-level cache,
// which has 8 or 12 places: where a tile reads more of them side by side, they are moved apart.
FOVEAL_INLINE int64_t scratch_row(int64_t depth) { return TILE_ROWS > 8 && depth % 1024 == 0 ? depth + SKEW : depth; }

// y (rows, columns) = x (rows, depth) * panels, with the epilogue of `tc` (its data, row and resume are set here).
// made, or nullptr: made(m, count, thread) makes rows m … m + count of x, each in a scratch_row.
template <class Made>
void matrix_product(const Run& run, const float* x, const Made& made, const float* panels, int64_t rows, int64_t depth,
                    int64_t columns, float* y, TileC tc) {
  constexpr bool MAKES = !__is_same(Made, decltype(nullptr));
  const float* const bias = tc.bias;
  const float* const mask = tc.mask;
  const bool relu = tc.relu, streams = rows * columns > STREAMED;
  const auto block = [&](const float* from, int64_t m, int64_t count, int64_t n, int64_t k) {
    const int64_t end = least(depth, k + DEPTH_BLOCK);
    TileC c{y + m * columns + n, columns, nullptr, k > 0, false, nullptr};
    if (k == 0 && bias != nullptr) c.bias = bias + n;
    if (end == depth) {
      c.relu = relu;
      c.streams = streams;
      c.mask = mask == nullptr ? nullptr : mask + m * columns + n;
    }
    TileA rows_of_x{from + k, MAKES ? scratch_row(depth) : depth, 1, 0};
    // the rows after a tile's are fetched while it is made, by the first column of tiles: they come from memory
    if (!MAKES && n == 0 && depth <= DEPTH_BLOCK) {
      rows_of_x.next = {from + TILE_ROWS * depth, (rows - m - TILE_ROWS) * depth};
    }
    tile_rows(rows_of_x, from_panels(panels, depth, k, n), {1, end - k}, c, count, tile_columns(n, columns));
  };
  const auto rows_at = [&](int64_t m, int64_t count, int thread) {
    if constexpr (MAKES) {
      return made(m, count, thread);
    } else {
      return x + m * depth;
    }
  };
  const int64_t tiles = ceil_div(columns, TILE_COLUMNS), wanted = ITEMS * pool_threads(*run.pool);
  if (ceil_div(rows, ROW_CHUNK) >= tiles) {  // many rows: each item keeps its rows in cache and passes over all panels
    const int64_t chunks = row_chunks(rows, wanted);
    each(run, chunks, [&](int64_t item, int thread) {
      const int64_t m = rows * item / chunks, count = rows * (item + 1) / chunks - m;
      const float* const from = rows_at(m, count, thread);
      for (int64_t k = 0; k < depth; k += DEPTH_BLOCK) {
        for (int64_t n = 0; n < columns; n += TILE_COLUMNS) block(from, m, count, n, k);
      }
      if (streams) stream_end();
    });
  } else {  // few rows: each item keeps its columns in cache and passes over all rows; over a part of them where
            // columns of tiles are so few that one more or less is much of a thread's share
    const int64_t wide = TILE_COLUMNS * (MAKES ? most(1, tiles / wanted) : 1), across = ceil_div(columns, wide);
    const int64_t parts = MAKES ? 1 : least(ceil_div(rows, 2 * TILE_ROWS), ceil_div(4 * wanted, across));
    each(run, across * parts, [&](int64_t item, int thread) {
      const int64_t first = item / parts * wide, part = item % parts, end = rows * (part + 1) / parts;
      const int64_t step = MAKES ? ROW_CHUNK : rows;
      for (int64_t m = rows * part / parts; m < end; m += step) {
        const int64_t count = least(step, end - m);
        const float* const from = rows_at(m, count, thread);
        for (int64_t n = first; n < least(columns, first + wide); n += TILE_COLUMNS) {
          for (int64_t k = 0; k < depth; k += DEPTH_BLOCK) block(from, m, count, n, k);
        }
      }
      if (streams) stream_end();
    });
  }
}

void dense_forward(const dense_forward_args& a, const Run& run) {
  const TileC epilogue{nullptr, 0, a.bias, false, a.relu != 0, nullptr};
  const int64_t rows = run.batch * a.rows;
  const int64_t row = scratch_row(a.inputs);
  if (a.affine == nullptr && row == a.inputs) {
    matrix_product(run, a.x, nullptr, a.weight, rows, a.inputs, a.units, a.y, epilogue);
    return;
  }
  const auto made = [&](int64_t m, int64_t count, int thread) {
    float* const scratch = a.scratch + thread * ROW_CHUNK * row;
    return normalised_rows(a.x + m * a.inputs, a.affine, a.rectify, count, a.inputs, scratch, row);
  };
  matrix_product(run, nullptr, made, a.weight, rows, a.inputs, a.units, a.y, epilogue);
}

void dense_backward_data(const dense_backward_data_args& a, const Run& run) {
  const TileC epilogue{nullptr, 0, nullptr, false, false, a.mask};
  const int64_t rows = run.batch * a.rows;
  const int64_t row = scratch_row(a.units);
  if (a.y == nullptr && row == a.units) {
    matrix_product(run, a.dy, nullptr, a.turned, rows, a.units, a.inputs, a.dx, epilogue);
    return;
  }
  const auto made = [&](int64_t m, int64_t count, int thread) {
    return finished_rows(a, a.units, m, count, a.scratch + thread * ROW_CHUNK * row, row);
  };
  matrix_product(run, nullptr, made, a.turned, rows, a.units, a.inputs, a.dx, epilogue);
}

// `rows` rows of columns [begin, end), value(r, c) for each register, in panels of `width` columns one after another:
// rows that lie a power of two apart would share a few sets of the cache. Columns that fill no register are left out.
template <class Value>
FOVEAL_INLINE void in_panels(int64_t rows, int64_t begin, int64_t end, int64_t width, float* to, const Value& value) {
  for (int64_t n = begin; n < end; n += width) {
    const int64_t columns = least(width, end - n);
    float* const panel = to + n * rows;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c + LANES <= columns; c += LANES) store(panel + r * columns + c, value(r, n + c));
    }
  }
}

// dW (I, O) = Xᵀ dY: each thread owns some tiles and passes over the rows, block by block. db: the columns' sums, in
// float within a block and in double over blocks, by whoever owns the columns' first tile.
void dense_backward_weights(const dense_backward_weights_args& a, const Run& run) {
  const int64_t rows = run.batch * a.rows, chunks = ceil_div(a.inputs, ROW_CHUNK);
  const int64_t tiles = chunks * ceil_div(a.units, TILE_COLUMNS);
  each_share(run, tiles, [&](int64_t begin, int64_t end, int thread) {
    float* const x = a.scratch + thread * a.block * (a.inputs + a.units);
    float* const dy = x + a.block * a.inputs;
    const int64_t first = begin / chunks * TILE_COLUMNS, last = least(a.units, ceil_div(end, chunks) * TILE_COLUMNS);
    for (int64_t r = 0; r < rows; r += a.block) {
      const int64_t count = least(a.block, rows - r);
      in_panels(count, 0, a.inputs, ROW_CHUNK, x, [&](int64_t row, int64_t c) FOVEAL_INLINED {
        const Reg value = load(a.x + (r + row) * a.inputs + c);
        return a.affine == nullptr ? value : Affine(a.affine, a.inputs, c, a.rectify)(value);
      });
      for (int64_t c = a.inputs / LANES * LANES; c < a.inputs; ++c) {  // of images with channels as they come
        const int64_t m = c / ROW_CHUNK * ROW_CHUNK, columns = least(ROW_CHUNK, a.inputs - m);
        for (int64_t row = 0; row < count; ++row) {
          x[m * count + row * columns + c - m] = a.x[(r + row) * a.inputs + c];
        }
      }
      in_panels(count, first, last, TILE_COLUMNS, dy, [&](int64_t row, int64_t c) FOVEAL_INLINED {
        const int64_t i = (r + row) * a.units + c;
        if (a.y == nullptr) return load(a.dy + i);
        return NormGradient(a.y_affine, a.coefficients, a.units, c, a.relu)(load(a.dy + i), load(a.y + i));
      });
      const int64_t following = least(a.block, most(0, rows - r - a.block));  // rows of the next block
      Ahead ahead{{a.x + (r + a.block) * a.inputs, following * a.inputs},
                  {a.dy + (r + a.block) * a.units, following * a.units}};
      for (int64_t t = begin; t < end; ++t) {
        const int64_t n = t / chunks * TILE_COLUMNS, m = t % chunks * ROW_CHUNK,
                      inputs = least(ROW_CHUNK, a.inputs - m), columns = least(TILE_COLUMNS, last - n);
        tile_rows({x + m * count, 1, inputs, 0, ahead.take(inputs, count)}, {dy + n * count, columns, 0}, {1, count},
                  into_panels(a.dweight, a.inputs, m, n, r > 0), inputs, columns);
        if (a.dbias == nullptr || m > 0) continue;
        if (r == 0) __builtin_memset(a.sums + n, 0, columns * 8);
        add_columns(dy + n * count, columns, count, columns, a.sums + n);
        if (r + a.block >= rows) set_columns(columns, a.sums + n, a.dbias + n);
      }
    }
  });
}

// Both gradients of a 1×1 convolution, block by block of pixels, which are read and finished once for the two. Groups
// of blocks have sums of their own for dW and db, so that they can be made by different threads.
void pointwise_backward(const pointwise_backward_args& a, const Run& run) {
  const int64_t rows = run.batch * a.pixels, size = a.inputs * a.units, sums_size = size + a.units;
  const int64_t group = ceil_div(ceil_div(rows, a.groups), a.unit) * a.unit;
  const int64_t groups = ceil_div(rows, group);
  const int64_t of_x = a.affine == nullptr ? 0 : POINTWISE_BLOCK * a.inputs;
  const int64_t of_dy = a.y == nullptr ? 0 : POINTWISE_BLOCK * a.units;
  const bool streams = a.moments == nullptr && rows * a.inputs > STREAMED;
  each(run, groups, [&](int64_t item, int thread) {
    float* const sums = a.partial + item * sums_size;
    float* const made_x = a.scratch + thread * (of_x + of_dy);
    float* const made_dy = made_x + of_x;
    const int64_t begin = item * group, end = least(rows, begin + group);
    if (a.dbias != nullptr) zero_floats(sums + size, a.units);
    for (int64_t r = begin; r < end; r += POINTWISE_BLOCK) {
      const int64_t count = least(POINTWISE_BLOCK, end - r), next = r + POINTWISE_BLOCK;
      const int64_t following = least(POINTWISE_BLOCK, most(0, rows - next));
      const float* const x =
          normalised_rows(a.x + r * a.inputs, a.affine, a.rectify, count, a.inputs, made_x, a.inputs);
      const float* const dy = finished_rows(a, a.units, r, count, made_dy, a.units);
      Ahead ahead{{a.x + next * a.inputs, following * a.inputs}, {a.dy + next * a.units, following * a.units}};
      for (int64_t n = 0; n < a.units; n += TILE_COLUMNS) {
        tile_rows({x, 1, a.inputs, 0, ahead.take(a.inputs, count)}, {dy + n, a.units, 0}, {1, count},
                  into_panels(sums, a.inputs, 0, n, r > begin), a.inputs, tile_columns(n, a.units));
      }
      if (a.dbias != nullptr) add_columns(dy, a.units, count, a.units, sums + size);
      if (a.dx == nullptr) continue;
      ahead = {a.y == nullptr ? Stretch{} : Stretch{a.y + next * a.units, following * a.units}, {}};
      for (int64_t n = 0; n < a.inputs; n += TILE_COLUMNS) {
        tile_rows({dy, a.units, 1, 0, ahead.take(count, a.units)}, from_panels(a.turned, a.units, 0, n), {1, a.units},
                  {a.dx + r * a.inputs + n, a.inputs, nullptr, false, false,
                   a.mask == nullptr ? nullptr : a.mask + r * a.inputs + n, streams},
                  count, tile_columns(n, a.inputs));
      }
      for (int64_t p = r; a.moments != nullptr && p < r + count;) {
        const int64_t image = p / a.pixels, stop = least(r + count, (image + 1) * a.pixels);
        add_gradients(a.x + p * a.inputs, a.dx + p * a.inputs, a.affine, a.mean, a.rectify, stop - p, a.inputs,
                      p % a.pixels > 0, a.moments + image * 2 * a.inputs);
        p = stop;
      }
    }
    if (streams) stream_end();
  });
  add_partials(run, a.partial, groups, sums_size, size, a.dweight);
  if (a.dbias != nullptr) add_partials(run, a.partial + size, groups, sums_size, a.units, a.dbias);
}

// panels (taps, I, O) → panels (taps turned round, O, I).
void turn_weights(const turn_weights_args& a, const Run& run) {
  const int64_t blocks = a.inputs / 16;
  each(run, a.taps * blocks, [&](int64_t item, int) {
    const int64_t tap = item / blocks, i0 = item % blocks * 16;
    float* const out = a.turned + panel_place(a.taps * a.outputs, (a.taps - 1 - tap) * a.outputs, i0);
    for (int64_t o0 = 0; o0 < a.outputs; o0 += 16) {
      const float* const in = a.weight + panel_place(a.taps * a.inputs, tap * a.inputs + i0, o0);
      for (int64_t o = 0; o < 16; o += LANES) {
        for (int64_t i = 0; i < 16; i += LANES) {
          Reg block[LANES];
          unroll<LANES>([&](auto r) FOVEAL_INLINED { block[r] = load(in + (i + r) * PANEL + o); });
          transpose(block);
          unroll<LANES>([&](auto r) FOVEAL_INLINED { store(out + (o0 + o + r) * PANEL + i, block[r]); });
        }
      }
    }
  });
}

void bias_backward(const bias_backward_args& a, const Run& run) {
  each(run, ceil_div(a.channels, TILE_COLUMNS), [&](int64_t item, int) {
    const int64_t c = item * TILE_COLUMNS, columns = tile_columns(c, a.channels), rows = run.batch * a.pixels;
    double sums[TILE_COLUMNS] = {};
    for (int64_t r = 0; r < rows; r += BATCH_BLOCK) {
      add_columns(a.dy + r * a.channels + c, a.channels, least(BATCH_BLOCK, rows - r), columns, sums);
    }
    set_columns(columns, sums, a.dbias + c);
  });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
