"""Random numbers that are computed, not drawn: value = f(seed, purpose, indices).

Philox 4x32 with 10 rounds (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011)
turns a 64-bit key and a 128-bit counter into four independent 32-bit words. There is no generator state: a resumed
training, another number of threads or a skipped layer see the same numbers. Everything here uses integer arithmetic
and the basic float operations (+ − × ÷ √), which every processor rounds alike, so the values are the same everywhere.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.errors import UsageError

UInt32 = NDArray[np.uint32]

# What a key is for. The numbers are part of the model's bits: never change or reuse one.
PURPOSES: Final = {
    "init": 1, "split": 2, "order": 3, "augment": 4, "dropout": 5, "trial": 6, "layer": 7, "fraction": 8, "groups": 9,
}  # fmt: skip

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)


def philox(counter: tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike], key: tuple[int, int]) -> tuple[UInt32, ...]:
    """Four arrays of uint32 for four counter words that broadcast together, under one 2 × 32-bit key."""
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) & _LOW for word in counter)
    k0, k1 = key
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            p0 & _LOW,
        )
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    words = np.broadcast_arrays(c0, c1, c2, c3)
    return tuple(word.astype(np.uint32) for word in words)


def word_of(text: str) -> int:
    """A stable 32-bit hash of a name: its bytes as a number, modulo a prime."""
    return int.from_bytes(text.encode(), "little") % 4294967291


def stream_key(seed: int, purpose: str, a: int = 0, b: int = 0, c: int = 0) -> tuple[int, int]:
    """The key of one stream of numbers: (seed, purpose, up to three indices such as the epoch and the k-th layer)."""
    if not 0 <= seed < 2**64:
        raise UsageError(f"seed must be between 0 and 2**64 - 1, not {seed}")
    words = philox((PURPOSES[purpose], a, b, c), (seed & 0xFFFFFFFF, seed >> 32))
    return int(words[0]), int(words[1])


def uniform(words: UInt32) -> NDArray[np.float32]:
    """uint32 → float32 in [0, 1), from the upper 24 bits."""
    return (words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def words(key: tuple[int, int], count: int, start: int = 0) -> UInt32:
    """`count` 32-bit words of a stream, four for each counter value, from word `start`, a multiple of 4, on."""
    blocks = np.arange(start // 4, start // 4 + (count + 3) // 4, dtype=np.uint64)
    return np.stack(philox((blocks & _LOW, blocks >> np.uint64(32), 0, 0), key), axis=1).reshape(-1)[:count]


def permutation(key: tuple[int, int], count: int) -> NDArray[np.int64]:
    """A permutation of 0 … count - 1: the order of `count` random 64-bit numbers."""
    pairs = words(key, 2 * count).astype(np.uint64).reshape(count, 2)
    return np.argsort(pairs[:, 0] << np.uint64(32) | pairs[:, 1], kind="stable")


def normal(key: tuple[int, int], count: int, start: int = 0) -> NDArray[np.float64]:
    """`count` draws from the normal distribution with mean 0 and deviation 1, from draw `start`, a multiple of 4, on.

    By inversion: Φ⁻¹ of a uniform number, with the rational approximations of Wichura (algorithm AS 241, PPND7,
    Applied Statistics 37, 1988; relative error about 1e-7).
    """
    q = (words(key, count, start).astype(np.float64) + 0.5) * 2.0**-32 - 0.5
    r = 0.180625 - q * q
    centre = q * _ratio(_CENTRE, r)
    tail = np.sqrt(-_log(np.minimum(0.5 - np.abs(q), 0.5)))
    near, far = _ratio(_NEAR, tail - 1.6), _ratio(_FAR, tail - 5.0)
    outer = np.copysign(np.where(tail <= 5.0, near, far), q)
    return np.where(np.abs(q) <= 0.425, centre, outer)


_CENTRE = (
    (3.3871327179e0, 5.0434271938e1, 1.5929113202e2, 5.9109374720e1),
    (1.0, 1.7895169469e1, 7.8757757664e1, 6.7187563600e1),
)
_NEAR = ((1.4234372777e0, 2.7568153900e0, 1.3067284816e0, 1.7023821103e-1), (1.0, 7.3700164250e-1, 1.2021132975e-1))
_FAR = ((6.6579051150e0, 3.0812263860e0, 4.2868294337e-1, 1.7337203997e-2), (1.0, 2.4197894225e-1, 1.2258202635e-2))


def _ratio(polynomials: tuple[tuple[float, ...], tuple[float, ...]], x: NDArray[np.float64]) -> NDArray[np.float64]:
    values = []
    for coefficients in polynomials:
        value = np.zeros_like(x)
        for coefficient in reversed(coefficients):
            value = value * x + coefficient
        values.append(value)
    return values[0] / values[1]


def _log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm: x = m 2^e with m in [√½, √2), then 2 artanh((m - 1)/(m + 1)) as a series."""
    m, e = np.frexp(x)
    low = m < 0.7071067811865476
    m, e = np.where(low, 2.0 * m, m), np.where(low, e - 1, e)
    s = (m - 1.0) / (m + 1.0)
    s2, series = s * s, np.zeros_like(s)
    for k in range(21, 0, -2):
        series = series * s2 + 1.0 / k
    return 2.0 * s * series + e * 0.6931471805599453
