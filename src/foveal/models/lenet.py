"""A small convolutional network in the tradition of LeNet-5 (LeCun et al. 1998)."""

from foveal.layers import MaxPool2d, Sequential
from foveal.models.blocks import Head, check_head, conv, flat_head, pooled_head, scaled


def lenet(
    classes: int, *, head: Head = "fc", dropout: float = 0.0, batch_norm: bool = False, width: float = 1.0
) -> Sequential:
    """Two rounds of 5×5 convolution (32, then 64 filters), ReLU and 2×2 maximum; then the head.

    head "fc": flatten, 128 units with ReLU, class scores; "gap": global average pooling, class scores. dropout: before
    the class scores.
    """
    check_head(head)
    first, second, units = (scaled(channels, width) for channels in (32, 64, 128))
    body = [*conv(first, 5, batch_norm=batch_norm), MaxPool2d(2), *conv(second, 5, batch_norm=batch_norm), MaxPool2d(2)]
    if head == "fc":
        return Sequential(*body, *flat_head(classes, units, batch_norm=batch_norm, dropout=dropout))
    return Sequential(*body, *pooled_head(classes, dropout=dropout))
