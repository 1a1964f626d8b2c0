// Work shared among the pool's threads.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

// body(item, thread) for every item.
template <class Body>
void each(const Run& run, int64_t items, const Body& body) {
  parallel(
      *run.pool, items,
      [](void* context, int64_t item, int thread) { (*static_cast<const Body*>(context))(item, thread); },
      const_cast<Body*>(&body));
}

constexpr int64_t ITEMS = 4;        // of work for each thread, where there is enough of it
constexpr int64_t PIECE = 1 << 14;  // floats of one work item of an elementwise pass

// body(begin, end) over [0, count) in pieces of `piece`: for passes over memory.
template <class Body>
void each_range(const Run& run, int64_t count, int64_t piece, const Body& body) {
  each(run, ceil_div(count, piece), [&](int64_t item, int) { body(item * piece, least(count, (item + 1) * piece)); });
}

// body(begin, end) over [0, count), one piece for each thread: for work that streams the same data for every piece.
template <class Body>
void each_share(const Run& run, int64_t count, const Body& body) {
  const int64_t shares = least(count, pool_threads(*run.pool));
  each(run, shares,
       [&](int64_t item, int thread) { body(count * item / shares, count * (item + 1) / shares, thread); });
}

// body(c, registers) over all channels, four or two registers at a time: as many sums go on side by side.
template <class Body>
FOVEAL_INLINE void each_channel(int64_t channels, const Body& body) {
  int64_t c = 0;
  for (; c + 4 * LANES <= channels; c += 4 * LANES) body(c, Index<4>{});
  for (; c + 2 * LANES <= channels; c += 2 * LANES) body(c, Index<2>{});
  for (; c < channels; c += LANES) body(c, Index<1>{});
}

// sums[c] += the sum over `rows` rows of x[row * r + c], in float and in their order.
template <class T>
FOVEAL_INLINE void add_columns(const float* x, int64_t row, int64_t rows, int64_t columns, T* sums) {
  each_channel(columns, [&](int64_t c, auto registers) {
    Reg sum[registers] = {};
    for (int64_t r = 0; r < rows; ++r) {
      unroll<registers>([&](auto n) { sum[n] += load(x + r * row + c + n * LANES); });
    }
    unroll<registers>([&](auto n) {
      for (int64_t lane = 0; lane < LANES; ++lane) sums[c + n * LANES + lane] += sum[n][lane];
    });
  });
}
template <class T>
FOVEAL_INLINE void set_columns(int64_t columns, const T* sums, float* to) {
  for (int64_t c = 0; c < columns; ++c) to[c] = static_cast<float>(sums[c]);
}

constexpr int64_t SUMS = 64;  // in double, of neighbouring columns, that go on side by side

// to[i] = the sum of partial[n * step + i] over n < count, in double and in their order.
inline void add_partials(const Run& run, const float* partial, int64_t count, int64_t step, int64_t size, float* to) {
  each_range(run, size, SUMS, [&](int64_t begin, int64_t end) {
    double sum[SUMS] = {};
    for (int64_t n = 0; n < count; ++n) {
      for (int64_t i = begin; i < end; ++i) sum[i - begin] += partial[n * step + i];
    }
    for (int64_t i = begin; i < end; ++i) to[i] = static_cast<float>(sum[i - begin]);
  });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
