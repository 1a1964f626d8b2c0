"""foveal bench: what is measured, and what is refused."""

import json
import sys
from collections.abc import Callable

import pytest
from command_result import Result

from foveal.bench.networks import cases
from foveal.bench.steps import gflop_of
from foveal.optim import Momentum
from foveal.plan import Plan

QUICK = ("bench", "--repeats", "1", "--batch-size", "2", "--threads", "1")


def test_what_is_measured(foveal: Callable[..., Result]) -> None:
    done = foveal(*QUICK, "--nets", "lenet,mlp", "--json")
    found = json.loads(done.out)
    assert done.code == 0
    assert [result["net"] for result in found["results"]] == ["lenet", "mlp"]
    for result in found["results"]:
        time = result["times"]["foveal"]
        assert 0 < time["low"] <= time["median"] <= time["high"]
        assert time["steps"] >= 4
        rate = 1e3 * result["gflop"]["true"] / time["median"]
        assert 0 < rate <= 1.1 * result["peak"]  # nothing computes faster than multiply-adds alone
        assert result["ratio"] is None


def test_the_table(foveal: Callable[..., Result]) -> None:
    done = foveal(*QUICK, "--nets", "lenet", "--inference")
    head, row, last = done.out.splitlines()
    assert head.split()[:3] == ["network", "batch", "ms"]
    assert row.split()[:2] == ["lenet", "2"]
    assert last.startswith("predictions, 1 threads, ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--nets", "lenett"), "no network is called 'lenett'; did you mean lenet?"),
        (("--compile",), "--compile needs --against torch"),
        (("--peer-isa", "avx2"), "--peer-isa needs --against torch"),
    ],
)
def test_what_is_refused(foveal: Callable[..., Result], arguments: tuple[str, ...], words: str) -> None:
    done = foveal(*QUICK, *arguments)
    assert done.code == 2
    assert words in done.err


def test_pytorch_is_asked_for_by_name(foveal: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    done = foveal(*QUICK, "--against", "torch")
    assert done.code == 2
    assert "pip install torch" in done.err


def test_gflop() -> None:
    """A hidden layer's backward pass is two products, the first layer's one; Winograd's 5×5 takes fewer of them."""
    case = cases()["lenet"]
    plan = Plan(case.net, case.shape, 2, Momentum())
    first, second = 28 * 28 * 25 * 32, 14 * 14 * 25 * 32 * 64
    dense = 3136 * 128 + 128 * 10
    share = (3 * 8 + 6) ** 2 / (14 * 14 * 25)  # on each axis three tiles of 8 points for 4 outputs, and one of 6 for 2
    other = gflop_of(plan, 2, inference=False)["direct"] * 1e9 / 4 - (2 * first + 3 * (second + dense))
    assert 0 <= other < 0.01 * 3 * second  # activations, pooling
    saved = gflop_of(plan, 2, inference=False)
    assert saved["direct"] - saved["true"] == pytest.approx(4e-9 * 3 * second * (1 - share))
