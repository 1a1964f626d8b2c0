// The one micro-kernel of all dense and convolution steps: a tile of C = A B in registers, one chain of fused
// multiply-adds per output in the order of k, continued from C where a reduction is cut into blocks.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

constexpr int64_t LINE = 16;  // floats of a cache line

// Memory, `floats` from `from` on; nothing where that is not above 0.
struct Stretch {
  const float* from = nullptr;
  int64_t floats = 0;

  // The rest of it after so many lines.
  FOVEAL_INLINE void pass(int64_t lines) {
    if (floats <= 0) return;
    from += lines * LINE;
    floats -= lines * LINE;
  }
};

// A[m, (o, k)] = a[m * row + o * outer + k * inner]; B[(o, k), n] = b[o * outer + k * row + n]; C[m, n] = c[m * row +
// n]. In panels the columns of each register of a tile lie `reg` floats after those of the one before.
struct TileA {
  const float* data;
  int64_t row, inner, outer;
  Stretch next = {};  // to be fetched into cache meanwhile, a line for each step of the reduction
};
struct TileB {
  const float* data;
  int64_t row, outer, reg = LANES;
};
struct TileC {
  float* data;
  int64_t row;
  const float* bias;     // start from bias[n], or
  bool resume;           // go on from C; otherwise from 0
  bool relu;             // at the end: max(c, 0)
  const float* mask;     // at the end: 0 where mask[m * row + n] <= 0; or none
  bool streams = false;  // past the caches
  int64_t reg = LANES;
};
// Weights lie in panels of 16 columns, (depth, 16) each: a tile of 32 columns takes two of them side by side.
constexpr int64_t PANEL = 16;
constexpr bool SPANS_PANELS = LANES * TILE_REGS > PANEL;
static_assert(!SPANS_PANELS || LANES == PANEL, "a register lies in one panel");

constexpr int64_t SKEW = 16;    // between rows or matrices whose lines would share a few sets of the cache
constexpr int NEAR_MEMORY = 2;  // a prefetch into the second-level cache

struct Reduction {
  int64_t outer, inner;
};

// The rows of a tile's A at one step of the reduction. An offset for each row would fill the general registers, and the
// compiler would read most of them from the stack: as many instructions as there are broadcasts, on a core whose other
// thread may be another's. Seven rows lie within reach of one pointer by what an address can hold: s, 2s, 3s, 4s, 5s
// and 6s as 2 × 3s. All are opaque, and again after each step, or multiples of them would be kept as well.
template <int ROWS>
struct RowPointers {
  static constexpr int REACH = 7, POINTERS = (ROWS + REACH - 1) / REACH;
  const char* from[POINTERS];
  int64_t one, three, five;  // bytes

  FOVEAL_INLINE RowPointers(const float* a, int64_t row)
      : one(opaque(row * 4)), three(opaque(3 * one)), five(opaque(5 * one)) {
    unroll<POINTERS>([&](auto p)
                         FOVEAL_INLINED { from[p] = opaque(reinterpret_cast<const char*>(a) + p * REACH * one); });
  }
  template <int M>
  FOVEAL_INLINE float at() const {
    constexpr int NEAR = M % REACH;
    const int64_t offset = NEAR % 5 == 0 ? NEAR / 5 * five : NEAR % 3 == 0 ? NEAR / 3 * three : NEAR * one;
    return *reinterpret_cast<const float*>(from[M / REACH] + offset);
  }
  FOVEAL_INLINE void advance(int64_t floats) {
    unroll<POINTERS>([&](auto p) FOVEAL_INLINED { from[p] += floats * 4; });
    one = opaque(one), three = opaque(three), five = opaque(five);
  }
};

template <int ROWS, int REGS>
__attribute__((noinline)) void tile(const TileA& ta, const TileB& tb, const Reduction& k, const TileC& tc) {
  Reg acc[ROWS][REGS];
  float* const c = tc.data;
  const int64_t c_row = tc.row, c_reg = SPANS_PANELS ? tc.reg : LANES;
  if (tc.resume) {
    unroll<ROWS>([&](auto m) { unroll<REGS>([&](auto r) { acc[m][r] = load(c + m * c_row + r * c_reg); }); });
  } else if (tc.bias != nullptr) {
    unroll<ROWS>([&](auto m) { unroll<REGS>([&](auto r) { acc[m][r] = load(tc.bias + r * LANES); }); });
  } else {
    unroll<ROWS>([&](auto m) { unroll<REGS>([&](auto r) { acc[m][r] = Reg{}; }); });
  }
  if (tc.mask != nullptr) {  // from memory, most often: it arrives while the products are made
    unroll<ROWS>([&](auto m) {
      for (int r = 0; r < REGS; r += LINE / LANES) __builtin_prefetch(tc.mask + m * c_row + r * c_reg);
    });
  }
  const int64_t a_row = ta.row, a_inner = ta.inner, b_row = tb.row, b_reg = SPANS_PANELS ? tb.reg : LANES;
  const float* next = ta.next.floats > 0 ? ta.next.from : ta.data;
  const int64_t next_step = ta.next.floats > 0 ? LINE : 0;
  for (int64_t o = 0; o < k.outer; ++o) {
    RowPointers<ROWS> a(ta.data + o * ta.outer, a_row);
    const float* b = tb.data + o * tb.outer;
    for (int64_t i = k.inner; i > 0; --i) {
      Reg bs[REGS];
      unroll<REGS>([&](auto r) { bs[r] = load(b + r * b_reg); });
      unroll<ROWS>([&](auto m) {
        const Reg x = broadcast(a.template at<m>());
        unroll<REGS>([&](auto r) { acc[m][r] = fma(x, bs[r], acc[m][r]); });
      });
      __builtin_prefetch(next, 0, NEAR_MEMORY);
      next += next_step;
      a.advance(a_inner);
      b += b_row;
    }
  }
  if (tc.relu) {
    unroll<ROWS>([&](auto m) { unroll<REGS>([&](auto r) { acc[m][r] = maximum(acc[m][r], Reg{}); }); });
  }
  if (tc.mask != nullptr) {
    unroll<ROWS>([&](auto m) {
      unroll<REGS>([&](auto r) { acc[m][r] = load(tc.mask + m * c_row + r * c_reg) > Reg{} ? acc[m][r] : Reg{}; });
    });
  }
  if (tc.streams) {
    unroll<ROWS>([&](auto m) { unroll<REGS>([&](auto r) { stream(c + m * c_row + r * c_reg, acc[m][r]); }); });
  } else {
    unroll<ROWS>([&](auto m) { unroll<REGS>([&](auto r) { store(c + m * c_row + r * c_reg, acc[m][r]); }); });
  }
}

using TileFunction = void (*)(const TileA&, const TileB&, const Reduction&, const TileC&);

template <int REGS, int ROWS = TILE_ROWS>
struct TileTable : TileTable<REGS, ROWS - 1> {
  constexpr TileTable() : TileTable<REGS, ROWS - 1>() { this->by_rows[ROWS] = tile<ROWS, REGS>; }
};
template <int REGS>
struct TileTable<REGS, 0> {
  TileFunction by_rows[TILE_ROWS + 1] = {};
};

constexpr int REGS_OF_16 = 16 / LANES;
constexpr TileTable<TILE_REGS> full_tiles;
constexpr TileTable<REGS_OF_16> narrow_tiles;  // the last 16 columns where the full tile is 32 wide
constexpr int64_t TILE_COLUMNS = TILE_REGS * LANES;
constexpr int64_t ROW_CHUNK = 8 * TILE_ROWS;  // rows of one work item

// Chunks of rows, of ROW_CHUNK at most; as many as are wanted, as long as each fills a tile.
FOVEAL_INLINE int64_t row_chunks(int64_t rows, int64_t wanted) {
  return most(ceil_div(rows, ROW_CHUNK), least(ceil_div(rows, TILE_ROWS), wanted));
}

// Width of the tile that begins at column n of `columns` (a multiple of 16).
FOVEAL_INLINE int64_t tile_columns(int64_t n, int64_t columns) { return least(TILE_COLUMNS, columns - n); }

// C[rows, columns of one tile], rows split evenly. `next` goes on from tile to tile.
FOVEAL_INLINE void tile_rows(TileA a, const TileB& b, const Reduction& k, TileC c, int64_t rows, int64_t columns) {
  const TileFunction* by_rows = columns == TILE_COLUMNS ? full_tiles.by_rows : narrow_tiles.by_rows;
  const int64_t blocks = ceil_div(rows, TILE_ROWS);
  const float* const a0 = a.data;
  float* const c0 = c.data;
  const float* const mask0 = c.mask;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t m = rows * i / blocks, end = rows * (i + 1) / blocks;
    a.data = a0 + m * a.row;
    c.data = c0 + m * c.row;
    if (mask0 != nullptr) c.mask = mask0 + m * c.row;
    by_rows[end - m](a, b, k, c);
    a.next.pass(k.outer * k.inner);
  }
}

// Memory to be fetched into cache while tiles are made: two stretches, the second after the first.
struct Ahead {
  Stretch first, second;

  // What the tiles of `rows` rows are to fetch, a line for each step of their reduction: `TileA::next`.
  FOVEAL_INLINE Stretch take(int64_t rows, int64_t reduction) {
    Stretch& left = first.floats > 0 ? first : second;
    const Stretch taken = left;
    left.pass(ceil_div(rows, TILE_ROWS) * reduction);
    return taken;
  }
};

// Row k and column n of panels of `depth` rows.
FOVEAL_INLINE int64_t panel_place(int64_t depth, int64_t k, int64_t n) {
  return n / PANEL * PANEL * depth + k * PANEL + n % PANEL;
}
// Panels of `depth` rows from row k and column n on, as B, its outer steps `outer` rows apart, and as C.
FOVEAL_INLINE TileB from_panels(const float* panels, int64_t depth, int64_t k, int64_t n, int64_t outer = 0) {
  return {panels + panel_place(depth, k, n), PANEL, outer * PANEL, SPANS_PANELS ? PANEL * depth : LANES};
}
FOVEAL_INLINE TileC into_panels(float* panels, int64_t depth, int64_t k, int64_t n, bool resume) {
  return {panels + panel_place(depth, k, n),   PANEL, nullptr, resume, false, nullptr, false,
          SPANS_PANELS ? PANEL * depth : LANES};
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
