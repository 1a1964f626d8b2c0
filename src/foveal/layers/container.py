"""Sequential: layers one after another."""

import dataclasses
from collections.abc import Iterator

from foveal.errors import ShapeError, UsageError
from foveal.layers.base import Layer, Shape, layer


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
            except ShapeError as error:
                raise ShapeError(f"layer {position} ({item.kind}): {error}") from None
            yield item, in_shape, out
            in_shape = out

    def out_shape(self, in_shape: Shape) -> Shape:
        for _, _, out in self.shapes(in_shape):
            in_shape = out
        return in_shape

    def flops(self, in_shape: Shape) -> int:
        return sum(item.flops(before) for item, before, _ in self.shapes(in_shape))
