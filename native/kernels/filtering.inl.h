// The matrices of minimal filtering (Winograd 1980; Lavin and Gray 2016, arXiv 1509.09308), of two-dimensional tiles as
// in winograd.inl.h: F(m × m, r × r) with B, G and A for its points, and products of them with values in registers.
namespace foveal {
namespace FOVEAL_TARGET {
namespace {

// F(4×4, 3×3): points 0, ±1, ±2, ∞.
struct F43 {
  static constexpr int OUT = 4, TAPS = 3, SIZE = 6;
  static constexpr float input[6][6] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                        {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
  static constexpr float kernel[6][3] = {{1.f / 4, 0, 0},
                                         {-1.f / 6, -1.f / 6, -1.f / 6},
                                         {-1.f / 6, 1.f / 6, -1.f / 6},
                                         {1.f / 24, 1.f / 12, 1.f / 6},
                                         {1.f / 24, -1.f / 12, 1.f / 6},
                                         {0, 0, 1}};
  static constexpr float output[6][4] = {{1, 0, 0, 0}, {1, 1, 1, 1},   {1, -1, 1, -1},
                                         {1, 2, 4, 8}, {1, -2, 4, -8}, {0, 0, 0, 1}};
};

// F(4×4, 5×5): points 0, ±1, ±2, ±1/2, ∞.
struct F45 {
  static constexpr int OUT = 4, TAPS = 5, SIZE = 8;
  static constexpr float input[8][8] = {{1, 0, -5.25f, 0, 5.25f, 0, -1, 0},      {0, 1, 1, -4.25f, -4.25f, 1, 1, 0},
                                        {0, -1, 1, 4.25f, -4.25f, -1, 1, 0},     {0, .5f, .25f, -2.5f, -1.25f, 2, 1, 0},
                                        {0, -.5f, .25f, 2.5f, -1.25f, -2, 1, 0}, {0, 2, 4, -2.5f, -5, .5f, 1, 0},
                                        {0, -2, 4, 2.5f, -5, -.5f, 1, 0},        {0, -1, 0, 5.25f, 0, -5.25f, 0, 1}};
  static constexpr float a = -2.f / 9, b = 1.f / 90, c = 32.f / 45;
  static constexpr float kernel[8][5] = {{1, 0, 0, 0, 0},
                                         {a, a, a, a, a},
                                         {a, -a, a, -a, a},
                                         {b, 2 * b, 4 * b, 8 * b, 16 * b},
                                         {b, -2 * b, 4 * b, -8 * b, 16 * b},
                                         {c, c / 2, c / 4, c / 8, c / 16},
                                         {c, -c / 2, c / 4, -c / 8, c / 16},
                                         {0, 0, 0, 0, 1}};
  static constexpr float output[8][4] = {{1, 0, 0, 0},   {1, 1, 1, 1},          {1, -1, 1, -1},          {1, 2, 4, 8},
                                         {1, -2, 4, -8}, {1, .5f, .25f, .125f}, {1, -.5f, .25f, -.125f}, {0, 0, 0, 1}};
};

template <class F>
struct InputMatrix {
  static constexpr int ROWS = F::SIZE, COLUMNS = F::SIZE;
  static constexpr float at(int i, int j) { return F::input[i][j]; }
};
template <class F>
struct KernelMatrix {
  static constexpr int ROWS = F::SIZE, COLUMNS = F::TAPS;
  static constexpr float at(int i, int j) { return F::kernel[i][j]; }
};
template <class F>
struct OutputMatrix {
  static constexpr int ROWS = F::SIZE, COLUMNS = F::OUT;
  static constexpr float at(int i, int j) { return F::output[i][j]; }
};

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

// half = M patch, then out(i, j, (half Mᵀ)[i][j]); patch(i, j) is asked for once.
template <class M, class In, class Out>
FOVEAL_INLINE void multiply_both_sides(const In& in, const Out& out) {
  Reg half[M::ROWS][M::COLUMNS];
  unroll<M::COLUMNS>([&](auto j) FOVEAL_INLINED {
    Reg column[M::COLUMNS];
    unroll<M::COLUMNS>([&](auto i) FOVEAL_INLINED { column[i] = in(i, j); });
    multiply<M>([&](auto i) FOVEAL_INLINED { return column[i]; },
                [&](auto i, Reg value) FOVEAL_INLINED { half[i][j] = value; });
  });
  unroll<M::ROWS>([&](auto i) FOVEAL_INLINED {
    multiply<M>([&](auto j) FOVEAL_INLINED { return half[i][j]; },
                [&](auto j, Reg value) FOVEAL_INLINED { out(i, j, value); });
  });
}

// half = Mᵀ patch, then out(i, j, (half M)[i][j]).
template <class M, class In, class Out>
FOVEAL_INLINE void multiply_both_sides_transposed(const In& in, const Out& out) {
  Reg half[M::COLUMNS][M::ROWS];
  unroll<M::ROWS>([&](auto j) FOVEAL_INLINED {
    multiply_transposed<M>([&](auto i) FOVEAL_INLINED { return in(i, j); },
                           [&](auto i, Reg value) FOVEAL_INLINED { half[i][j] = value; });
  });
  unroll<M::COLUMNS>([&](auto i) FOVEAL_INLINED {
    multiply_transposed<M>([&](auto j) FOVEAL_INLINED { return half[i][j]; },
                           [&](auto j, Reg value) FOVEAL_INLINED { out(i, j, value); });
  });
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
