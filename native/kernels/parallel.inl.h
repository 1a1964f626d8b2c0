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
  each(run, shares, [&](int64_t item, int) { body(count * item / shares, count * (item + 1) / shares); });
}

// body(c, registers) over all channels, four registers at a time: as many sums go on side by side.
template <class Body>
FOVEAL_INLINE void each_channel(int64_t channels, const Body& body) {
  int64_t c = 0;
  for (; c + 4 * LANES <= channels; c += 4 * LANES) body(c, Index<4>{});
  for (; c < channels; c += LANES) body(c, Index<1>{});
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
