"""Convolutions: forward, dx, dweight, and the turned weights."""

from dataclasses import dataclass

import numpy as np
from kernel_case import Case, Out, Want, register, tolerance
from layout import floats, gate, in_blocks, in_panels, stored, vector

from foveal.layers import Context, Conv2d, MaxPool2d
from foveal.shapes import padded_channels

TRAIN = Context(training=True)


@dataclass(frozen=True)
class Geometry:
    """A convolution of `images` images (C, H, W), the first `batch` of them; `band` rows of a work item; `blocks` into
    which its groups are put."""

    shape: tuple[int, int, int]
    spec: Conv2d
    images: int = 2
    batch: int = 2
    band: int = 100
    channels: int | None = None  # as stored; padded to 16 when None
    blocks: int = 1

    @property
    def stored_channels(self) -> int:
        return padded_channels(self.shape[0]) if self.channels is None else self.channels

    @property
    def sizes(self) -> dict[str, int]:
        (top, _, left, _), (rows, columns) = self.spec.geometry(self.shape)
        kernel, stride = self.spec.kernel, self.spec.strides
        return {
            "height": self.shape[1], "width": self.shape[2], "channels": self.stored_channels,
            "kernel_height": kernel[0], "kernel_width": kernel[1], "stride_y": stride[0], "stride_x": stride[1],
            "dilation_y": self.spec.dilations[0], "dilation_x": self.spec.dilations[1], "blocks": self.blocks,
            "top": top, "left": left, "out_height": rows, "out_width": columns,
            "filters": padded_channels(self.spec.filters),
        }  # fmt: skip

    def panels(self, weight: np.ndarray) -> np.ndarray:
        return in_blocks(weight, self.spec.groups, self.blocks, self.stored_channels // self.blocks)


GEOMETRIES = {
    "one_pixel": Geometry((16, 1, 1), Conv2d(16, 3, padding=1)),
    "one_image": Geometry((16, 9, 9), Conv2d(16, 3, padding=1), images=1, batch=1),
    "rows_lt_tile": Geometry((16, 4, 3), Conv2d(16, 3, padding=1)),
    "rows_are_a_tile_and_one": Geometry((16, 3, 15), Conv2d(16, 3, padding=1)),
    "rows_are_many_tiles": Geometry((16, 2, 43), Conv2d(16, (1, 3), padding=(0, 0, 1, 1))),
    "columns_16": Geometry((5, 6, 7), Conv2d(10, 3, padding=1)),
    "columns_32": Geometry((16, 5, 5), Conv2d(32, 3)),
    "two_tiles": Geometry((16, 5, 6), Conv2d(64, 3, padding=1)),
    "tile_and_a_half": Geometry((32, 5, 6), Conv2d(41, 3, padding=1)),
    "channels_gt_row_chunk": Geometry((128, 3, 4), Conv2d(16, 3, padding=1)),
    "channels_padded": Geometry((17, 4, 5), Conv2d(20, 3, padding=1)),
    "channels_1": Geometry((1, 9, 8), Conv2d(6, 5), channels=1),
    "channels_3": Geometry((3, 9, 8), Conv2d(40, 3), channels=3),
    "channels_3_bordered": Geometry((3, 6, 7), Conv2d(16, 3, padding=1), channels=3),
    "stride_2": Geometry((16, 9, 9), Conv2d(16, 3, stride=2, padding=1)),
    "stride_2_channels_1": Geometry((1, 11, 9), Conv2d(16, 3, stride=2), channels=1),
    "stride_leaves_a_rest": Geometry((16, 8, 10), Conv2d(16, 3, stride=3)),
    "stride_leaves_a_rest_bordered": Geometry((16, 8, 9), Conv2d(16, 2, stride=3, padding=(1, 0, 1, 0))),
    "stride_gt_kernel": Geometry((16, 8, 8), Conv2d(16, 2, stride=3)),
    "stride_uneven": Geometry((16, 7, 8), Conv2d(16, 3, stride=(1, 2), padding=1)),
    "kernel_1_stride_2": Geometry((16, 7, 6), Conv2d(32, 1, stride=2)),
    "kernel_uneven": Geometry((16, 6, 5), Conv2d(16, (2, 4), padding=(1, 0, 2, 1))),
    "kernel_even_same": Geometry((16, 5, 6), Conv2d(16, 2, padding="same")),
    "kernel_gt_image": Geometry((16, 2, 3), Conv2d(16, 5, padding="same")),
    "kernel_is_image": Geometry((16, 4, 4), Conv2d(16, 4)),
    "same_stride_2": Geometry((16, 7, 8), Conv2d(16, 3, stride=2, padding="same")),
    "pad_gt_kernel": Geometry((16, 3, 4), Conv2d(16, 2, padding=3)),
    "pad_gt_kernel_stride_2": Geometry((16, 3, 4), Conv2d(16, 2, stride=2, padding=(4, 3, 5, 2))),
    "pad_below_only": Geometry((16, 4, 5), Conv2d(16, 2, padding=(0, 1, 0, 0))),
    "pad_right_only": Geometry((16, 4, 5), Conv2d(16, 2, padding=(0, 0, 0, 1))),
    "band_splits": Geometry((16, 9, 5), Conv2d(16, 3, padding=1), band=2),
    "band_splits_stride_2": Geometry((16, 12, 5), Conv2d(16, 3, stride=2, padding=1), band=4),
    "band_of_one_row": Geometry((16, 5, 5), Conv2d(16, 3, padding=1), band=1),
    "dilation_2": Geometry((16, 7, 9), Conv2d(32, 3, padding=2, dilation=2)),
    "dilation_gt_image": Geometry((16, 3, 4), Conv2d(16, 3, padding="same", dilation=5)),
    "dilation_down_only": Geometry((16, 8, 6), Conv2d(16, 3, dilation=(3, 1))),
    "dilation_across_only": Geometry((17, 5, 9), Conv2d(20, 3, padding=1, dilation=(1, 3))),
    "dilation_stride_2": Geometry((16, 9, 10), Conv2d(16, (3, 2), 2, (1, 0, 2, 1), dilation=(2, 3))),
    "dilation_is_stride": Geometry((16, 9, 8), Conv2d(41, 3, 2, 2, dilation=2)),
    "dilation_channels_3": Geometry((3, 9, 8), Conv2d(16, 3, padding=2, dilation=2), channels=3),
    "dilation_band_splits": Geometry((16, 9, 5), Conv2d(16, 3, padding=2, dilation=2), band=2),
    "blocks_2": Geometry((32, 5, 6), Conv2d(32, 3, padding=1, groups=2), blocks=2),
    "blocks_of_a_tile_and_a_half": Geometry((32, 5, 6), Conv2d(96, 3, padding=1, groups=2), blocks=2),
    "blocks_channels_gt_row_chunk": Geometry((256, 3, 4), Conv2d(32, 2, groups=2), blocks=2),
    "blocks_of_4_groups": Geometry((32, 5, 6), Conv2d(32, 3, padding=1, groups=8), blocks=2),
    "blocks_dilation_stride_2": Geometry((48, 7, 8), Conv2d(48, 3, 2, 2, dilation=2, groups=3), blocks=3),
    "blocks_1_by_1": Geometry((32, 4, 5), Conv2d(64, 1, groups=2), blocks=2),
    "groups_in_one_block": Geometry((6, 5, 6), Conv2d(10, 3, padding=1, groups=2)),
    "groups_channels_3": Geometry((3, 5, 6), Conv2d(6, 3, padding=1, groups=3), channels=3),
    "border_gt_kernel": Geometry((17, 3, 4), Conv2d(16, 2, padding=4)),
    "border_gt_kernel_dilation_2": Geometry((16, 3, 4), Conv2d(20, 3, padding=7, dilation=2)),
    "seven_taps": Geometry((16, 6, 7), Conv2d(20, 7, padding=3), band=2),
    "batch_prefix": Geometry((16, 5, 5), Conv2d(16, 3, padding=1), images=5, batch=3),
    "batch_prefix_of_one": Geometry((16, 9, 5), Conv2d(32, 3, padding=1), images=4, batch=1),
}


def tensors(g: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (N, C, H, W), weight (O, I, KH, KW), dy (N, O, Y, X)."""
    x = floats(1, g.images, *g.shape)
    weight = floats(2, g.spec.filters, g.shape[0] // g.spec.groups, *g.spec.kernel)
    return x, weight, floats(3, g.images, *g.spec.out_shape(g.shape))


def doubles(g: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same for the definition, only the images of the run."""
    x, weight, dy = tensors(g)
    return x[: g.batch].astype(np.float64), weight.astype(np.float64), dy[: g.batch].astype(np.float64)


def define(g: Geometry, x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return g.spec.forward(x, {"weight": weight, "bias": bias}, TRAIN)[0]


def gradients(g: Geometry, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(dx, dweight) by the definition."""
    params = {"weight": weight, "bias": np.zeros(g.spec.filters)}
    dx, dparams = g.spec.backward(dy, x, params, TRAIN)
    return dx, dparams["weight"]


def pooled(y: np.ndarray, limit: np.ndarray) -> dict[str, Want]:
    """What max pooling in windows of 2×2 makes of y (N, O, Y, X), whose values are off by at most `limit`.

    No value may be so close to the maximum of its window that their errors could exchange them.
    """
    high, wide = y.shape[2] // 2 * 2, y.shape[3] // 2 * 2
    within = np.broadcast_to(limit, y.shape)
    at = [np.s_[:, :, i:high:2, j:wide:2] for i in (0, 1) for j in (0, 1)]
    values, errors = np.stack([y[k] for k in at]), np.stack([within[k] for k in at])
    values = np.take_along_axis(values, order := np.argsort(-values, axis=0, kind="stable"), 0)
    errors = np.take_along_axis(errors, order, 0)
    close = (values[0] - values[1] <= errors[0] + errors[1]) & ((values[0] != 0) | (values[1] != 0))
    assert not close.any(), "two values of a window are too close: draw others"
    maxima, (code, _) = MaxPool2d(2).forward(y, {}, TRAIN)
    return {"y": Want(stored(maxima), errors.max()), "code": Want(padded_codes(code))}


def padded_codes(code: np.ndarray) -> np.ndarray:
    """Codes as stored: 0 in padding channels, where all values are 0 and the first counts as largest."""
    return stored(code.astype(np.uint8))


def forward(g: Geometry, *, bias: bool = True, relu: bool = False, pool: bool = False) -> Case:
    x, weight, _ = tensors(g)
    x64, weight64, _ = doubles(g)
    b = floats(4, g.spec.filters) if bias else np.zeros(g.spec.filters, np.float32)
    y = define(g, x64, weight64, b.astype(np.float64))
    scale = define(g, np.abs(x64), np.abs(weight64), np.abs(b).astype(np.float64))
    s = g.sizes
    right = (s["out_width"] - 1) * s["stride_x"] + g.spec.extent[1] - s["left"] - s["width"]
    wide = s["left"] + s["width"] + max(right, 0)
    band = min(g.band, s["out_height"])
    band = max(2, band // 2 * 2) if pool else band
    scratch = ((band - 1) * s["stride_y"] + g.spec.extent[0]) * wide * s["channels"]
    scratch += 2 * s["out_width"] * s["filters"]
    y, limit = np.maximum(y, 0) if relu else y, tolerance(weight[0].size + 1, scale)
    want = pooled(y, limit) if pool else {"y": Want(stored(y), stored(limit))}
    count = g.images * want["y"].values[0].size
    args = {
        "x": stored(x, s["channels"]), "weight": g.panels(weight), "bias": vector(b) if bias else None,
        "y": Out(count), "code": Out(count) if pool else None, "scratch": Out(scratch, per_thread=True), **s,
        "used_channels": g.shape[0] // g.blocks, "relu": int(relu), "band": band, "scratch_floats": scratch,
    }  # fmt: skip
    return Case("conv2d_forward", args, want, g.batch)


def backward_data(g: Geometry, *, mask: bool = False) -> Case:
    x, weight, dy = tensors(g)
    x64, weight64, dy64 = doubles(g)
    gates = gate(5, *x.shape)
    dx, _ = gradients(g, x64, weight64, dy64)
    scale, _ = gradients(g, x64, np.abs(weight64), np.abs(dy64))
    if mask:
        dx = np.where(gates[: g.batch] > 0, dx, 0)
    s = g.sizes
    band = min(g.band, s["height"])
    (high, wide), (down, across) = g.spec.extent, g.spec.strides
    scratch = ((band + high - 2) // down + 1) * ((s["width"] + wide - 2) // across + 1) * s["filters"]
    reversed_panels = in_blocks(turned(weight, g.spec.groups), g.spec.groups, g.blocks, s["filters"] // g.blocks)
    args = {
        "dy": stored(dy), "turned": reversed_panels, "mask": stored(gates) if mask else None,
        "dx": Out(g.images * s["height"] * s["width"] * s["channels"]), "scratch": Out(scratch, per_thread=True), **s,
        "used_filters": g.spec.filters // g.blocks, "band": band, "scratch_floats": scratch,
    }  # fmt: skip
    length = g.spec.filters // g.spec.groups * g.spec.kernel[0] * g.spec.kernel[1]
    return Case("conv2d_backward_data", args, {"dx": Want(stored(dx), tolerance(length, stored(scale)))}, g.batch)


def backward_weights(g: Geometry) -> Case:
    x, _, dy = tensors(g)
    x64, weight64, dy64 = doubles(g)
    _, dweight = gradients(g, x64, weight64, dy64)
    _, scale = gradients(g, np.abs(x64), weight64, np.abs(dy64))
    s = g.sizes
    expected, limit = g.panels(dweight), g.panels(scale)
    mask = g.panels(np.ones_like(weight64, np.float32)) if g.spec.groups > g.blocks else None
    length = g.batch * s["out_height"] * s["out_width"]
    args = {"x": stored(x, s["channels"]), "dy": stored(dy), "mask": mask, "dweight": Out(expected.size), **s}
    return Case("conv2d_backward_weights", args, {"dweight": Want(expected, tolerance(length, limit))}, g.batch)


def first_backward(g: Geometry, *, given: str = "plain", band: int = 2, group: int = 2, bias: bool = True) -> Case:
    """given: how the gradient comes, "plain", "pooled", or what is left of "norm" or of "norm_relu"."""
    x, _, dy = tensors(g)
    left_out = ("top", "left", "dilation_y", "dilation_x", "blocks")
    s = {name: value for name, value in g.sizes.items() if name not in left_out}
    used, extra = gradient_given(dy, given)
    x64, weight64, _ = doubles(g)
    _, dweight = gradients(g, x64, weight64, used[: g.batch].astype(np.float64))
    _, scale = gradients(g, np.abs(x64), weight64, np.abs(used[: g.batch]).astype(np.float64))
    expected, limit = in_panels(dweight, s["channels"]), in_panels(scale, s["channels"])
    args = {
        "x": stored(x, s["channels"]), **extra, "dweight": Out(expected.size),
        "dbias": Out(s["filters"]) if bias else None,
        "partial": Out(-(-g.images // group) * (expected.size + s["filters"])),
        "scratch": Out(band * s["out_width"] * s["filters"], per_thread=True), **s, "band": band, "images": group,
    }  # fmt: skip
    length = g.batch * s["out_height"] * s["out_width"] + 4
    want = {"dweight": Want(expected, tolerance(length, limit))}
    if bias:
        want["dbias"] = bias_wanted(used[: g.batch])
    return Case("conv2d_first_backward", args, want, g.batch)


def bias_wanted(dy: np.ndarray) -> Want:
    """The bias's gradient, of dy (N, O, Y, X), by the definition."""
    over, dy64 = (0, 2, 3), dy.astype(np.float64)
    return Want(vector(dy64.sum(axis=over)), tolerance(dy[:, 0].size, vector(np.abs(dy64).sum(axis=over))))


def gradient_given(dy: np.ndarray, given: str) -> tuple[np.ndarray, dict[str, np.ndarray | float | None]]:
    """(dy itself, the arguments that a step is given for it): all values are multiples of 1/8, so that what is computed
    on the way is exact."""
    shape, random = dy.shape, np.random.default_rng(9)
    eighths = random.integers(-16, 17, shape).astype(np.float32) / 8
    extra: dict[str, np.ndarray | float | None]
    extra = {"dy": stored(dy), "code": None, "y": None, "y_affine": None, "coefficients": None, "relu": 0}
    if given == "plain":
        return dy, extra
    if given == "pooled":
        small = (*shape[:2], shape[2] // 2, shape[3] // 2)
        gradient = floats(8, *small)
        code = random.integers(0, 4, small)
        full, _ = MaxPool2d(2).backward(gradient, (code, shape), {}, TRAIN)
        return full.astype(np.float32), {**extra, "dy": stored(gradient), "code": padded_codes(code)}
    channels = shape[1]
    scale, shift, slope, offset = (random.integers(-4, 5, channels).astype(np.float32) / 4 for _ in range(4))
    y = random.integers(-16, 17, shape).astype(np.float32) / 8
    at = (slice(None), slice(None), None, None)
    masked = eighths
    if given == "norm_relu":
        masked = np.where(y * scale[None][at] + shift[None][at] > 0, eighths, np.float32(0))
    full = masked * scale[None][at] + (y * slope[None][at] + offset[None][at])
    return full, {
        **extra, "dy": stored(eighths), "y": stored(y), "y_affine": np.stack([vector(scale), vector(shift)]),
        "coefficients": np.stack([vector(slope), vector(offset)]), "relu": int(given == "norm_relu"),
    }  # fmt: skip


def moments_wanted(
    x: np.ndarray, affine: np.ndarray, rectify: float, dx: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, Want]:
    """(mean, what batch norm's backward pass begins with) where x still lacks batch norm: x, dx (N, C, H, W), affine
    (2, S). error: how far dx may be off."""
    channels, at = x.shape[1], (None, slice(None), None, None)
    x64, mean = x.astype(np.float64), floats(12, channels)
    scale, shift = (part[:channels].astype(np.float64)[at] for part in affine.reshape(2, -1))
    gates = x64 * scale + shift > 0 if rectify else np.ones(x.shape, bool)
    far, pixels = x64 - mean.astype(np.float64)[at], x.shape[2] * x.shape[3]
    parts = [np.where(gates, dx, 0), np.where(gates, dx * far, 0)]
    errors = [np.where(gates, error, 0), np.where(gates, error * np.abs(far), 0)]

    def sums(two: list[np.ndarray]) -> np.ndarray:
        return np.stack([[vector(image) for image in part.sum(axis=(2, 3))] for part in two], axis=1)

    sizes = sums([np.abs(part) + off for part, off in zip(parts, errors, strict=True)])
    return vector(mean), Want(sums(parts), sums(errors) + tolerance(pixels + 2, sizes))


def turned(weight: np.ndarray, groups: int = 1) -> np.ndarray:
    """(O, I, KH, KW) → (I, O, KH, KW) in each group, every kernel turned by half a circle."""
    parts = [part.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1] for part in np.split(weight, groups)]
    return np.concatenate(parts)


def turn(outputs: int, inputs: int, kernel: tuple[int, int]) -> Case:
    weight = floats(1, outputs, inputs, *kernel)
    stored_outputs, stored_inputs = padded_channels(outputs), padded_channels(inputs)
    want = in_panels(turned(weight), stored_outputs)
    args = {
        "weight": in_panels(weight, stored_inputs), "turned": Out(want.size), "taps": kernel[0] * kernel[1],
        "inputs": stored_inputs, "outputs": stored_outputs,
    }  # fmt: skip
    return Case("turn_weights", args, {"turned": Want(want)})


def turn_blocks(outputs: int, inputs: int, kernel: tuple[int, int], blocks: int) -> Case:
    weight = floats(1, blocks * outputs, inputs, *kernel)
    want = in_blocks(turned(weight, blocks), blocks, blocks, outputs)
    args = {
        "weight": in_blocks(weight, blocks, blocks, inputs), "turned": Out(want.size), "taps": kernel[0] * kernel[1],
        "inputs": inputs, "outputs": outputs, "blocks": blocks,
    }  # fmt: skip
    return Case("turn_blocks", args, {"turned": Want(want)})


for name, geometry in GEOMETRIES.items():
    register("conv2d_forward", name, lambda g=geometry: forward(g))
    register("conv2d_backward_weights", name, lambda g=geometry: backward_weights(g))
    if geometry.channels is None:
        register("conv2d_backward_data", name, lambda g=geometry: backward_data(g))

RELUS = (
    "columns_16",
    "two_tiles",
    "stride_2",
    "pad_gt_kernel",
    "band_splits",
    "batch_prefix",
    "dilation_2",
    "blocks_2",
)
for name in RELUS:
    register("conv2d_forward", f"{name}_relu", lambda g=GEOMETRIES[name]: forward(g, relu=True))
    register("conv2d_forward", f"{name}_no_bias", lambda g=GEOMETRIES[name]: forward(g, bias=False))
    register("conv2d_backward_data", f"{name}_mask", lambda g=GEOMETRIES[name]: backward_data(g, mask=True))

for name in ("channels_3_bordered", "columns_16", "two_tiles", "batch_prefix"):
    for relu in (False, True):
        register(
            "conv2d_forward", f"{name}_pool{'_relu' * relu}",
            lambda g=GEOMETRIES[name], r=relu: forward(g, relu=r, pool=True),
        )  # fmt: skip
register("conv2d_forward", "band_splits_pool", lambda: forward(GEOMETRIES["band_splits"], pool=True))

FIRST = {
    "channels_1": Geometry((1, 9, 8), Conv2d(6, 5), channels=1),
    "channels_3": Geometry((3, 9, 8), Conv2d(40, 3), images=5, batch=5, channels=3),
    "stride_2": Geometry((3, 11, 9), Conv2d(16, 3, stride=2), channels=3),
    "panels": Geometry((3, 6, 7), Conv2d(80, (1, 2)), channels=3),
    "batch_prefix": Geometry((3, 6, 6), Conv2d(32, 3), images=7, batch=3, channels=3),
    "one_image": Geometry((1, 6, 6), Conv2d(16, 3), images=1, batch=1, channels=1),
}
for name, geometry in FIRST.items():
    for given in ("plain", "pooled", "norm", "norm_relu"):
        register("conv2d_first_backward", f"{name}_{given}", lambda g=geometry, k=given: first_backward(g, given=k))
register("conv2d_first_backward", "no_bias", lambda: first_backward(FIRST["channels_3"], bias=False))
register("conv2d_first_backward", "band_gt_image", lambda: first_backward(FIRST["channels_3"], given="norm", band=100))
register("conv2d_first_backward", "one_group", lambda: first_backward(FIRST["channels_3"], given="pooled", group=8))

register("turn_weights", "one_tap", lambda: turn(16, 16, (1, 1)))
register("turn_weights", "panels_and_halves", lambda: turn(48, 80, (3, 2)))
register("turn_weights", "many_inputs_few_outputs", lambda: turn(10, 100, (1, 1)))
register("turn_weights", "few_inputs_many_outputs", lambda: turn(130, 5, (5, 5)))
register("turn_blocks", "one", lambda: turn_blocks(16, 16, (3, 3), 1))
register("turn_blocks", "panels_and_halves", lambda: turn_blocks(48, 80, (3, 2), 3))
