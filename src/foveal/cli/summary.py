"""foveal summary: what a model is made of."""

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import click

from foveal.cli.opened import open_run
from foveal.cli.options import json_option, settings_options
from foveal.cli.output import megabytes, plain, print_json, table
from foveal.cli.own_layers import layers_option
from foveal.errors import UsageError

if TYPE_CHECKING:
    from foveal.layers import Layer, Sequential
    from foveal.optim import Optimizer
    from foveal.plan import Plan
    from foveal.plan.describe import LayerFacts

BATCH: Final = 128
_MODEL: Final = ("variant", "head", "dropout", "batch_norm", "width")


@click.command(short_help="Show a model's layers, shapes, parameters, FLOPs and memory.")
@click.argument("model", metavar="RUN|MODEL")
@click.option("--classes", type=click.IntRange(2), metavar="K", help="Classes, where MODEL is a name [10].")
@click.option("--input", "shape", metavar="CxHxW", help="Images, where MODEL is a name [3x32x32].")
@settings_options(*_MODEL)
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help=f"Images that memory is shown for [{BATCH}].")
@layers_option
@settings_options("threads", "isa")
@json_option
def summary(
    model: str, classes: int | None, shape: str | None, batch_size: int | None, layers: str | None,
    threads: int | None, isa: str | None, as_json: bool, **settings: Any,
) -> None:  # fmt: skip
    """Show the layers of a model: a run folder, a model file, or a name such as vgg.

    Shapes are (C, H, W) or (F,) for one image; FLOPs are of the forward pass for one image. Memory is what a plan
    reserves for batches of --batch-size. The last column says what runs a layer: compute kernels of an instruction set
    (native; --json names them), or its definition in Python.

    \b
    Example:
      foveal summary runs/flowers-1
      foveal summary vgg --width 0.5 --input 3x32x32 --classes 10
    """
    from foveal.plan import Plan

    given = {name: value for name, value in settings.items() if value is not None}
    net, input_shape, names, rule = _model(model, classes, shape, given, layers)
    trains = Plan(net, input_shape, batch_size or BATCH, rule, threads=threads, isa=isa)
    predicts = Plan(net, input_shape, batch_size or BATCH, threads=threads, isa=isa)
    facts = trains.layers()
    rows = [_row(item, trains.isa) for item in facts]
    total = {"parameters": trains.parameter_count, "flops": sum(item.flops for item in facts)}
    memory = {
        "batch_size": trains.batch_size,
        "training": {**trains.memory, "optimizer_name": rule.name},
        "prediction": predicts.memory,
    }
    if as_json:
        head = {"input_shape": list(input_shape), "classes": list(names) or trains.classes, "isa": trains.isa}
        print_json({**head, "layers": rows, **total, "memory": memory})
        return
    listed = f": {plain(', '.join(names[:20]))}{', …' if len(names) > 20 else ''}" if names else ""
    click.echo(f"input {_shape(input_shape)}, {trains.classes} classes{listed}\n")
    cells = [_cells(item, row) for item, row in zip(facts, rows, strict=True)]
    click.echo(table(("", "layer", "output", "parameters", "FLOPs", "runs"), cells, right=(3, 4)))
    click.echo(f"\n{total['parameters']:,} parameters, {total['flops']:,} FLOPs an image")
    click.echo(f"memory with batches of {trains.batch_size}:")
    click.echo(f"  training    {_memory(trains)} ({rule.name})")
    click.echo(f"  prediction  {_memory(predicts)}")


def _model(
    model: str, classes: int | None, shape: str | None, settings: dict[str, Any], layers: str | None
) -> "tuple[Sequential, tuple[int, int, int], tuple[str, ...], Optimizer]":
    """Network, input shape, class names if they are known, optimizer."""
    from pathlib import Path

    from foveal.models import MODELS, build
    from foveal.optim import Momentum
    from foveal.train.record import optimizer_of

    if model in MODELS and not Path(model).exists():
        if layers is not None:
            raise UsageError(f"--layers would change nothing: {model} has no layers but foveal's")
        input_shape = _input_shape(shape or "3x32x32")
        return build(model, classes or 10, input_shape=input_shape, **settings), input_shape, (), Momentum()
    given = {"classes": classes, "input": shape, **settings}
    if unused := [name for name, value in given.items() if value is not None]:
        flag = "--" + unused[0].replace("_", "-")
        raise UsageError(f"{flag} would change nothing: {model} is not the name of a model ({', '.join(MODELS)})")
    run = open_run(model, layers)
    rule = optimizer_of(run.config["optimizer"]) if run.config else Momentum()
    return run.model.net, run.model.input_shape, run.class_names, rule


def _input_shape(text: str) -> tuple[int, int, int]:
    sides = text.lower().replace("×", "x").split("x")
    if len(sides) != 3 or not all(side.isascii() and side.isdigit() and 0 < int(side) < 10**6 for side in sides):
        raise UsageError(f"--input must be channels, height and width, such as 3x32x32, not {text!r}")
    channels, height, width = map(int, sides)
    if channels not in (1, 3):
        raise UsageError(f"--input: images have 1 channel or 3, not {channels}")
    return channels, height, width


def _row(item: "LayerFacts", isa: str) -> dict[str, Any]:
    return {
        "place": item.place,
        "layer": item.layer.kind if item.container else repr(item.layer),
        "in_shape": list(item.in_shape),
        "out_shape": list(item.out_shape),
        "parameters": item.parameters,
        "flops": item.flops,
        "runs": f"native {isa}" if item.runs == "native" else item.runs,
        "kernels": list(item.kernels),
    }


def _cells(item: "LayerFacts", row: dict[str, Any]) -> tuple[str, ...]:
    runs = {"native": row["runs"], "fused": "in the layer before", "python": "Python"}.get(item.runs, "–")
    numbers = (f"{count:,}" if count or not item.container else "" for count in (item.parameters, item.flops))
    runs = "" if item.container and not item.runs else runs
    name = item.layer.kind if item.container else _short(item.layer)
    return (item.place, name, _shape(item.out_shape), *numbers, runs)


def _short(layer: "Layer") -> str:
    """A layer with the settings that are not the usual ones; 3 for (3, 3)."""
    shown = []
    for field in dataclasses.fields(layer):  # type: ignore[arg-type]  # every layer is a dataclass
        value, usual = (_collapsed(v) for v in (getattr(layer, field.name), field.default))
        shown += [f"{field.name}={value!r}"] if value != usual else []
    return f"{layer.kind}({', '.join(shown)})"


def _collapsed(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and value and len(set(value)) == 1 else value


def _memory(plan: "Plan") -> str:
    parts = {name: count for name, count in plan.memory.items() if count}
    return f"{megabytes(sum(parts.values()))}: " + ", ".join(f"{name} {megabytes(c)}" for name, c in parts.items())


def _shape(values: tuple[int, ...]) -> str:
    return "×".join(map(str, values))
