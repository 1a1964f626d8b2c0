// Vectors of this target: Reg holds LANES floats. All arithmetic is elementwise over outputs, so LANES never shows in a
// result; sums across lanes do not exist here. `fma` rounds once wherever the processor can.
#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(FOVEAL_OUTLINED)  // under sanitizers: instrumented bodies, each unrolled into its callers, take compilers
                              // an hour
#define FOVEAL_INLINE inline
#define FOVEAL_INLINED
#else
#define FOVEAL_INLINE __attribute__((always_inline)) inline
#define FOVEAL_INLINED __attribute__((always_inline))  // of a lambda: between its parameters and its body
#endif

namespace foveal {
namespace FOVEAL_TARGET {
namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16, TILE_ROWS = 14, TILE_REGS = 2;
#elif defined(__AVX2__)
constexpr int LANES = 8, TILE_ROWS = 6, TILE_REGS = 2;
#elif defined(__aarch64__)
constexpr int LANES = 4, TILE_ROWS = 6, TILE_REGS = 4;
#else
constexpr int LANES = 4, TILE_ROWS = 2, TILE_REGS = 4;
#endif

typedef float Reg __attribute__((vector_size(LANES * 4)));
typedef float RegUnaligned __attribute__((vector_size(LANES * 4), aligned(4)));
typedef int32_t IntReg __attribute__((vector_size(LANES * 4)));
typedef uint8_t ByteReg __attribute__((vector_size(LANES), aligned(1)));

FOVEAL_INLINE Reg load(const float* p) { return *reinterpret_cast<const RegUnaligned*>(p); }
FOVEAL_INLINE void store(float* p, Reg v) { *reinterpret_cast<RegUnaligned*>(p) = v; }

// A byte of each lane, 0 to 255. Left to the compiler, bytes become words one by one, and with AVX2 words bytes.
FOVEAL_INLINE IntReg load_bytes(const uint8_t* p) {
#if defined(__AVX512F__)
  return (IntReg)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__AVX2__)
  return (IntReg)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#else
  return __builtin_convertvector(*reinterpret_cast<const ByteReg*>(p), IntReg);
#endif
}
FOVEAL_INLINE void store_bytes(uint8_t* p, IntReg v) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  const __m128i low = _mm256_castsi256_si128((__m256i)v), high = _mm256_extracti128_si256((__m256i)v, 1);
  const __m128i bytes = _mm_packus_epi16(_mm_packus_epi32(low, high), _mm_setzero_si128());
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), bytes);
#else
  *reinterpret_cast<ByteReg*>(p) = __builtin_convertvector(v, ByteReg);
#endif
}

// broadcast: x in every lane (not `Reg{} + x`, which costs an addition: -0.0 + 0.0 is 0.0).  fma: a * b + c.
// maximum: b > a ? b : a, minimum: b < a ? b : a, which are a where either is no number: a NaN in a must show.
#if defined(__AVX512F__)
FOVEAL_INLINE Reg maximum(Reg a, Reg b) { return (Reg)_mm512_max_ps((__m512)b, (__m512)a); }
FOVEAL_INLINE Reg minimum(Reg a, Reg b) { return (Reg)_mm512_min_ps((__m512)b, (__m512)a); }
FOVEAL_INLINE Reg broadcast(float x) { return (Reg)_mm512_set1_ps(x); }
FOVEAL_INLINE Reg fma(Reg a, Reg b, Reg c) { return (Reg)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
FOVEAL_INLINE Reg root(Reg a) { return (Reg)_mm512_sqrt_ps((__m512)a); }
#elif defined(__AVX2__)
FOVEAL_INLINE Reg maximum(Reg a, Reg b) { return (Reg)_mm256_max_ps((__m256)b, (__m256)a); }
FOVEAL_INLINE Reg minimum(Reg a, Reg b) { return (Reg)_mm256_min_ps((__m256)b, (__m256)a); }
FOVEAL_INLINE Reg broadcast(float x) { return (Reg)_mm256_set1_ps(x); }
FOVEAL_INLINE Reg fma(Reg a, Reg b, Reg c) { return (Reg)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
FOVEAL_INLINE Reg root(Reg a) { return (Reg)_mm256_sqrt_ps((__m256)a); }
#elif defined(__aarch64__)
FOVEAL_INLINE Reg broadcast(float x) { return (Reg)vdupq_n_f32(x); }
FOVEAL_INLINE Reg fma(Reg a, Reg b, Reg c) { return (Reg)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
FOVEAL_INLINE Reg root(Reg a) { return (Reg)vsqrtq_f32((float32x4_t)a); }
#else
FOVEAL_INLINE Reg broadcast(float x) { return Reg{x, x, x, x}; }
FOVEAL_INLINE Reg fma(Reg a, Reg b, Reg c) { return a * b + c; }
FOVEAL_INLINE Reg root(Reg a) {
  for (int i = 0; i < LANES; ++i) a[i] = __builtin_sqrtf(a[i]);
  return a;
}
#endif
#if !defined(__AVX2__)
FOVEAL_INLINE Reg maximum(Reg a, Reg b) { return b > a ? b : a; }
FOVEAL_INLINE Reg minimum(Reg a, Reg b) { return b < a ? b : a; }
#endif
#if defined(__FMA__) || defined(__aarch64__)
FOVEAL_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#else
FOVEAL_INLINE float fma(float a, float b, float c) { return a * b + c; }
#endif

// Stores past the caches, to aligned places: for what is bigger than they are. Others see them after stream_end().
#if defined(__AVX512F__)
FOVEAL_INLINE void stream(float* p, Reg v) { _mm512_stream_ps(p, (__m512)v); }
FOVEAL_INLINE void stream_end() { _mm_sfence(); }
#elif defined(__AVX2__)
FOVEAL_INLINE void stream(float* p, Reg v) { _mm256_stream_ps(p, (__m256)v); }
FOVEAL_INLINE void stream_end() { _mm_sfence(); }
#else
FOVEAL_INLINE void stream(float* p, Reg v) { store(p, v); }
FOVEAL_INLINE void stream_end() {}
#endif
constexpr int64_t STREAMED = 3 << 20;  // floats: 12 MB

// The 64-bit products of 32-bit lanes with one factor: low and high halves.
typedef uint32_t WordReg __attribute__((vector_size(LANES * 4)));
typedef uint64_t LongReg __attribute__((vector_size(LANES * 4)));
FOVEAL_INLINE LongReg even_products(WordReg a, uint32_t factor) {
#if defined(__AVX512F__)
  return (LongReg)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(factor));
#elif defined(__AVX2__)
  return (LongReg)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(factor));
#else
  return ((LongReg)a & 0xFFFFFFFF) * factor;
#endif
}
FOVEAL_INLINE void wide_products(WordReg a, uint32_t factor, WordReg& low, WordReg& high) {
  const LongReg even = even_products(a, factor), odd = even_products((WordReg)((LongReg)a >> 32), factor);
  low = (WordReg)((even & 0xFFFFFFFF) | (odd << 32));
  high = (WordReg)((even >> 32) | (odd & ~LongReg{} << 32));
}

FOVEAL_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
FOVEAL_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
FOVEAL_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
FOVEAL_INLINE int64_t gcd(int64_t a, int64_t b) {
  while (b != 0) {
    const int64_t rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

// x, of which the compiler no longer knows how it was made.
template <class T>
FOVEAL_INLINE T opaque(T x) {
  asm("" : "+r"(x));
  return x;
}

// A loop over 0 … N - 1 that is unrolled whole, its index a constant: arrays indexed by it stay in registers.
template <int I>
struct Index {
  constexpr operator int() const { return I; }
};

template <int N, int I = 0, class Body>
FOVEAL_INLINE void unroll(Body&& body) {
  if constexpr (I < N) {
    body(Index<I>{});
    unroll<N, I + 1>(body);
  }
}

// Two rows exchange blocks of S lanes: of a the second of each pair goes to b, of b the first to a.
template <int S>
FOVEAL_INLINE void exchange(Reg& a, Reg& b) {
  Reg first{}, second{};
#if defined(__GNUC__) && !defined(__clang__)
  IntReg of_first{}, of_second{};
  for (int l = 0; l < LANES; ++l) {
    of_first[l] = l & S ? LANES + l - S : l;
    of_second[l] = l & S ? LANES + l : l + S;
  }
  first = __builtin_shuffle(a, b, of_first);
  second = __builtin_shuffle(a, b, of_second);
#else
  for (int l = 0; l < LANES; ++l) {
    first[l] = l & S ? b[l - S] : a[l];
    second[l] = l & S ? b[l] : a[l + S];
  }
#endif
  a = first;
  b = second;
}

// The rows of a block of LANES × LANES floats become its columns.
template <int S = 1>
FOVEAL_INLINE void transpose(Reg* block) {
  if constexpr (S < LANES) {
    unroll<LANES>([&](auto i) FOVEAL_INLINED {
      constexpr int I = i;
      if constexpr ((I & S) == 0) exchange<S>(block[I], block[I + S]);
    });
    transpose<2 * S>(block);
  }
}

}  // namespace
}  // namespace FOVEAL_TARGET
}  // namespace foveal
