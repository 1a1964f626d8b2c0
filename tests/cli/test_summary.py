"""foveal summary: layers, nested ones too, and what a plan takes and runs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import foveal as fv
from foveal.kernels import available_isas

BEST = available_isas()[0]


@fv.layer
class Twice(fv.Layer):
    """y = 2 x."""

    def forward(self, x, params, ctx):  # type: ignore[no-untyped-def]
        return 2 * x, None

    def backward(self, dy, saved, params, ctx):  # type: ignore[no-untyped-def]
        return 2 * dy, {}


def test_layers_of_containers_are_listed_by_place() -> None:
    inner = fv.Sequential(fv.Conv2d(4, 3, padding="same"), fv.ReLU(), Twice())
    plan = fv.Plan(fv.Sequential(inner, fv.Flatten(), fv.Dense(2)), (1, 6, 6), 8, fv.Momentum(), isa=BEST)
    facts = {item.place: item for item in plan.layers()}
    assert list(facts) == ["0", "0.0", "0.1", "0.2", "1", "2"]
    assert [facts[place].container for place in facts] == [True, False, False, False, False, False]
    assert (facts["0"].parameters, facts["0.0"].parameters, facts["2"].parameters) == (0, 40, 2 * 144 + 2)
    assert (facts["0"].in_shape, facts["0"].out_shape, facts["0.2"].in_shape) == ((1, 6, 6), (4, 6, 6), (4, 6, 6))
    assert (facts["0"].flops, facts["0.0"].flops) == (0, 2 * 9 * 4 * 36)
    assert [facts[place].runs for place in facts] == ["", "native", "fused", "python", "", "native"]
    assert facts["2"].kernels[0] == "dense_forward"
    assert "dense_backward_weights" in facts["2"].kernels
    assert sum(item.parameters for item in facts.values()) == plan.parameter_count


@pytest.mark.parametrize("isa", [BEST, "reference"])
def test_branches_of_residual_blocks(isa: str) -> None:
    """The block's own work is the addition; its layers stand at their places, as their parameters are named."""
    body = fv.Sequential(fv.Conv2d(4, 3, padding=1), fv.ReLU())
    net = fv.Sequential(fv.Residual(body, fv.Conv2d(4, 1)), fv.Flatten(), fv.Dense(2))
    plan = fv.Plan(net, (1, 6, 6), 8, fv.SGD(), isa=isa)
    facts = {item.place: item for item in plan.layers()}
    assert [place for place, item in facts.items() if item.container] == ["0", "0.body", "0.shortcut"]
    assert {name.rpartition(".")[0] for name in plan.params} <= set(facts)
    assert (facts["0.shortcut.0"].parameters, facts["0.body.0"].parameters) == (8, 40)
    assert sum(item.parameters for item in facts.values()) == plan.parameter_count
    assert sum(item.flops for item in facts.values()) == net.flops((1, 6, 6))
    assert facts["0"].flops == 4 * 36


def test_memory_is_what_the_plan_holds() -> None:
    net = fv.Sequential(fv.Conv2d(16, 3), fv.ReLU(), fv.GlobalAvgPool(), fv.Dense(3))
    trains, predicts = (fv.Plan(net, (3, 10, 10), 32, rule) for rule in (fv.Adam(), None))
    assert predicts.memory["gradients"] == predicts.memory["optimizer"] == 0
    assert predicts.memory["parameters"] == trains.memory["parameters"] == trains.memory["gradients"]
    assert trains.memory["optimizer"] == 2 * trains.memory["gradients"]
    assert trains.memory["activations"] > predicts.memory["activations"] >= 32 * 16 * 8 * 8 * 4


def test_a_run_and_a_name(foveal: Callable, trained: Path) -> None:
    run = json.loads(foveal("summary", trained, "--json").out)
    named = ("summary", "mlp", "--width", "0.1", "--input", "1x8x8", "--json")
    name = json.loads(foveal(*named).out)
    assert run["layers"] == name["layers"]
    assert run["memory"] == name["memory"]
    assert (run["classes"], name["classes"]) == (list("0123456789"), 10)
    assert run["isa"] == BEST
    assert [row["runs"] for row in run["layers"]] == [
        "",
        f"native {BEST}",
        "fused",
        f"native {BEST}",
        "fused",
        f"native {BEST}",
    ]
    seven = json.loads(foveal(*named, "--classes", 7, "--batch-size", 4).out)
    assert seven["layers"][-1]["out_shape"] == [7]
    assert seven["memory"]["training"]["activations"] < name["memory"]["training"]["activations"]


def test_what_runs_in_python_is_said(foveal: Callable) -> None:
    out = foveal("summary", "lenet", "--isa", "reference").out
    assert "native" not in out
    assert sum(line.endswith("Python") for line in out.splitlines()) >= 8


def test_words(foveal: Callable, trained: Path) -> None:
    out = foveal("summary", trained).out
    assert "input 1×8×8, 10 classes: 0, 1, 2" in out
    assert "Dense(units=80)" in out
    assert "  training    " in out
    assert "(momentum)" in out
    assert (
        "Conv2d(filters=32, kernel_size=3, padding='same', bias=False)" in foveal("summary", "vgg", "--width", 0.5).out
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--classes", 3), "--classes would change nothing"),
        (("--input", "1x8x8"), "--input would change nothing"),
        (("--width", 2), "--width would change nothing"),
    ],
)
def test_flags_for_names_are_refused_for_runs(foveal: Callable, trained: Path, more: tuple, words: str) -> None:
    result = foveal("summary", trained, *more)
    assert (result.code, result.out) == (2, "")
    assert words in result.err


@pytest.mark.parametrize("shape", ["3x32", "2x8x8", "3x0x8", "axbxc", "3x8x-8", "3x9999999x1"])
def test_shapes_that_are_none(foveal: Callable, shape: str) -> None:
    result = foveal("summary", "mlp", "--input", shape)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("foveal: --input")


def test_a_table_is_as_wide_as_its_content() -> None:
    from foveal.cli.output import megabytes, table

    assert table(("a", "b"), [("日本", "1"), ("x", "23")], right=(1,)) == "a      b\n日本   1\nx     23"
    assert (megabytes(1_234_567), megabytes(12_345_678_901)) == ("1.2 MB", "12.35 GB")
