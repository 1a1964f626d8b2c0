"""Integer arithmetic of shapes: how large an output is and where the padding goes.

One axis at a time: `size` input length, `kernel` window length, `stride` step, `before`/`after` padding.
"""

from numbers import Integral
from typing import Literal

from foveal.checks import integer
from foveal.errors import ShapeError, UsageError

Pair = tuple[int, int]
Padding = int | Literal["same", "valid"] | tuple[int, int, int, int]


def pair(value: int | Pair, name: str, minimum: int = 1) -> Pair:
    """An integer or two of them (vertical, horizontal) → two of them, each at least `minimum`."""
    values = (value, value) if isinstance(value, Integral) else tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(values) != 2:
        raise UsageError(f"{name} must be one or two integers of at least {minimum}, not {value!r}")
    return integer(values[0], name, minimum), integer(values[1], name, minimum)


def normalise_padding(padding: Padding) -> Padding:
    """Check a padding argument: a number, "same", "valid", or (top, bottom, left, right)."""
    if isinstance(padding, str) and padding in ("same", "valid"):
        return padding
    if isinstance(padding, Integral):
        return integer(padding, "padding", 0)
    if isinstance(padding, (tuple, list)) and len(padding) == 4:
        top, bottom, left, right = (integer(side, "padding", 0) for side in padding)
        return top, bottom, left, right
    raise UsageError(
        f'padding must be a number, "same", "valid" or (top, bottom, left, right), all at least 0, not {padding!r}'
    )


def pads(padding: Padding, size: Pair, kernel: Pair, stride: Pair) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) for an input of `size`; "same" gives ⌈size / stride⌉ outputs, the odd one after."""
    if isinstance(padding, tuple):
        return padding
    if isinstance(padding, int):
        return padding, padding, padding, padding
    if padding == "valid":
        return 0, 0, 0, 0
    sides = []
    for n, k, s in zip(size, kernel, stride, strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        sides += [total // 2, total - total // 2]
    return sides[0], sides[1], sides[2], sides[3]


def output_length(size: int, kernel: int, stride: int, before: int, after: int, *, ceil: bool = False) -> int:
    """How many windows fit on one axis. With `ceil`, a last window may hang over the end, but must begin before it.

    Raises ShapeError if not even one window fits.
    """
    room = size + before + after - kernel
    count = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (count - 1) * stride >= size + before:
        count -= 1
    if count < 1:
        raise ShapeError(f"a window of {kernel} does not fit into {size} with padding {before} + {after}")
    return count


def padded_channels(channels: int) -> int:
    """Channels as stored inside: the next multiple of 16."""
    return -(-channels // 16) * 16
