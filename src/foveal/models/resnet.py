"""A small residual network (He et al. 2015, arXiv 1512.03385, section 4.2, for images of 32×32)."""

from foveal.checks import integer
from foveal.layers import BatchNorm, Conv2d, ReLU, Residual, Sequential
from foveal.models.blocks import Head, Layers, check_head, conv, flat_head, pooled_head, scaled


def resnet(
    classes: int,
    blocks: int | None = None,
    *,
    head: Head = "gap",
    dropout: float = 0.0,
    batch_norm: bool = True,
    width: float = 1.0,
) -> Sequential:
    """A 3×3 convolution of 32 filters, then three stages of residual blocks with 32, 64 and 128 filters; then the head.

    A block is two 3×3 convolutions, ReLU between them and after the sum. The second and the third stage begin with a
    stride of 2, and with a 1×1 convolution as shortcut (the paper's option B). batch_norm: after each convolution,
    before its ReLU or the sum. head "gap": global average pooling, class scores; "fc": flatten, 128 units with ReLU,
    class scores. dropout: before the class scores.

    blocks: in each stage; None: 2, but 1 without batch norm, where each sum doubles the variance, so that deeper
    networks do not train at usual rates. To see what batch norm alone does, compare with blocks=1 in both.
    """
    if blocks is None:
        blocks = 2 if batch_norm else 1
    check_head(head)
    filters = scaled(32, width)
    body: Layers = conv(filters, 3, batch_norm=batch_norm, padding=1)
    for stage, channels in enumerate((32, 64, 128)):
        for position in range(integer(blocks, "blocks", 1)):
            stride = 2 if stage and not position else 1
            body += residual_block(filters, scaled(channels, width), stride, batch_norm=batch_norm)
            filters = scaled(channels, width)
    if head == "fc":
        return Sequential(*body, *flat_head(classes, scaled(128, width), batch_norm=batch_norm, dropout=dropout))
    return Sequential(*body, *pooled_head(classes, dropout=dropout))


def residual_block(inputs: int, filters: int, stride: int, *, batch_norm: bool) -> Layers:
    """Two 3×3 convolutions with a shortcut around them, and ReLU."""
    norm: Layers = [BatchNorm()] if batch_norm else []
    bias = not batch_norm
    body = [
        *(Conv2d(filters, 3, stride, padding=1, bias=bias), *norm, ReLU()),
        *(Conv2d(filters, 3, padding=1, bias=bias), *norm),
    ]
    same = inputs == filters and stride == 1
    shortcut = None if same else Sequential(Conv2d(filters, 1, stride, bias=bias), *norm)
    return [Residual(Sequential(*body), shortcut), ReLU()]
