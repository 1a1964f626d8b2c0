"""One compute kernel, run alone: every buffer is an allocation of its own, with canaries before and after it.

A case is a kernel, its arguments, and what must come out of it. Cases are registered under "kernel-edge" by the
modules *_cases.py and run by test_kernels.py. `run` can also write what it ran as a recording for the driver.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foveal.kernels import KERNELS, available_isas, native_program
from foveal.plan.program import RunInfo
from foveal.plan.record import Recording

ISAS = tuple(isa for isa in available_isas() if isa != "reference")
FUSED = tuple(isa for isa in ISAS if isa != "baseline")  # fused multiply-add: these agree bit for bit

EPS = 2.0**-23  # of float32: the distance from 1 to the next number
TINY = 2.0**-126  # smaller magnitudes count as zero
GUARD = 256  # bytes of canary on each side of a buffer
CANARY = np.uint32(0x7FE5C0DE)  # a NaN, so that a value read from there shows in the result
DTYPES = {"float": np.float32, "uint8_t": np.uint8, "int32_t": np.int32, "int64_t": np.int64, "double": np.float64}


def tolerance(reduction_length: int, scale: np.ndarray | float) -> np.ndarray:
    """Largest error of a sum of `reduction_length` products in float32, in any order.

    scale: the sum of the products' magnitudes. Each of the two roundings of a term (one with fused multiply-add) is at
    most EPS / 2 of that; a result too small for float32 becomes zero (Higham 2002, section 3.1).
    """
    return reduction_length * (EPS * np.asarray(scale) + TINY)


@dataclass(frozen=True, eq=False)
class Out:
    """A buffer that the kernel writes: `size` items, or so many for each thread."""

    size: int
    per_thread: bool = False


@dataclass(frozen=True, eq=False)
class Want:
    """What the first values of a buffer must be, within a tolerance; all after them must be left alone.

    unfused: the tolerance where multiply-adds round twice, if that matters.
    """

    values: np.ndarray
    tolerance: np.ndarray | float = 0.0
    unfused: np.ndarray | float | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """A kernel with its arguments by name: an array, an `Out`, a number, or None where the kernel takes none."""

    kernel: str
    args: Mapping[str, np.ndarray | Out | float | None]
    want: Mapping[str, Want]
    batch: int = 1
    lr: float = 0.0
    update: int = 1
    epoch: int = 0
    step: int = 0
    seed: int = 0

    @property
    def run_info(self) -> RunInfo:
        return RunInfo(self.batch, self.lr, self.update, self.epoch, self.step, self.seed)


CASES: dict[str, Callable[[], Case]] = {}


def register(kernel: str, edge: str, build: Callable[[], Case]) -> None:
    """Add a case; it is built when its test runs."""
    name = f"{kernel}-{edge}"
    assert name not in CASES, f"two cases are called {name}"
    CASES[name] = build


@dataclass(eq=False)
class Guarded:
    """Memory on a 64-byte line with exactly the content's size, canaries around it."""

    content: np.ndarray
    raw: np.ndarray = field(init=False)
    array: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        nbytes = self.content.nbytes
        self.raw = np.full((nbytes + 2 * GUARD + 128) // 4, CANARY).view(np.uint8)
        self._start = GUARD + -(self.raw.ctypes.data + GUARD) % 64
        self.array = self.raw[self._start : self._start + nbytes].view(self.content.dtype)
        self.array[:] = self.content.reshape(-1)
        self._around = self._outside()

    def _outside(self) -> bytes:
        return self.raw[: self._start].tobytes() + self.raw[self._start + self.content.nbytes :].tobytes()

    def intact(self) -> bool:
        return self._outside() == self._around


def _content(value: np.ndarray | Out, dtype: type, threads: int) -> np.ndarray:
    if isinstance(value, Out):
        nbytes = value.size * (threads if value.per_thread else 1) * np.dtype(dtype).itemsize
        return np.full(-(-nbytes // 4), CANARY).view(np.uint8)[:nbytes].view(dtype)
    assert value.dtype == dtype, f"an argument is {value.dtype}, the kernel takes {np.dtype(dtype)}"
    return value


def run(case: Case, isa: str, threads: int = 1, record: Path | None = None) -> dict[str, np.ndarray]:
    """Run the kernel; returns its buffers by name afterwards. Fails if it wrote outside them or into an input."""
    spec = KERNELS[case.kernel]
    assert {f.name for f in spec.fields} == set(case.args), f"{case.kernel} takes {[f.name for f in spec.fields]}"
    buffers: dict[str, Guarded] = {}
    words: dict[str, int | float] = {}
    for f in spec.fields:
        value = case.args[f.name]
        if f.is_buffer and value is not None:
            buffers[f.name] = Guarded(_content(value, DTYPES[f.ctype], threads))  # type: ignore[arg-type]
            words[f.name] = buffers[f.name].array.ctypes.data
        else:
            words[f.name] = 0 if value is None else value  # type: ignore[assignment]
    recording = Recording()
    numbers = {name: recording.region(buffer.array) for name, buffer in buffers.items()}
    r = case.run_info
    program = native_program(isa, [(case.kernel, words)], buffers)
    program.run(0, 1, threads, r.batch, r.lr, r.update, r.epoch, r.step, r.seed)
    for f in spec.fields:
        if f.name in buffers:
            assert buffers[f.name].intact(), f"{case.kernel}, {isa}: wrote outside of {f.name}"
            if f.direction == "in":
                same = buffers[f.name].array.tobytes() == buffers[f.name].content.tobytes()
                assert same, f"{case.kernel}, {isa}: changed its input {f.name}"
    if record is not None:
        recording.step(case.kernel, {name: (numbers[name], 0) if name in numbers else words[name] for name in words})
        recording.run(r)
        recording.expected = [(numbers[name], buffers[name].array.tobytes()) for name in case.want]
        recording.outputs = [numbers[name] for name in case.want]
        recording.save(record)
    return {name: buffer.array.copy() for name, buffer in buffers.items()}


def check(case: Case, got: Mapping[str, np.ndarray], isa: str) -> None:
    """Fail with the worst value, its index and what it should be."""
    for name, want in case.want.items():
        values, count = got[name], want.values.size
        limit = want.tolerance if isa in FUSED or want.unfused is None else want.unfused
        shaped = values[:count].reshape(want.values.shape)
        compare(f"{case.kernel}, {isa}: {name}", shaped, Want(want.values, limit))
        before = _content(case.args[name], values.dtype.type, 1)  # type: ignore[arg-type]
        rest = values[count:].tobytes() == before.reshape(-1)[count:].tobytes()
        assert rest, f"{case.kernel}, {isa}: touched {name} beyond the {case.batch} images of the run"


def compare(what: str, got: np.ndarray, want: Want) -> None:
    """Fail unless every value is within the tolerance, or both are NaN."""
    values = want.values.astype(np.float64)
    limit = np.broadcast_to(want.tolerance, values.shape)
    with np.errstate(invalid="ignore"):  # inf - inf, where both are the same
        error = np.abs(got.astype(np.float64) - values)
    same = (got == values) | (np.isnan(got) & np.isnan(values))
    bad = ~(same | (error <= limit))
    if bad.any():
        excess = np.where(bad, np.nan_to_num(error, nan=np.inf) / np.maximum(limit, TINY), -1.0)
        at = np.unravel_index(int(excess.argmax()), values.shape)
        place = ", ".join(str(int(i)) for i in at)
        raise AssertionError(
            f"{what}[{place}] is {got[at]!r}, but the definition gives {values[at]!r} (tolerance {limit[at]:.3g}); "
            f"{np.count_nonzero(bad)} of {bad.size} values differ"
        )
