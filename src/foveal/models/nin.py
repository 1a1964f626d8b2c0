"""Network In Network (Lin, Chen and Yan 2013, arXiv 1312.4400): small perceptrons slide over the picture."""

from typing import Literal

from foveal.checks import choice
from foveal.layers import AvgPool2d, Conv2d, Dense, Flatten, GlobalAvgPool, MaxPool2d, ReLU, Sequential
from foveal.models.blocks import Head, Layers, check_head, conv, dropped, scaled

Variant = Literal["ours", "author", "caffe"]


def nin(
    classes: int,
    *,
    variant: Variant = "ours",
    head: Head = "gap",
    dropout: float = 0.5,
    batch_norm: bool = False,
    width: float = 1.0,
) -> Sequential:
    """Three blocks of a convolution and two 1×1 convolutions, pooled 3×3 by 2 between; class maps, averaged.

    Filters as published for CIFAR-10: 5×5×192, 160, 96; 5×5×192, 192, 192; 3×3×192, 192, one map a class. dropout:
    after the first and the second pooling (0.5 as published). batch_norm: after each convolution but the last, before
    its ReLU. head "fc": the class maps are flattened into a dense layer instead of averaged, as in the paper's
    comparison (section 4.6).

    variant "author": maximum in both poolings and a ReLU on the class maps, as in the first author's configuration;
    "caffe": the second pooling averages, ReLU on the class maps, as in the Caffe model zoo; "ours": as "caffe" but
    without that last ReLU. With it, once all class maps are dead the scores are exactly 0, no gradient comes back, and
    the loss stays at ln K: the collapse that reproductions of the paper keep reporting.
    """
    check_head(head)
    choice(variant, "variant", ("ours", "author", "caffe"))
    blocks = ((5, (192, 160, 96)), (5, (192, 192, 192)), (3, (192, 192)))
    second = MaxPool2d if variant == "author" else AvgPool2d
    layers: Layers = []
    for (kernel, filters), pool in zip(blocks, (MaxPool2d, second, None), strict=True):
        for position, channels in enumerate(filters):
            layers += conv(scaled(channels, width), kernel if position == 0 else 1, batch_norm=batch_norm)
        if pool is not None:
            layers += [pool(3, 2, ceil_mode=True), *dropped(dropout)]
    layers += [Conv2d(classes, 1), *([] if variant == "ours" else [ReLU()])]
    return Sequential(*layers, *([GlobalAvgPool()] if head == "gap" else [Flatten(), Dense(classes)]))
