"""Pooling: maximum, mean, mean of whole maps."""

from dataclasses import dataclass

import numpy as np
from kernel_case import Case, Out, Want, register, tolerance
from layout import floats, stored

from foveal.layers import AvgPool2d, Context, GlobalAvgPool, MaxPool2d
from foveal.layers.pool import WindowPool
from foveal.shapes import padded_channels

TRAIN = Context(training=True)


@dataclass(frozen=True)
class Pooling:
    """Windows over `images` images (C, H, W), the first `batch` of them."""

    shape: tuple[int, int, int]
    size: int | tuple[int, int]
    stride: int | tuple[int, int] | None = None
    padding: int | tuple[int, int] = 0
    ceil_mode: bool = False
    images: int = 2
    batch: int = 2

    def spec(self, kind: type[WindowPool]) -> WindowPool:
        return kind(self.size, self.stride, self.padding, self.ceil_mode)  # type: ignore[call-arg]


POOLINGS = {
    "halves": Pooling((16, 6, 8), 2),
    "one_pixel": Pooling((16, 1, 1), 1),
    "window_is_image": Pooling((16, 4, 3), (4, 3)),
    "windows_overlap": Pooling((16, 7, 7), 3, 2),
    "windows_overlap_much": Pooling((16, 5, 6), 3, 1),
    "windows_leave_gaps": Pooling((16, 8, 8), 2, 3),
    "rest_is_left_out": Pooling((16, 7, 9), 2),
    "padding": Pooling((16, 6, 7), 3, 2, 1),
    "padding_half_of_window": Pooling((16, 5, 5), 4, 2, 2),
    "ceil_window_hangs_over": Pooling((16, 6, 7), 3, 2, 0, ceil_mode=True),
    "ceil_window_hangs_over_with_padding": Pooling((16, 6, 6), 3, 2, 1, ceil_mode=True),
    "ceil_window_beyond_the_end_is_none": Pooling((16, 4, 5), 2, 3, 1, ceil_mode=True),
    "uneven": Pooling((16, 6, 9), (2, 3), (1, 2), (1, 0)),
    "channels_padded": Pooling((20, 5, 5), 2),
    "many_channels": Pooling((80, 4, 4), 2),
    "batch_prefix": Pooling((16, 4, 4), 2, images=5, batch=3),
}


def sizes(p: Pooling, spec: WindowPool) -> dict[str, int]:
    (top, _, left, _), (rows, columns) = spec.geometry(p.shape)
    return {
        "height": p.shape[1], "width": p.shape[2], "channels": padded_channels(p.shape[0]), "size_y": spec.window[0],
        "size_x": spec.window[1], "stride_y": spec.strides[0], "stride_x": spec.strides[1], "top": top, "left": left,
        "out_height": rows, "out_width": columns,
    }  # fmt: skip


def overlap(spec: WindowPool) -> int:
    """Most windows that a value lies in."""
    return int(np.prod([-(-k // s) for k, s in zip(spec.window, spec.strides, strict=True)]))


def affine_of(x: np.ndarray) -> np.ndarray:
    """(2, S) powers of two and small multiples of them, both signs: with whole numbers x nothing is rounded."""
    channels, random = stored(x).shape[-1], np.random.default_rng(7)
    scale = 2.0 ** random.integers(-2, 3, channels) * random.choice([-1, 1], channels)
    return np.stack([scale, random.integers(-8, 9, channels) / 4]).astype(np.float32)


def normalised(x: np.ndarray, affine: np.ndarray, *, relu: bool) -> np.ndarray:
    """What batch norm would have made of x (N, C, H, W)."""
    scale, shift = affine[:, : x.shape[1], None, None].astype(np.float64)
    y = x.astype(np.float64) * scale + shift
    return np.maximum(y, 0) if relu else y


def max_forward(p: Pooling, x: np.ndarray, *, affine: bool = False, rectify: bool = False) -> Case:
    spec = p.spec(MaxPool2d)
    norm = affine_of(x)
    if affine:
        norm[:, x.shape[1] :] = 0
    used = normalised(x[: p.batch], norm, relu=rectify) if affine else x[: p.batch].astype(np.float64)
    y, (code, _) = spec.forward(used, {}, TRAIN)
    count = p.images * stored(y)[0].size
    args = {
        "x": stored(x), "affine": norm if affine else None, "y": Out(count), "code": Out(count), **sizes(p, spec),
        "rectify": int(rectify),
    }  # fmt: skip
    codes = stored(code)  # of a padding channel: the first value inside of the window, as all are zero
    rows, columns = (np.maximum(-(np.arange(n) * s - before), 0) for n, s, before in _axes(p, spec))
    codes[..., p.shape[0] :] = (rows[:, None] * spec.window[1] + columns)[..., None]
    return Case("max_pool_forward", args, {"y": Want(stored(y)), "code": Want(codes)}, p.batch)


def with_nan(p: Pooling) -> np.ndarray:
    """Numbers among which some are NaN: the first one of a window wins."""
    x = floats(1, p.images, *p.shape)
    x[np.random.default_rng(2).random(x.shape) < 0.2] = np.nan
    return x


def _axes(p: Pooling, spec: WindowPool) -> list[tuple[int, int, int]]:
    (top, _, left, _), outputs = spec.geometry(p.shape)
    return list(zip(outputs, spec.strides, (top, left), strict=True))


def max_backward(p: Pooling, x: np.ndarray) -> Case:
    spec = p.spec(MaxPool2d)
    dy = floats(2, p.images, *spec.out_shape(p.shape))
    _, (code, in_shape) = spec.forward(x.astype(np.float64), {}, TRAIN)
    saved = (code[: p.batch], (p.batch, *in_shape[1:]))
    dx, _ = spec.backward(dy[: p.batch].astype(np.float64), saved, {}, TRAIN)
    scale, _ = spec.backward(np.abs(dy[: p.batch]).astype(np.float64), saved, {}, TRAIN)
    args = {
        "dy": stored(dy), "code": stored(code.astype(np.uint8)), "dx": Out(stored(x).size), **sizes(p, spec),
    }  # fmt: skip
    want = Want(stored(dx), tolerance(overlap(spec), stored(scale)))
    return Case("max_pool_backward", args, {"dx": want}, p.batch)


def divisor(p: Pooling, spec: AvgPool2d) -> np.ndarray:
    return (1.0 / spec.divisors(p.shape)).astype(np.float32).reshape(-1)


def avg_forward(p: Pooling, *, count_padding: bool = False) -> Case:
    spec = AvgPool2d(p.size, p.stride, p.padding, p.ceil_mode, count_padding)
    x = floats(1, p.images, *p.shape)
    x64 = x[: p.batch].astype(np.float64)
    (y, _), (scale, _) = spec.forward(x64, {}, TRAIN), spec.forward(np.abs(x64), {}, TRAIN)
    args = {
        "x": stored(x), "divisor": divisor(p, spec), "y": Out(p.images * stored(y)[0].size), **sizes(p, spec),
    }  # fmt: skip
    length = spec.window[0] * spec.window[1] + 1  # and the divisor's rounding
    return Case("avg_pool_forward", args, {"y": Want(stored(y), tolerance(length, stored(scale)))}, p.batch)


def avg_backward(p: Pooling, *, count_padding: bool = False) -> Case:
    spec = AvgPool2d(p.size, p.stride, p.padding, p.ceil_mode, count_padding)
    dy = floats(2, p.images, *spec.out_shape(p.shape))
    dy64, in_shape = dy[: p.batch].astype(np.float64), (p.batch, *p.shape)
    (dx, _), (scale, _) = spec.backward(dy64, in_shape, {}, TRAIN), spec.backward(np.abs(dy64), in_shape, {}, TRAIN)
    args = {
        "dy": stored(dy), "divisor": divisor(p, spec), "dx": Out(p.images * stored(dx)[0].size), **sizes(p, spec),
    }  # fmt: skip
    want = Want(stored(dx), tolerance(overlap(spec) + 1, stored(scale)))
    return Case("avg_pool_backward", args, {"dx": want}, p.batch)


def global_forward(shape: tuple[int, int, int], images: int, batch: int, *, affine: bool = False) -> Case:
    x = whole_numbers(images, shape) if affine else floats(1, images, *shape)
    norm = affine_of(x)
    x64 = normalised(x[:batch], norm, relu=True) if affine else x[:batch].astype(np.float64)
    norm[:, shape[0] :] = 0
    y, scale = (GlobalAvgPool().forward(v, {}, TRAIN)[0][:, :, None, None] for v in (x64, np.abs(x64)))
    pixels, channels = shape[1] * shape[2], padded_channels(shape[0])
    args = {
        "x": stored(x), "affine": norm if affine else None, "y": Out(images * channels), "pixels": pixels,
        "channels": channels, "rectify": int(affine),
    }  # fmt: skip
    want = Want(stored(y), tolerance(pixels + 1, stored(scale)))
    return Case("global_avg_pool_forward", args, {"y": want}, batch)


def global_backward(shape: tuple[int, int, int], images: int, batch: int) -> Case:
    dy = floats(1, images, shape[0])
    dx, _ = GlobalAvgPool().backward(dy[:batch].astype(np.float64), (batch, *shape), {}, TRAIN)
    pixels, channels = shape[1] * shape[2], padded_channels(shape[0])
    args = {
        "dy": stored(dy[:, :, None, None]), "dx": Out(images * pixels * channels), "pixels": pixels,
        "channels": channels,
    }  # fmt: skip
    want = Want(stored(dx), tolerance(2, stored(np.abs(dx))))
    return Case("global_avg_pool_backward", args, {"dx": want}, batch)


def random(p: Pooling) -> np.ndarray:
    return floats(1, p.images, *p.shape)


def ties(p: Pooling) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 3, (p.images, *p.shape)).astype(np.float32)


def whole_numbers(images: int, shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(1).integers(-20, 21, (images, *shape)).astype(np.float32)


for name, pooling in POOLINGS.items():
    register("max_pool_forward", name, lambda p=pooling: max_forward(p, random(p)))
    register("max_pool_backward", name, lambda p=pooling: max_backward(p, random(p)))
    register("avg_pool_forward", name, lambda p=pooling: avg_forward(p))
    register("avg_pool_backward", name, lambda p=pooling: avg_backward(p))
for name in ("padding", "ceil_window_hangs_over_with_padding"):
    register("avg_pool_forward", f"{name}_counted", lambda p=POOLINGS[name]: avg_forward(p, count_padding=True))
    register("avg_pool_backward", f"{name}_counted", lambda p=POOLINGS[name]: avg_backward(p, count_padding=True))
for name in ("halves", "padding", "channels_padded", "batch_prefix"):
    pooling = POOLINGS[name]
    for rectify in (False, True):
        register(
            "max_pool_forward", f"{name}_affine{'_rectified' * rectify}",
            lambda p=pooling, r=rectify: max_forward(p, whole_numbers(p.images, p.shape), affine=True, rectify=r),
        )  # fmt: skip
for name in ("windows_overlap", "padding"):
    pooling = POOLINGS[name]
    register("max_pool_forward", f"{name}_first_of_ties_wins", lambda p=pooling: max_forward(p, ties(p)))
    register("max_pool_backward", f"{name}_first_of_ties_wins", lambda p=pooling: max_backward(p, ties(p)))
    register("max_pool_forward", f"{name}_border_never_wins", lambda p=pooling: max_forward(p, -np.abs(random(p)) - 1))

largest_window = Pooling((16, 17, 16), 16, 1)  # 256 values: the most that `code` can tell apart
register("max_pool_forward", "largest_window", lambda: max_forward(largest_window, random(largest_window)))
register("max_pool_backward", "largest_window", lambda: max_backward(largest_window, random(largest_window)))

for name, given in {
    "one_pixel": ((16, 1, 1), 2, 2), "one_image": ((16, 3, 3), 1, 1), "many_pixels": ((16, 32, 32), 2, 2),
    "channels_padded": ((10, 4, 4), 2, 2), "many_channels": ((72, 2, 3), 2, 2), "batch_prefix": ((16, 3, 2), 6, 4),
}.items():  # fmt: skip
    register("global_avg_pool_forward", name, lambda g=given: global_forward(*g))
    register("global_avg_pool_forward", f"{name}_affine", lambda g=given: global_forward(*g, affine=True))
    register("global_avg_pool_backward", name, lambda g=given: global_backward(*g))
for name in ("halves", "windows_overlap", "padding"):
    register("max_pool_forward", f"{name}_nan", lambda p=POOLINGS[name]: max_forward(p, with_nan(p)))
