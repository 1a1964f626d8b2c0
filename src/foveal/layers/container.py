"""Containers: Sequential, layers one after another, and Residual, layers with a shortcut around them.

A container's parameters are those of its layers, named by place as in PyTorch: "0.weight", "3.body.1.bias".
"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

from foveal.errors import ShapeError, UsageError
from foveal.layers.base import Context, Layer, Params, Shape, Tensor, layer
from foveal.layers.conv import Conv2d
from foveal.params import ParamSlot

Gradients = tuple[Tensor, dict[str, Tensor]]
Tape = list[tuple[Any, Context]]  # of each layer, what it saved and its context


class PlacedError(ShapeError):
    """A layer that cannot take its input, with its place in the network: "layer 3.body.1 (Conv2d): ..."."""

    def __init__(self, place: str, kind: str, reason: str) -> None:
        super().__init__(place, kind, reason)
        self.place, self.kind, self.reason = place, kind, reason

    def __str__(self) -> str:
        return f"layer {self.place} ({self.kind}): {self.reason}"

    def inside(self, place: str) -> "PlacedError":
        """The same, seen from one container further out."""
        return PlacedError(f"{place}.{self.place}", self.kind, self.reason)


@layer
class Sequential(Layer):
    """Layers one after another; parameters are named by position, as in `torch.nn.Sequential`: "0.weight"."""

    layers: tuple[Layer, ...] = dataclasses.field(default=())

    def __init__(self, *layers: Layer) -> None:
        for position, item in enumerate(layers):
            if not isinstance(item, Layer):
                raise UsageError(f"Sequential takes layers, but item {position} is {item!r}")
        object.__setattr__(self, "layers", tuple(layers))

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"

    def shapes(self, in_shape: Shape) -> Iterator[tuple[Layer, Shape, Shape]]:
        """(layer, its input shape, its output shape) in order; ShapeError names the layer and its place."""
        for position, item in enumerate(self.layers):
            try:
                out = item.out_shape(in_shape)
            except PlacedError as error:
                raise error.inside(str(position)) from None
            except ShapeError as error:
                raise PlacedError(str(position), item.kind, str(error)) from None
            yield item, in_shape, out
            in_shape = out

    def out_shape(self, in_shape: Shape) -> Shape:
        for _, _, out in self.shapes(in_shape):
            in_shape = out
        return in_shape

    def param_slots(self, in_shape: Shape) -> Iterator[ParamSlot]:
        for position, (item, before, _) in enumerate(self.shapes(in_shape)):
            yield from _placed(item.param_slots(before), str(position))

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, Tape]:
        tape: Tape = []
        ctx = ctx.counting()
        for position, item in enumerate(self.layers):
            own = ctx.of(item)
            x, saved = item.forward(x, _part(params, str(position)), own)
            tape.append((saved, own))
        return x, tape

    def backward(self, dy: Tensor, saved: Tape, params: Params, ctx: Context) -> Gradients:
        dparams: dict[str, Tensor] = {}
        for position, item in reversed(list(enumerate(self.layers))):
            own_saved, own = saved[position]
            dy, gradients = item.backward(dy, own_saved, _part(params, str(position)), own)
            dparams |= {f"{position}.{name}": gradient for name, gradient in gradients.items()}
        return dy, dparams

    def flops(self, in_shape: Shape) -> int:
        return sum(item.flops(before) for item, before, _ in self.shapes(in_shape))


@layer
class Residual(Layer):
    """Layers that learn what to add: y = body(x) + shortcut(x); without a shortcut, y = body(x) + x.

    body, shortcut: a layer or a Sequential, with outputs of the same shape. Parameters "body.0.weight",
    "shortcut.0.weight", as of a PyTorch module with a Sequential in each attribute. The gradient of x is the sum of
    those that come back through the two. He et al. 2015 (arXiv 1512.03385), equations 1 and 2.
    """

    body: Layer
    shortcut: Layer | None = None

    def __post_init__(self) -> None:
        for name in ("body", "shortcut"):
            branch = getattr(self, name)
            if not isinstance(branch, Layer) and (name == "body" or branch is not None):
                raise UsageError(f"Residual({name}=...) must be a layer, or a Sequential of several, not {branch!r}")
            if branch is not None and not isinstance(branch, Sequential):
                object.__setattr__(self, name, Sequential(branch))

    @property
    def branches(self) -> dict[str, Sequential]:
        """The layers on each way by its name: "body", and "shortcut" if it has layers."""
        found = {"body": self.body, "shortcut": self.shortcut}
        return {name: branch for name, branch in found.items() if isinstance(branch, Sequential)}

    def out_shape(self, in_shape: Shape) -> Shape:
        shapes = {"shortcut": in_shape}
        for name, branch in self.branches.items():
            try:
                shapes[name] = branch.out_shape(in_shape)
            except PlacedError as error:
                raise error.inside(name) from None
        if shapes["body"] != shapes["shortcut"]:
            raise ShapeError(self._misfit(shapes["body"], shapes["shortcut"]))
        return shapes["body"]

    def _misfit(self, body: Shape, shortcut: Shape) -> str:
        if self.shortcut is not None:
            return f"its body gives {body}, its shortcut {shortcut}; they are added, so they must be the same"
        advice = "give it a shortcut that makes them the same"
        if len(body) == len(shortcut) == 3:
            projection = Conv2d(body[0], 1, (-(-shortcut[1] // body[1]), -(-shortcut[2] // body[2])))
            if projection.out_shape(shortcut) == body:
                down, across = projection.strides
                advice += f", such as Conv2d({body[0]}, 1, stride={down if down == across else projection.strides})"
        return f"its body gives {body}, its shortcut {shortcut}, which is its input; {advice}"

    def param_slots(self, in_shape: Shape) -> Iterator[ParamSlot]:
        for name, branch in self.branches.items():
            yield from _placed(branch.param_slots(in_shape), name)

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, dict[str, Tape]]:
        ctx, y, tapes = ctx.counting(), {"shortcut": x}, {}
        for name, branch in self.branches.items():
            y[name], tapes[name] = branch.forward(x, _part(params, name), ctx)
        return y["body"] + y["shortcut"], tapes

    def backward(self, dy: Tensor, saved: dict[str, Tape], params: Params, ctx: Context) -> Gradients:
        dx, dparams = {"shortcut": dy}, dict[str, Tensor]()
        for name, branch in self.branches.items():
            dx[name], gradients = branch.backward(dy, saved[name], _part(params, name), ctx)
            dparams |= {f"{name}.{slot}": gradient for slot, gradient in gradients.items()}
        return dx["body"] + dx["shortcut"], dparams

    def flops(self, in_shape: Shape) -> int:
        return sum(branch.flops(in_shape) for branch in self.branches.values()) + math.prod(self.out_shape(in_shape))


def _placed(slots: Iterator[ParamSlot], place: str) -> Iterator[ParamSlot]:
    """The slots of a layer, named as they are one container further out."""
    return (dataclasses.replace(slot, name=f"{place}.{slot.name}") for slot in slots)


def _part(params: Params, place: str) -> Params:
    """The parameters of the layer at `place`, by its own names."""
    prefix = f"{place}."
    return {name.removeprefix(prefix): value for name, value in params.items() if name.startswith(prefix)}
