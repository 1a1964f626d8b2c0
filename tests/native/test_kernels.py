"""Every compute kernel, for every instruction set of the machine, at the edges that its cases are named by."""

from pathlib import Path

import activation_cases  # noqa: F401  (each module registers its cases)
import batch_cases  # noqa: F401
import clip_cases  # noqa: F401
import conv_cases  # noqa: F401
import dense_cases  # noqa: F401
import depthwise_cases  # noqa: F401
import elementwise_cases  # noqa: F401
import norm_cases  # noqa: F401
import numpy as np
import peak_cases  # noqa: F401
import pool_cases  # noqa: F401
import pytest
import residual_cases  # noqa: F401
import winograd_cases  # noqa: F401
from kernel_case import CASES, FUSED, ISAS, Case, Guarded, Out, Want, check, compare, run

from foveal.kernels import kernel_names

THREADS = 3  # what recordings are made with: the driver may use as many, or fewer


@pytest.mark.parametrize("kernel", kernel_names())
def test_kernel_has_a_case(kernel: str) -> None:
    assert any(name.startswith(f"{kernel}-") for name in CASES), f"add a case for {kernel} to tests/native/*_cases.py"


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", CASES)
def test_equals_its_definition(name: str, isa: str, record_folder: Path | None) -> None:
    case = CASES[name]()
    check(case, run(case, isa), isa)
    if record_folder is not None:
        run(case, isa, THREADS, record_folder / f"{name}.{isa}")


@pytest.mark.parametrize("name", CASES)
def test_same_bits_with_any_threads_and_instruction_set(name: str) -> None:
    case = CASES[name]()
    for isa in ISAS:
        alone = results(case, isa, 1)
        for threads in (2, 3):
            same(case, results(case, isa, threads), alone, f"{isa}, {threads} threads and 1")
    first = results(case, FUSED[0], 1) if FUSED else {}
    for isa in FUSED[1:]:
        same(case, results(case, isa, 1), first, f"{isa} and {FUSED[0]}")


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("edge", ["partial_tiles", "channels_padded", "channels_many", "five_tile_and_a_half"])
def test_same_bits_where_winograd_makes_weight_gradients_in_parts(edge: str, isa: str) -> None:
    case = CASES[f"winograd_backward-{edge}_few"]()
    kept = CASES[f"winograd_backward-{edge}"]()
    same(case, results(case, isa, 2), results(kept, isa, 2), f"{isa}, in parts and whole")


def results(case: Case, isa: str, threads: int) -> dict[str, np.ndarray]:
    """What the kernel is for: its buffers but those for work."""
    return {name: array for name, array in run(case, isa, threads).items() if name in case.want}


def same(case: Case, got: dict[str, np.ndarray], want: dict[str, np.ndarray], what: str) -> None:
    for name, values in want.items():
        bits = np.dtype(f"u{values.dtype.itemsize}")
        differs = got[name].view(bits) != values.view(bits)
        if differs.any():
            at = int(differs.argmax())
            pair = f"{got[name][at]!r} and {values[at]!r}"
            raise AssertionError(f"{case.kernel}: {name}[{at}] differs between {what}: {pair}")


# ---- the harness itself


def test_harness_sees_a_write_beyond_a_buffer() -> None:
    buffer = Guarded(np.zeros(5, np.float32))
    assert buffer.array.ctypes.data % 64 == 0
    assert buffer.intact()
    buffer.array[:] = 7.0
    assert buffer.intact()
    start = (buffer.array.ctypes.data - buffer.raw.ctypes.data) // 4
    buffer.raw.view(np.float32)[start + 5] = 7.0
    assert not buffer.intact()


def test_harness_names_the_worst_value() -> None:
    got = np.arange(6.0).reshape(2, 3)
    got[1, 2] = 5.5
    with pytest.raises(AssertionError, match=r"y\[1, 2\] is .*5\.5.*gives .*5\.0.*tolerance 0\.1.*1 of 6 values"):
        compare("y", got, Want(np.arange(6.0).reshape(2, 3), 0.1))


def test_harness_sees_a_write_beyond_the_batch() -> None:
    case = Case("relu_forward", {"x": np.ones((2, 16), np.float32), "y": Out(32), "count": 16}, {}, batch=2)
    got = run(case, ISAS[0])
    narrow = Case(case.kernel, case.args, {"y": Want(np.ones((1, 16)))}, batch=1)
    with pytest.raises(AssertionError, match="touched y beyond the 1 images"):
        check(narrow, got, ISAS[0])
