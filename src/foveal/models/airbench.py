"""A network for short trainings, after airbench94 (Jordan 2024, arXiv 2404.00498, section 3)."""

from typing import Literal

from foveal.checks import choice
from foveal.layers import Conv2d, MaxPool2d, ReLU, Sequential
from foveal.models.blocks import Head, Layers, check_head, conv, flat_head, pooled_head, scaled

Variant = Literal["ours", "author"]


def airbench(
    classes: int,
    *,
    variant: Variant = "ours",
    head: Head = "gap",
    dropout: float = 0.0,
    batch_norm: bool = True,
    width: float = 1.0,
) -> Sequential:
    """A first convolution, then three blocks of two 3×3 convolutions; then the head.

    In a block the maximum of 2×2 is taken right after the first convolution, before its batch norm and ReLU, so that
    all that follows has a quarter of the values. variant "ours": first 32 filters of 3×3, then 64, 128 and 128 in the
    blocks. "author": as in the paper, first 24 filters of 2×2 that whiten colour images' patches, then 64, 256 and 256;
    but with ReLU for its GELU, and its first filters are trained like the others. batch_norm: before each ReLU (not of
    the whitening layer). head "gap": global average pooling, class scores; "fc": flatten, 128 units with ReLU, class
    scores. dropout: before the class scores. width: of all but the whitening layer.
    """
    check_head(head)
    choice(variant, "airbench: variant", ("ours", "author"))
    body: Layers = [Conv2d(24, 2, init="whitening"), ReLU()]
    widths = (64, 256, 256)
    if variant == "ours":
        body, widths = conv(scaled(32, width), 3, batch_norm=batch_norm), (64, 128, 128)
    for channels in widths:
        first, *rest = conv(scaled(channels, width), 3, batch_norm=batch_norm)
        body += [first, MaxPool2d(2), *rest, *conv(scaled(channels, width), 3, batch_norm=batch_norm)]
    if head == "fc":
        return Sequential(*body, *flat_head(classes, scaled(128, width), batch_norm=batch_norm, dropout=dropout))
    return Sequential(*body, *pooled_head(classes, dropout=dropout))
