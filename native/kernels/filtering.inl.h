// The matrices of minimal filtering (Winograd 1980; Lavin and Gray 2016, arXiv 1509.09308), of two-dimensional tiles as
// in winograd.inl.h: B, G and A of F(m, r) for its points on either axis, and products of them with values in
// registers.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

// Beside ∞, which is the last of every filter; the more of them, the less exact.
constexpr double POINTS[] = {0, 1, -1, 2, -2, .5, -.5};

template <int ROWS, int COLUMNS>
struct Matrix {
  float entry[ROWS][COLUMNS] = {};
};

// Bᵀ for n points of `OF` that the transformed weights are made for: a row is ∏ (x - q) over the other points q, times
// ∏ (p - q) over the points q that are left out, by which G divides.
template <int N, int OF>
struct InputMatrix {
  static constexpr int ROWS = N, COLUMNS = N;
  static constexpr auto table = [] {
    Matrix<N, N> matrix;
    for (int i = 0; i < N; ++i) {
      double polynomial[N] = {1};
      for (int q = 0; q < N - 1; ++q) {
        if (q == i) continue;
        for (int power = N - 1; power > 0; --power) {
          polynomial[power] = polynomial[power - 1] - POINTS[q] * polynomial[power];
        }
        polynomial[0] *= -POINTS[q];
      }
      double left_out = 1;
      for (int q = N - 1; q < OF - 1 && i < N - 1; ++q) left_out *= POINTS[i] - POINTS[q];
      for (int j = 0; j < N; ++j) matrix.entry[i][j] = static_cast<float>(left_out * polynomial[j]);
    }
    return matrix;
  }();
  static constexpr float at(int i, int j) { return table.entry[i][j]; }
};

// G: powers of each point p, divided by ∏ (p - q) over the others.
template <int N, int TAPS>
struct KernelMatrix {
  static constexpr int ROWS = N, COLUMNS = TAPS;
  static constexpr auto table = [] {
    Matrix<N, TAPS> matrix;
    for (int i = 0; i < N - 1; ++i) {
      double power = 1, others = 1;
      for (int q = 0; q < N - 1; ++q) others *= q == i ? 1 : POINTS[i] - POINTS[q];
      for (int j = 0; j < TAPS; ++j, power *= POINTS[i]) matrix.entry[i][j] = static_cast<float>(power / others);
    }
    matrix.entry[N - 1][TAPS - 1] = 1;
    return matrix;
  }();
  static constexpr float at(int i, int j) { return table.entry[i][j]; }
};

// A: powers of each point.
template <int N, int OUT>
struct OutputMatrix {
  static constexpr int ROWS = N, COLUMNS = OUT;
  static constexpr auto table = [] {
    Matrix<N, OUT> matrix;
    for (int i = 0; i < N - 1; ++i) {
      double power = 1;
      for (int j = 0; j < OUT; ++j, power *= POINTS[i]) matrix.entry[i][j] = static_cast<float>(power);
    }
    matrix.entry[N - 1][OUT - 1] = 1;
    return matrix;
  }();
  static constexpr float at(int i, int j) { return table.entry[i][j]; }
};

// One axis of a tile: M outputs of a filter of R taps, whose transformed weights are made for `OF` points.
template <int M, int R, int OF>
struct Axis {
  static constexpr int OUT = M, SIZE = M + R - 1;
  using Input = InputMatrix<SIZE, OF>;
  using Output = OutputMatrix<SIZE, M>;
  static constexpr int POINTS_OF_WEIGHTS = OF;
  static constexpr int point(int i) { return i == SIZE - 1 ? OF - 1 : i; }  // its place among those of the weights
};

// Which of the weights' frequencies is row i, column j of a tile's, whose axes are Y and X.
template <class Y, class X>
constexpr int frequency(int i, int j) {
  return Y::point(i) * X::POINTS_OF_WEIGHTS + X::point(j);
}

// A sum of terms with factors known at compile time: no multiplication by 1 or -1, none at all by 0.
struct Sum {
  Reg value{};
  bool empty = true;

  template <class Factor>
  FOVEAL_INLINE void add(Factor, Reg x) {
    constexpr float f = Factor::value;
    if constexpr (f == 1) {
      value = empty ? x : value + x;
    } else if constexpr (f == -1) {
      value = empty ? -x : value - x;
    } else if constexpr (f != 0) {
      value = empty ? broadcast(f) * x : fma(broadcast(f), x, value);
    }
    if constexpr (f != 0) empty = false;
  }
};
template <class M, int I, int J>
struct Entry {
  static constexpr float value = M::at(I, J);
};

// out(i, Σ_j M[i][j] in(j)). Rows 2p - 1 and 2p belong to points ±x: their even columns agree, their odd ones differ in
// sign, so that the two halves are summed once.
template <class M, class In, class Out>
FOVEAL_INLINE void multiply(const In& in, const Out& out) {
  const auto whole = [&](auto i) FOVEAL_INLINED {
    constexpr int I = i;
    Sum sum;
    unroll<M::COLUMNS>([&](auto j) FOVEAL_INLINED {
      constexpr int J = j;
      if constexpr (M::at(I, J) != 0) sum.add(Entry<M, I, J>{}, in(j));
    });
    return sum.value;
  };
  out(Index<0>{}, whole(Index<0>{}));
  unroll<(M::ROWS - 2) / 2>([&](auto p) FOVEAL_INLINED {
    constexpr int I = 2 * p + 1;
    Sum even, odd;
    unroll<M::COLUMNS>([&](auto j) FOVEAL_INLINED {
      constexpr int J = j;
      static_assert(M::at(I, J) == (J % 2 == 0 ? 1 : -1) * M::at(I + 1, J));
      if constexpr (M::at(I, J) != 0) (J % 2 == 0 ? even : odd).add(Entry<M, I, J>{}, in(j));
    });
    out(Index<I>{}, even.value + odd.value);
    out(Index<I + 1>{}, even.value - odd.value);
  });
  out(Index<M::ROWS - 1>{}, whole(Index<M::ROWS - 1>{}));
}

// out(j, Σ_i M[i][j] in(i)).
template <class M, class In, class Out>
FOVEAL_INLINE void multiply_transposed(const In& in, const Out& out) {
  constexpr int PAIRS = (M::ROWS - 2) / 2;
  Reg sums[PAIRS], differences[PAIRS];
  unroll<PAIRS>([&](auto p) FOVEAL_INLINED {
    const Reg a = in(Index<2 * p + 1>{}), b = in(Index<2 * p + 2>{});
    sums[p] = a + b;
    differences[p] = a - b;
  });
  const Reg first = in(Index<0>{}), last = in(Index<M::ROWS - 1>{});
  unroll<M::COLUMNS>([&](auto j) FOVEAL_INLINED {
    constexpr int J = j;
    Sum sum;
    sum.add(Entry<M, 0, J>{}, first);
    unroll<PAIRS>([&](auto p)
                      FOVEAL_INLINED { sum.add(Entry<M, 2 * p + 1, J>{}, J % 2 == 0 ? sums[p] : differences[p]); });
    sum.add(Entry<M, M::ROWS - 1, J>{}, last);
    out(j, sum.value);
  });
}

// Of the two axes one is a loop: all of it unrolled is no faster, and takes compilers three times as long.

// half = M patch, then out(i, j, (half Wᵀ)[i][j]); patch(i, j) is asked for once.
template <class M, class W, class In, class Out>
FOVEAL_INLINE void multiply_both_sides(const In& in, const Out& out) {
  Reg half[M::ROWS][W::COLUMNS];
#pragma GCC unroll 1
  for (int j = 0; j < W::COLUMNS; ++j) {
    Reg column[M::COLUMNS];
    unroll<M::COLUMNS>([&](auto i) FOVEAL_INLINED { column[i] = in(i, j); });
    multiply<M>([&](auto i) FOVEAL_INLINED { return column[i]; },
                [&](auto i, Reg value) FOVEAL_INLINED { half[i][j] = value; });
  }
#pragma GCC unroll 1
  for (int i = 0; i < M::ROWS; ++i) {
    Reg row[W::COLUMNS];
    unroll<W::COLUMNS>([&](auto j) FOVEAL_INLINED { row[j] = half[i][j]; });
    multiply<W>([&](auto j) FOVEAL_INLINED { return row[j]; },
                [&](auto j, Reg value) FOVEAL_INLINED { out(i, j, value); });
  }
}

// half = Mᵀ patch, then out(i, j, (half W)[i][j]).
template <class M, class W, class In, class Out>
FOVEAL_INLINE void multiply_both_sides_transposed(const In& in, const Out& out) {
  Reg half[M::COLUMNS][W::ROWS];
#pragma GCC unroll 1
  for (int j = 0; j < W::ROWS; ++j) {
    multiply_transposed<M>([&](auto i) FOVEAL_INLINED { return in(i, j); },
                           [&](auto i, Reg value) FOVEAL_INLINED { half[i][j] = value; });
  }
#pragma GCC unroll 1
  for (int i = 0; i < M::COLUMNS; ++i) {
    multiply_transposed<W>([&](auto j) FOVEAL_INLINED { return half[i][j]; },
                           [&](auto j, Reg value) FOVEAL_INLINED { out(i, j, value); });
  }
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
