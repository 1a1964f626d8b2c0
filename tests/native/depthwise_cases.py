"""Depthwise convolutions: forward and backward, with and without the batch norm of what they read."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from conv_cases import gradient_given, moments_wanted
from kernel_case import Case, Out, Want, register, tolerance
from layout import floats, gate, in_blocks, stored, vector

from foveal.layers import Context, Conv2d
from foveal.shapes import padded_channels

TRAIN = Context(training=True)


@dataclass(frozen=True)
class Geometry:
    """A depthwise convolution of `images` images (C, H, W), the first `batch` of them."""

    shape: tuple[int, int, int]
    kernel: int | tuple[int, int] = 3
    stride: int | tuple[int, int] = 1
    padding: Any = "same"
    dilation: int | tuple[int, int] = 1
    images: int = 2
    batch: int = 2

    @property
    def spec(self) -> Conv2d:
        channels = self.shape[0]
        return Conv2d(channels, self.kernel, self.stride, self.padding, dilation=self.dilation, groups=channels)

    @property
    def sizes(self) -> dict[str, int]:
        (top, _, left, _), (rows, columns) = self.spec.geometry(self.shape)
        (high, wide), (down, across), apart = self.spec.kernel, self.spec.strides, self.spec.dilations
        return {
            "height": self.shape[1], "width": self.shape[2], "channels": padded_channels(self.shape[0]),
            "kernel_height": high, "kernel_width": wide, "stride_y": down, "stride_x": across, "dilation_y": apart[0],
            "dilation_x": apart[1], "top": top, "left": left, "out_height": rows, "out_width": columns,
        }  # fmt: skip


# pixels inside are made eight, four, two and one at a time; channels one or two registers, weights in panels of 16
GEOMETRIES = {
    "one_pixel": Geometry((16, 1, 1)),
    "row_of_8_4_2_1": Geometry((16, 2, 17)),
    "row_of_two_borders": Geometry((16, 3, 2)),
    "one_column": Geometry((16, 5, 1)),
    "channels_padded": Geometry((5, 6, 7)),
    "channels_tile_and_a_half": Geometry((41, 5, 6)),
    "channels_64": Geometry((64, 4, 9)),
    "valid": Geometry((16, 5, 12), padding=0),
    "stride_2": Geometry((32, 9, 10), stride=2, padding=1),
    "stride_2_same_even": Geometry((16, 8, 6), stride=2),
    "stride_3_leaves_a_rest": Geometry((16, 11, 9), 2, 3, 0),
    "stride_gt_kernel": Geometry((16, 8, 9), 1, 3, 0),
    "stride_gt_image": Geometry((16, 2, 3), 1, 5, 0),
    "stride_uneven": Geometry((16, 7, 8), 3, (1, 2), 1),
    "kernel_1": Geometry((16, 3, 12), 1),
    "kernel_2": Geometry((16, 5, 6), 2),
    "kernel_4": Geometry((16, 6, 13), 4),
    "kernel_5": Geometry((32, 7, 9), 5),
    "kernel_7_stride_2": Geometry((16, 9, 17), 7, 2, 3),
    "kernel_uneven": Geometry((16, 6, 7), (2, 4), 1, (1, 0, 2, 1)),
    "kernel_is_image": Geometry((16, 4, 6), (4, 6), 1, 0),
    "kernel_gt_image": Geometry((16, 2, 3), 7),
    "pad_gt_kernel": Geometry((16, 3, 4), 2, 1, 3),
    "pad_gt_kernel_stride_2": Geometry((16, 3, 4), 2, 2, (4, 3, 5, 2)),
    "dilation_2": Geometry((16, 9, 12), dilation=2),
    "dilation_gt_image": Geometry((16, 3, 4), dilation=5),
    "dilation_uneven_stride_2": Geometry((16, 9, 10), 3, 2, 2, (2, 3)),
    "dilation_3_stride_2": Geometry((16, 10, 11), (3, 2), 2, (1, 3, 2, 0), 3),
    "dilation_2_stride_4": Geometry((16, 12, 13), 3, 4, 2, 2),
    "batch_prefix": Geometry((16, 5, 5), images=5, batch=3),
}


def tensors(g: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (N, C, H, W), weight (C, 1, KH, KW), dy (N, C, Y, X)."""
    dy = floats(3, g.images, *g.spec.out_shape(g.shape))
    return floats(1, g.images, *g.shape), floats(2, g.shape[0], 1, *g.spec.kernel), dy


def panels(weight: np.ndarray) -> np.ndarray:
    return in_blocks(weight, 1, 1, 1)


def affine_of(g: Geometry, x: np.ndarray, rectify: bool | None) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """(affine, x as it counts in float64, a bound of its magnitude before any ReLU); rectify None: no batch norm."""
    if rectify is None:
        return None, x.astype(np.float64), np.abs(x).astype(np.float64)
    channels = g.shape[0]
    scale, shift = floats(6, channels), floats(7, channels)
    affine = np.concatenate([vector(scale), vector(shift)])
    made = x.astype(np.float64) * scale.astype(np.float64)[:, None, None] + shift.astype(np.float64)[:, None, None]
    size = np.abs(x * scale[:, None, None]) + np.abs(shift[:, None, None])
    return affine, np.maximum(made, 0) if rectify else made, size.astype(np.float64)


def forward(g: Geometry, *, bias: bool = True, relu: bool = False, rectify: bool | None = None) -> Case:
    x, weight, _ = tensors(g)
    affine, x64, size = affine_of(g, x[: g.batch], rectify)
    b = floats(4, g.shape[0]) if bias else np.zeros(g.shape[0], np.float32)
    weight64, b64 = weight.astype(np.float64), b.astype(np.float64)
    y, _ = g.spec.forward(x64, {"weight": weight64, "bias": b64}, TRAIN)
    scale, _ = g.spec.forward(size, {"weight": np.abs(weight64), "bias": np.abs(b64)}, TRAIN)
    s = g.sizes
    args = {
        "x": stored(x), "affine": affine, "weight": panels(weight), "bias": vector(b) if bias else None,
        "y": Out(g.images * s["out_height"] * s["out_width"] * s["channels"]), **s, "rectify": int(bool(rectify)),
        "relu": int(relu),
    }  # fmt: skip
    want = Want(stored(np.maximum(y, 0) if relu else y), tolerance(weight[0].size + 3, stored(scale)))
    return Case("depthwise_forward", args, {"y": want}, g.batch)


def gradients(g: Geometry, x: np.ndarray, weight: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(dx, dweight) by the definition."""
    dx, dparams = g.spec.backward(dy, x, {"weight": weight, "bias": np.zeros(g.shape[0])}, TRAIN)
    return dx, dparams["weight"]


def backward(
    g: Geometry, *, rectify: bool | None = None, dy: str = "plain", mask: bool = False, inner: bool = True,
    moments: bool = False,
) -> Case:  # fmt: skip
    """rectify: as for affine_of. dy: how it is given, as conv_cases.gradient_given has it. inner: x has a gradient.
    moments: of dx, see conv_cases.moments_wanted."""
    x, weight, plain = tensors(g)
    affine, x64, size = affine_of(g, x[: g.batch], rectify)
    given, extra = gradient_given(plain, dy)
    extra.pop("code")
    weight64, dy64 = weight.astype(np.float64), given[: g.batch].astype(np.float64)
    dx, dweight = gradients(g, x64, weight64, dy64)
    dx_limit, dweight_limit = gradients(g, size, np.abs(weight64), np.abs(dy64))
    gates = gate(5, *x.shape)
    if mask:
        dx = np.where(gates[: g.batch] > 0, dx, 0)
    s = g.sizes
    expected, limit = panels(dweight), panels(dweight_limit)
    of_x, of_dy = s["height"] * s["width"], s["out_height"] * s["out_width"]
    made = s["channels"] * (of_x * (rectify is not None) + of_dy * (dy != "plain"))
    args = {
        "x": stored(x), "affine": affine, **extra, "weight": panels(weight), "mask": stored(gates) if mask else None,
        "dweight": Out(expected.size), "dx": Out(g.images * of_x * s["channels"]) if inner else None,
        "partial": Out(g.images * expected.size), "scratch": Out(made, per_thread=True) if made else None, **s,
        "rectify": int(bool(rectify)), "mean": None, "moments": None,
    }  # fmt: skip
    want = {"dweight": Want(expected, tolerance(of_dy + 3, limit))}
    if inner:
        want["dx"] = Want(stored(dx), tolerance(weight[0].size, stored(dx_limit)))
    if moments:
        assert affine is not None
        error = tolerance(weight[0].size, dx_limit)
        args["mean"], want["moments"] = moments_wanted(x[: g.batch], affine, bool(rectify), dx, error)
        args["moments"] = Out(g.images * 2 * s["channels"])
    return Case("depthwise_backward", args, want, g.batch)


for name, geometry in GEOMETRIES.items():
    register("depthwise_forward", name, lambda g=geometry: forward(g))
    register("depthwise_backward", name, lambda g=geometry: backward(g))

for name in ("row_of_8_4_2_1", "channels_tile_and_a_half", "stride_2", "kernel_5", "dilation_2", "batch_prefix"):
    at = GEOMETRIES[name]
    register("depthwise_forward", f"{name}_relu", lambda g=at: forward(g, relu=True))
    register("depthwise_forward", f"{name}_no_bias", lambda g=at: forward(g, bias=False))
    register("depthwise_backward", f"{name}_mask", lambda g=at: backward(g, mask=True))
    register("depthwise_backward", f"{name}_images", lambda g=at: backward(g, inner=False))
    for way in ("norm", "norm_relu"):
        register("depthwise_backward", f"{name}_{way}", lambda g=at, w=way: backward(g, dy=w))
        register("depthwise_backward", f"{name}_{way}_both", lambda g=at, w=way: backward(g, dy=w, rectify=True))
    for rectify in (False, True):
        edge = f"{name}_normalised{'_rectified' if rectify else ''}"
        register("depthwise_forward", edge, lambda g=at, r=rectify: forward(g, rectify=r))
        register("depthwise_backward", edge, lambda g=at, r=rectify: backward(g, rectify=r))
        register("depthwise_backward", f"{edge}_moments", lambda g=at, r=rectify: backward(g, rectify=r, moments=True))
