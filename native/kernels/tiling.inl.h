// How the outputs of an image lie in Winograd's tiles, and the pixels under one: for winograd.inl.h.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

// Kinds of tiles: whole ones, and at an image's bottom and right those that have fewer outputs. In this order those of
// a height, and those of a width, are neighbours.
enum Kind { LOW, WHOLE, NARROW, CORNER, KINDS };
constexpr bool is_low(int kind) { return kind == LOW || kind == CORNER; }
constexpr bool is_narrow(int kind) { return kind == NARROW || kind == CORNER; }

// Tiles of M × M outputs of a kernel of R × R taps; of E on an axis where so many or fewer are left, if E is not M.
// Those have a subset of the points: no more multiplications than they need, with the same transformed weights.
template <int M, int R, int E>
struct Tiling {
  static constexpr int OUT = M, EDGE = E, TAPS = R, SIZE = M + R - 1, FREQUENCIES = SIZE * SIZE;

  // Of one axis: a tile at the edge does not have it.
  static constexpr bool whole_only(int64_t point) { return point >= E + R - 2 && point < SIZE - 1; }
};

// The axes of a tile.
template <class F, int KIND>
using Down = Axis<is_low(KIND) ? F::EDGE : F::OUT, F::TAPS, F::SIZE>;
template <class F, int KIND>
using Across = Axis<is_narrow(KIND) ? F::EDGE : F::OUT, F::TAPS, F::SIZE>;

// A convolution of images, and its tiles: `high` rows and `wide` columns of an image, the last ones of which may be
// `low` or `narrow`, 1 or 0.
struct TileGrid {
  int64_t height, width, channels, used_channels, top, left, out_height, out_width, filters, used_filters;
  int64_t high = 0, wide = 0, low = 0, narrow = 0;
};
template <class F, class Args>
FOVEAL_INLINE TileGrid tile_grid(const Args& a) {
  const auto at_edge = [](int64_t outputs) FOVEAL_INLINED {
    const int64_t left = outputs % F::OUT;
    return int64_t{F::EDGE < F::OUT && left > 0 && left <= F::EDGE};
  };
  TileGrid g{a.height, a.width,      a.channels,  a.used_channels, a.top,
             a.left,   a.out_height, a.out_width, a.filters,       a.used_filters};
  g.high = ceil_div(a.out_height, F::OUT), g.wide = ceil_div(a.out_width, F::OUT);
  g.low = at_edge(a.out_height), g.narrow = at_edge(a.out_width);
  return g;
}

struct Range {
  int64_t begin, end;
};

// Where a tile lies: its image, and the first of its pixels there.
struct Place {
  int64_t image, y, x;
};

// The tiles of some rows of some images, or of each kind a part of them, kind by kind: those that have a frequency are
// neighbours.
struct TileSet {
  int64_t image, row, last_row, last_column;        // the first of them, and an image's last
  int64_t rows[2], columns[2];                      // of an image: whole, and low or narrow
  int64_t from[KINDS] = {}, begin[KINDS + 1] = {};  // a kind's first tile, among all of that kind and in this set

  FOVEAL_INLINE TileSet(const TileGrid& g, int64_t image, int64_t images, int64_t row, int64_t rows)
      : image(image), row(row), last_row(g.high - 1), last_column(g.wide - 1) {
    this->rows[1] = row + rows == g.high ? g.low : 0;
    this->rows[0] = rows - this->rows[1];
    columns[1] = g.narrow;
    columns[0] = g.wide - columns[1];
    unroll<KINDS>([&](auto kind) FOVEAL_INLINED {
      begin[kind + 1] = begin[kind] + images * this->rows[is_low(kind)] * columns[is_narrow(kind)];
    });
  }
  FOVEAL_INLINE int64_t count() const { return begin[KINDS]; }

  // Part i of n, which has its share of each kind: of each up to one tile more than others.
  FOVEAL_INLINE TileSet part(int64_t i, int64_t n) const {
    TileSet set = *this;
    unroll<KINDS>([&](auto kind) FOVEAL_INLINED {
      const int64_t tiles = begin[kind + 1] - begin[kind];
      set.from[kind] = from[kind] + tiles * i / n;
      set.begin[kind + 1] = set.begin[kind] + from[kind] + tiles * (i + 1) / n - set.from[kind];
    });
    return set;
  }

  // Those that have a frequency.
  template <class F>
  FOVEAL_INLINE Range having(int64_t frequency) const {
    const bool y = F::whole_only(frequency / F::SIZE), x = F::whole_only(frequency % F::SIZE);
    return {begin[y ? WHOLE : LOW], begin[x ? NARROW : y ? CORNER : KINDS]};
  }

  // body(kind, tile, place) for the tiles in a range.
  template <class F, class Body>
  FOVEAL_INLINE void each_tile(int64_t first, int64_t end, const Body& body) const {
    unroll<KINDS>([&](auto kind) FOVEAL_INLINED {
      const int64_t across = columns[is_narrow(kind)], of_image = rows[is_low(kind)] * across;
      for (int64_t t = most(first, begin[kind]); t < least(end, begin[kind + 1]); ++t) {
        const int64_t index = from[kind] + t - begin[kind], in_image = index % of_image;
        body(kind, t,
             Place{image + index / of_image, (is_low(kind) ? last_row : row + in_image / across) * F::OUT,
                   (is_narrow(kind) ? last_column : in_image % across) * F::OUT});
      }
    });
  }

  // body(kind, tile, place) for the tiles of image i of a whole set, row by row.
  template <class F, class Body>
  FOVEAL_INLINE void each_of_image(int64_t i, const Body& body) const {
    for (int64_t r = 0; r < rows[0] + rows[1]; ++r) {
      const auto of_row = [&](auto whole, auto last) FOVEAL_INLINED {
        const int64_t line = i * rows[is_low(whole)] + (is_low(whole) ? 0 : r), y = (row + r) * F::OUT;
        for (int64_t c = 0; c < columns[0]; ++c) {
          body(whole, begin[whole] + line * columns[0] + c, Place{image + i, y, c * F::OUT});
        }
        if (columns[1] > 0) body(last, begin[last] + line, Place{image + i, y, last_column * F::OUT});
      };
      if (r < rows[0]) {
        of_row(Index<WHOLE>{}, Index<NARROW>{});
      } else {
        of_row(Index<LOW>{}, Index<CORNER>{});
      }
    }
  }
};

// The pixels of a patch whose first one is (y0, x0), and which of them lie in the image; the others point to `outside`.
template <int HIGH, int WIDE, class Pointer>
struct Patch {
  Pointer pixel[HIGH][WIDE];
  float inside[HIGH][WIDE];
  bool whole;

  FOVEAL_INLINE Patch(Pointer image, Pointer outside, int64_t y0, int64_t x0, int64_t height, int64_t width,
                      int64_t channels)
      : whole(y0 >= 0 && y0 + HIGH <= height && x0 >= 0 && x0 + WIDE <= width) {
    const auto each_pixel = [&](const auto& is_in) FOVEAL_INLINED {
      for (int i = 0; i < HIGH; ++i) {
        for (int j = 0; j < WIDE; ++j) {
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

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
