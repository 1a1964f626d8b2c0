"""Fusion: neighbours that one step can do together, backward included.

    Conv2d | Dense | BatchNorm | Residual, ReLU    one step: the ReLU is applied while the output is in registers. Same
                                               bits.

A MaxPool2d directly after passes the knowledge on that its values are not negative, so that the mask of the ReLU is
applied by whoever computes the gradient of the pooled map. Same bits: a maximum that is not positive has a gradient of
zero either way.
"""

from collections.abc import Iterator

from foveal.layers import BatchNorm, Conv2d, Dense, ReLU, Residual
from foveal.layers.base import Layer

_WITH_RELU = (Conv2d, Dense, BatchNorm, Residual)


def groups(layers: tuple[Layer, ...], *, fuse: bool) -> Iterator[tuple[int, Layer, bool]]:
    """(position, layer, with a ReLU behind it); ReLUs that are fused away are not listed."""
    skip = False
    for position, layer in enumerate(layers):
        if skip:
            skip = False
            continue
        following = layers[position + 1] if position + 1 < len(layers) else None
        skip = fuse and type(layer) in _WITH_RELU and type(following) is ReLU  # no layers made of them
        yield position, layer, skip
