"""foveal summary: what a model is made of."""

from typing import Any

import click

from foveal.cli.options import json_option
from foveal.cli.output import print_json, table
from foveal.layers.base import Layer, Shape


@click.command(short_help="Show a model's layers, shapes, parameters and FLOPs.")
@click.argument("run")
@json_option
def summary(run: str, as_json: bool) -> None:
    """Show the layers of the model in RUN, a run folder or a model file.

    Shapes are (C, H, W) or (F,) for one image; FLOPs are of the forward pass for one image.

    \b
    Example:
      foveal summary runs/flowers-1
    """
    from foveal.run import load_run

    model = load_run(run).model
    rows = [_row(i, *parts) for i, parts in enumerate(model.net.shapes(model.input_shape))]
    total = {"parameters": sum(row["parameters"] for row in rows), "flops": sum(row["flops"] for row in rows)}
    if as_json:
        head = {"input_shape": list(model.input_shape), "classes": list(model.class_names)}
        print_json({**head, "layers": rows, **total})
        return
    cells = [
        (str(row["place"]), row["layer"], _shape(row["out_shape"]), f"{row['parameters']:,}", f"{row['flops']:,}")
        for row in rows
    ]
    click.echo(
        f"input {_shape(list(model.input_shape))}, {len(model.class_names)} classes: {', '.join(model.class_names)}\n"
    )
    click.echo(table(("", "layer", "output", "parameters", "FLOPs"), cells, right=(3, 4)))
    click.echo(f"\n{total['parameters']:,} parameters, {total['flops']:,} FLOPs an image")


def _row(place: int, layer: Layer, in_shape: Shape, out_shape: Shape) -> dict[str, Any]:
    slots = [slot for slot in layer.param_slots(in_shape) if slot.kind == "trainable"]
    return {
        "place": place,
        "layer": repr(layer),
        "in_shape": list(in_shape),
        "out_shape": list(out_shape),
        "parameters": sum(slot.size for slot in slots),
        "flops": layer.flops(in_shape),
    }


def _shape(values: list[int]) -> str:
    return "×".join(map(str, values))
