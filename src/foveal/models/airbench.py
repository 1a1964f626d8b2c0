"""A network for short trainings, after airbench94 (Jordan 2024, arXiv 2404.00498, section 3)."""

from foveal.layers import MaxPool2d, Sequential
from foveal.models.blocks import Head, Layers, check_head, conv, flat_head, pooled_head, scaled


def airbench(
    classes: int, *, head: Head = "gap", dropout: float = 0.0, batch_norm: bool = True, width: float = 1.0
) -> Sequential:
    """A 3×3 convolution of 32 filters, then three blocks of two with 64, 128 and 128 filters; then the head.

    In a block the maximum of 2×2 is taken right after the first convolution, before its batch norm and ReLU, so that
    all that follows has a quarter of the values. The paper's has 64, 256 and 256 filters, GELU for ReLU, and as its
    first layer 2×2 filters that whiten the images' patches and are not trained. batch_norm: before each ReLU. head
    "gap": global average pooling, class scores; "fc": flatten, 128 units with ReLU, class scores. dropout: before the
    class scores.
    """
    check_head(head)
    body: Layers = conv(scaled(32, width), 3, batch_norm=batch_norm)
    for channels in (64, 128, 128):
        first, *rest = conv(scaled(channels, width), 3, batch_norm=batch_norm)
        body += [first, MaxPool2d(2), *rest, *conv(scaled(channels, width), 3, batch_norm=batch_norm)]
    if head == "fc":
        return Sequential(*body, *flat_head(classes, scaled(128, width), batch_norm=batch_norm, dropout=dropout))
    return Sequential(*body, *pooled_head(classes, dropout=dropout))
