"""A small network of 3×3 convolutions in the manner of VGG (Simonyan and Zisserman 2014, arXiv 1409.1556)."""

from foveal.layers import MaxPool2d, Sequential
from foveal.models.blocks import Head, Layers, check_head, conv, flat_head, pooled_head, scaled


def vgg(
    classes: int, *, head: Head = "gap", dropout: float = 0.0, batch_norm: bool = True, width: float = 1.0
) -> Sequential:
    """3×3 convolutions 64-64, 2×2 maximum, 128-128, 2×2 maximum, 256-256, each with ReLU; then the head.

    batch_norm: before each ReLU. head "gap": global average pooling, class scores; "fc": flatten, 256 units with ReLU,
    class scores. dropout: before the class scores.
    """
    check_head(head)
    body: Layers = []
    for channels in (64, 128, 256):
        body += [*([MaxPool2d(2)] if body else []), *conv(scaled(channels, width), 3, batch_norm=batch_norm)]
        body += conv(scaled(channels, width), 3, batch_norm=batch_norm)
    if head == "fc":
        return Sequential(*body, *flat_head(classes, scaled(256, width), batch_norm=batch_norm, dropout=dropout))
    return Sequential(*body, *pooled_head(classes, dropout=dropout))
