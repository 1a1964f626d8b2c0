"""Convolutions: forward, dx, dweight, and the turned weights."""

from dataclasses import dataclass

import numpy as np
from kernel_case import Case, Out, Want, register, tolerance
from layout import floats, gate, in_panels, stored, vector

from foveal.layers import Context, Conv2d
from foveal.shapes import padded_channels

TRAIN = Context(training=True)


@dataclass(frozen=True)
class Geometry:
    """A convolution of `images` images (C, H, W), the first `batch` of them; `band` rows of a work item."""

    shape: tuple[int, int, int]
    spec: Conv2d
    images: int = 2
    batch: int = 2
    band: int = 100
    channels: int | None = None  # as stored; padded to 16 when None

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
            "top": top, "left": left, "out_height": rows, "out_width": columns,
            "filters": padded_channels(self.spec.filters),
        }  # fmt: skip


GEOMETRIES = {
    "one_pixel": Geometry((16, 1, 1), Conv2d(16, 3, padding=1)),
    "one_image": Geometry((16, 9, 9), Conv2d(16, 3, padding=1), images=1, batch=1),
    "rows_lt_tile": Geometry((16, 4, 3), Conv2d(16, 3, padding=1)),
    "rows_are_a_tile_and_one": Geometry((16, 3, 15), Conv2d(16, 3, padding=1)),
    "rows_are_many_tiles": Geometry((16, 2, 43), Conv2d(16, (1, 3), padding=(0, 0, 1, 1))),
    "columns_16": Geometry((5, 6, 7), Conv2d(10, 3, padding=1)),
    "columns_32": Geometry((16, 5, 5), Conv2d(32, 3)),
    "two_panels": Geometry((16, 5, 6), Conv2d(64, 3, padding=1)),
    "panel_and_a_half": Geometry((32, 5, 6), Conv2d(41, 3, padding=1)),
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
    "batch_prefix": Geometry((16, 5, 5), Conv2d(16, 3, padding=1), images=5, batch=3),
    "batch_prefix_of_one": Geometry((16, 9, 5), Conv2d(32, 3, padding=1), images=4, batch=1),
}


def tensors(g: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (N, C, H, W), weight (O, I, KH, KW), dy (N, O, Y, X)."""
    x = floats(1, g.images, *g.shape)
    weight = floats(2, g.spec.filters, g.shape[0], *g.spec.kernel)
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


def forward(g: Geometry, *, bias: bool = True, relu: bool = False) -> Case:
    x, weight, _ = tensors(g)
    x64, weight64, _ = doubles(g)
    b = floats(4, g.spec.filters) if bias else np.zeros(g.spec.filters, np.float32)
    y = define(g, x64, weight64, b.astype(np.float64))
    scale = define(g, np.abs(x64), np.abs(weight64), np.abs(b).astype(np.float64))
    s = g.sizes
    right = (s["out_width"] - 1) * s["stride_x"] + s["kernel_width"] - s["left"] - s["width"]
    wide = s["left"] + s["width"] + max(right, 0)
    scratch = ((min(g.band, s["out_height"]) - 1) * s["stride_y"] + s["kernel_height"]) * wide * s["channels"]
    args = {
        "x": stored(x, s["channels"]), "weight": in_panels(weight, s["channels"]), "bias": vector(b) if bias else None,
        "y": Out(g.images * s["out_height"] * s["out_width"] * s["filters"]), "scratch": Out(scratch, per_thread=True),
        **s, "relu": int(relu), "band": min(g.band, s["out_height"]), "scratch_floats": scratch,
    }  # fmt: skip
    want = Want(stored(np.maximum(y, 0) if relu else y), tolerance(weight[0].size + 1, stored(scale)))
    return Case("conv2d_forward", args, {"y": want}, g.batch)


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
    scratch = (band - 1 + s["kernel_height"]) * (s["width"] + s["kernel_width"] - 1) * s["filters"]
    args = {
        "dy": stored(dy), "turned": in_panels(turned(weight), s["filters"]), "mask": stored(gates) if mask else None,
        "dx": Out(g.images * s["height"] * s["width"] * s["channels"]), "scratch": Out(scratch, per_thread=True), **s,
        "band": band, "scratch_floats": scratch,
    }  # fmt: skip
    length = g.spec.filters * g.spec.kernel[0] * g.spec.kernel[1]
    return Case("conv2d_backward_data", args, {"dx": Want(stored(dx), tolerance(length, stored(scale)))}, g.batch)


def backward_weights(g: Geometry) -> Case:
    x, _, dy = tensors(g)
    x64, weight64, dy64 = doubles(g)
    _, dweight = gradients(g, x64, weight64, dy64)
    _, scale = gradients(g, np.abs(x64), weight64, np.abs(dy64))
    s = g.sizes
    expected, limit = in_panels(dweight, s["channels"]), in_panels(scale, s["channels"])
    length = g.batch * s["out_height"] * s["out_width"]
    args = {"x": stored(x, s["channels"]), "dy": stored(dy), "dweight": Out(expected.size), **s}
    return Case("conv2d_backward_weights", args, {"dweight": Want(expected, tolerance(length, limit))}, g.batch)


def turned(weight: np.ndarray) -> np.ndarray:
    """(O, I, KH, KW) → (I, O, KH, KW), every kernel turned by half a circle."""
    return weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]


def turn(outputs: int, inputs: int, kernel: tuple[int, int]) -> Case:
    weight = floats(1, outputs, inputs, *kernel)
    stored_outputs, stored_inputs = padded_channels(outputs), padded_channels(inputs)
    want = in_panels(turned(weight), stored_outputs)
    args = {
        "weight": in_panels(weight, stored_inputs), "turned": Out(want.size), "taps": kernel[0] * kernel[1],
        "inputs": stored_inputs, "outputs": stored_outputs,
    }  # fmt: skip
    return Case("turn_weights", args, {"turned": Want(want)})


for name, geometry in GEOMETRIES.items():
    register("conv2d_forward", name, lambda g=geometry: forward(g))
    register("conv2d_backward_weights", name, lambda g=geometry: backward_weights(g))
    if geometry.channels is None:
        register("conv2d_backward_data", name, lambda g=geometry: backward_data(g))

for name in ("columns_16", "two_panels", "stride_2", "pad_gt_kernel", "band_splits", "batch_prefix"):
    register("conv2d_forward", f"{name}_relu", lambda g=GEOMETRIES[name]: forward(g, relu=True))
    register("conv2d_forward", f"{name}_no_bias", lambda g=GEOMETRIES[name]: forward(g, bias=False))
    register("conv2d_backward_data", f"{name}_mask", lambda g=GEOMETRIES[name]: backward_data(g, mask=True))

register("turn_weights", "one_tap", lambda: turn(16, 16, (1, 1)))
register("turn_weights", "panels_and_halves", lambda: turn(48, 80, (3, 2)))
register("turn_weights", "many_inputs_few_outputs", lambda: turn(10, 100, (1, 1)))
register("turn_weights", "few_inputs_many_outputs", lambda: turn(130, 5, (5, 5)))
