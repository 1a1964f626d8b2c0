"""Winograd convolutions: what conv_cases.py computes, with fewer multiplications and larger errors.

The transforms mix the values of a tile, so a small result next to a large one inherits its error: a result may be off
by so many units in the last place (EPS) of the largest sum of magnitudes that any result is made of. `BOUNDS` is what
winograd.inl.h states: about twice the worst that was seen.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
from conv_cases import Geometry, bias_wanted, define, gradient_given, gradients, moments_wanted, pooled, tensors, turned
from kernel_case import EPS, Case, Out, Want, register, tolerance
from layout import floats, gate, in_panels, stored, vector

from foveal.layers import Conv2d

BOUNDS = {(3, 4): (40, 20, 40), (3, 6): (60, 40, 30), (5, 4): (40, 20, 80)}  # kernel, tile: EPS of y, dx, dweight
SKEW, COLUMNS = 16, 32
POINTS = (0, 1, -1, 2, -2, 0.5, -0.5)


def kernel_matrix(taps: int, size: int) -> np.ndarray:
    """G for so many points, ∞ the last: Lavin and Gray (2016), powers of each point over its distances from others."""
    matrix = np.zeros((size, taps))
    for row, point in zip(matrix, POINTS[: size - 1], strict=False):
        others = [point - other for other in POINTS[: size - 1] if other != point]
        row[:] = point ** np.arange(taps) / np.prod(others)
    matrix[-1, -1] = 1
    return matrix


@dataclass(frozen=True)
class Tiled(Geometry):
    """In tiles of `tile` outputs on an axis; of `edge` where so many or fewer are left, unless both are the same."""

    tile: int = 4
    edge: int = 4

    @property
    def size(self) -> int:
        return self.spec.kernel[0] + self.tile - 1


def shaped(
    channels: int, height: int, width: int, spec: Conv2d, images: int = 2, batch: int = 2, tile: int = 4, edge: int = 0
) -> Tiled:
    """edge: what the kernel's small tiles have, where it is 0."""
    edge = edge or {3: 4, 5: 2}[spec.kernel[0]]
    return Tiled((channels, height, width), spec, images, batch, tile=tile, edge=edge)


GEOMETRIES = {
    "one_tile": shaped(16, 4, 4, Conv2d(16, 3, padding=1)),
    "one_image": shaped(16, 8, 8, Conv2d(32, 3, padding=1), 1, 1),
    "partial_tiles": shaped(16, 9, 6, Conv2d(16, 3, padding=1)),
    "outputs_lt_tile": shaped(16, 3, 2, Conv2d(16, 3, padding=1)),
    "no_border": shaped(16, 10, 11, Conv2d(16, 3)),
    "uneven_border": shaped(16, 8, 7, Conv2d(16, 3, padding=(0, 2, 1, 0))),
    "border_gt_kernel": shaped(16, 4, 5, Conv2d(16, 3, padding=5)),
    "tile_and_a_half": shaped(32, 8, 8, Conv2d(41, 3, padding=1)),
    "channels_padded": shaped(17, 6, 5, Conv2d(20, 3, padding=1)),
    "channels_few": shaped(5, 8, 8, Conv2d(6, 3, padding=1)),
    "five_channels_few": shaped(6, 14, 14, Conv2d(16, 5)),
    "channels_many": shaped(160, 4, 4, Conv2d(48, 3, padding=1)),
    "many_blocks": shaped(16, 32, 32, Conv2d(16, 3, padding=1), 3, 3),
    "batch_prefix": shaped(16, 8, 8, Conv2d(16, 3, padding=1), 5, 3),
    "five_one_tile": shaped(16, 4, 4, Conv2d(16, 5, padding=2)),
    "five_partial_tiles": shaped(16, 14, 9, Conv2d(32, 5, padding=2)),
    "five_no_border": shaped(16, 9, 12, Conv2d(16, 5)),
    "five_tile_and_a_half": shaped(48, 8, 8, Conv2d(48, 5, padding=2), 3, 2),
    "five_low": shaped(16, 6, 8, Conv2d(16, 5, padding=2), 3, 2),
    "five_narrow": shaped(16, 7, 5, Conv2d(16, 5, padding=2)),
    "large": shaped(16, 12, 6, Conv2d(16, 3, padding=1), tile=6, edge=2),
    "large_low": shaped(16, 8, 11, Conv2d(16, 3, padding=1), tile=6, edge=2),
    "large_narrow": shaped(16, 6, 7, Conv2d(16, 3, padding=1), tile=6, edge=2),
    "large_corner": shaped(16, 14, 8, Conv2d(32, 3, padding=1), 5, 4, tile=6, edge=2),
    "large_lower": shaped(16, 9, 6, Conv2d(16, 3, padding=1), tile=6, edge=4),
    "large_narrower": shaped(17, 11, 16, Conv2d(20, 3, padding=1), tile=6, edge=4),
    "large_corner_of_four": shaped(32, 12, 18, Conv2d(41, 3), 3, 3, tile=6, edge=4),
    "large_all_low": shaped(16, 4, 15, Conv2d(16, 3, padding=1), tile=6, edge=4),
    "large_all_corner": shaped(16, 2, 1, Conv2d(16, 3, padding=1), tile=6, edge=2),
    "large_uneven_border": shaped(16, 9, 8, Conv2d(16, 3, padding=(0, 2, 5, 0)), tile=6, edge=2),
    "large_blocks": shaped(16, 20, 32, Conv2d(16, 3, padding=1), 3, 3, tile=6, edge=2),
}


def sizes(g: Tiled) -> dict[str, int]:
    names = ("height", "width", "channels", "top", "left", "out_height", "out_width", "filters")
    return {**{name: g.sizes[name] for name in names}, "kernel": g.spec.kernel[0],
            "tile": g.tile, "edge": g.edge, "used_channels": g.shape[0], "used_filters": g.spec.filters}  # fmt: skip


def within(g: Tiled, result: int, scale: np.ndarray) -> np.ndarray:
    return np.full_like(scale, BOUNDS[g.spec.kernel[0], g.tile][result] * EPS * scale.max())


def transformed(weight: np.ndarray, stored_inputs: int, n: int) -> np.ndarray:
    """G w Gᵀ of (O, I, r, r) in float64: n² panels of (I, 32), SKEW floats that nobody touches after each."""
    matrix = kernel_matrix(weight.shape[2], n)
    values = matrix @ weight.astype(np.float64) @ matrix.T
    parts = [in_panels(values[:, :, i : i + 1, j : j + 1], stored_inputs) for i in range(n) for j in range(n)]
    return np.concatenate([np.append(part, np.full(SKEW, np.nan)) for part in parts])


def weights(outputs: int, inputs: int, kernel: int, tile: int, *, turn: bool = False) -> Case:
    """turn: of weights that were turned round, with which the result is as if only inputs and outputs had been
    exchanged."""
    weight = floats(1, outputs, inputs, kernel, kernel)
    given = turned(weight) if turn else weight
    n = kernel + tile - 1
    want = transformed(weight.transpose(1, 0, 2, 3) if turn else weight, stored := g16(given.shape[1]), n)
    matrix = np.abs(kernel_matrix(kernel, n))
    limit = tolerance(2 * kernel + 4, float((matrix @ np.abs(weight).max(axis=(0, 1)) @ matrix.T).max()))
    args = {
        "weight": in_panels(given, stored), "u": Out(want.size), "inputs": stored, "outputs": g16(given.shape[0]),
        "kernel": kernel, "tile": tile, "turned": int(turn),
    }  # fmt: skip
    return Case("winograd_weights", args, {"u": Want(want, limit)})


def g16(channels: int) -> int:
    return -(-channels // 16) * 16


def normalised(g: Tiled, given: str | None) -> tuple[np.ndarray, dict[str, np.ndarray | int | None]]:
    """The input (N, C, H, W) and the arguments for it: batch norm may still have to be applied ("affine", "relu")."""
    x = tensors(g)[0]
    if given is None:
        return x, {"x": stored(x), "affine": None, "rectify": 0}
    scale, shift = floats(11, 2, g.shape[0])
    used = x.astype(np.float64) * scale[:, None, None] + shift[:, None, None]
    used = np.maximum(used, 0) if given == "relu" else used
    return used, {"x": stored(x), "affine": np.stack([vector(scale), vector(shift)]), "rectify": int(given == "relu")}


def forward(
    g: Tiled,
    *,
    bias: bool = True,
    relu: bool = False,
    affine: str | None = None,
    pool: bool = False,
    block: int = 28,
) -> Case:
    x, given = normalised(g, affine)
    weight, s = tensors(g)[1].astype(np.float64), sizes(g)
    b = floats(4, g.spec.filters) if bias else np.zeros(g.spec.filters, np.float32)
    x64, b64 = x[: g.batch].astype(np.float64), b.astype(np.float64)
    y, scale = define(g, x64, weight, b64), define(g, np.abs(x64), np.abs(weight), np.abs(b64))
    y, limit = np.maximum(y, 0) if relu else y, within(g, 0, scale)
    want = pooled(y, limit) if pool else {"y": Want(stored(y), limit.max())}
    frequencies = g.size**2
    scratch = s["channels"] + frequencies * (block * (s["channels"] + COLUMNS) + 2 * SKEW)
    count = g.images * want["y"].values[0].size
    args = {
        **given, "u": transformed(weight, s["channels"], g.size).astype(np.float32),
        "bias": vector(b) if bias else None, "y": Out(count), "code": Out(count) if pool else None,
        "scratch": Out(scratch, per_thread=True), **s, "relu": int(relu), "block": block, "scratch_floats": scratch,
    }  # fmt: skip
    return Case("winograd_forward", args, want, g.batch)


def backward(
    g: Tiled,
    *,
    dx: bool = True,
    mask: bool = False,
    dy: str = "plain",
    affine: str | None = None,
    images: int = 2,
    rows: int | None = None,
    bias: bool = True,
    moments: bool = False,
    few: bool = False,
) -> Case:
    """images, rows: how many of them, of tiles, are taken at a time; None: all rows. dy: how it is given, see
    conv_cases.gradient_given. moments: of dx, see conv_cases.moments_wanted. few: tiles, so dU is made in parts."""
    x, given = normalised(g, affine)
    weight, s = tensors(g)[1].astype(np.float64), sizes(g)
    gradient, extra = gradient_given(tensors(g)[2], dy)
    x64, dy64 = x[: g.batch].astype(np.float64), gradient[: g.batch].astype(np.float64)
    want_dx, dweight = gradients(g, x64, weight, dy64)
    scale_dx, scale_dweight = gradients(g, np.abs(x64), np.abs(weight), np.abs(dy64))
    gates = gate(5, *x.shape)
    if mask:
        want_dx = np.where(gates[: g.batch] > 0, want_dx, 0)
    expected = in_panels(dweight, s["channels"])
    want = {"dweight": Want(expected, within(g, 2, scale_dweight).max())}
    if dx:
        want["dx"] = Want(stored(want_dx), within(g, 1, scale_dx).max())
    if bias:
        want["dbias"] = bias_wanted(dy64)
    made: dict[str, np.ndarray | Out | None] = {"mean": None, "moments": None}
    if moments:
        x0, given_affine = tensors(g)[0][: g.batch], given["affine"]
        made["mean"], want["moments"] = moments_wanted(
            x0, given_affine, given["rectify"], want_dx, within(g, 1, scale_dx)
        )
        made["moments"] = Out(g.images * 2 * s["channels"])
    frequencies = g.size**2
    high, wide = -(-s["out_height"] // g.tile), -(-s["out_width"] // g.tile)
    rows = high if rows is None else rows
    tiles = images * rows * wide
    scratch = 2 * max(s["channels"], s["filters"]) + (frequencies * (32 * COLUMNS + SKEW) if few else 0)
    swapped = transformed(weight.transpose(1, 0, 2, 3), s["filters"], g.size).astype(np.float32)
    args = {
        **given, **extra, **made, "turned": swapped if dx else None, "mask": stored(gates) if mask else None,
        "dweight": Out(expected.size), "dbias": Out(s["filters"]) if bias else None, "sums": Out(s["filters"]),
        "dx": Out(g.images * stored(x)[0].size) if dx else None,
        "v": Out(frequencies * (tiles * s["channels"] + SKEW)), "m": Out(frequencies * (tiles * s["filters"] + SKEW)),
        "du": None if few else Out(frequencies * (s["channels"] * s["filters"] + SKEW)),
        "scratch": Out(scratch, per_thread=True), **s, "images": images, "rows": rows,
    }  # fmt: skip
    return Case("winograd_backward", args, want, g.batch)


for name, geometry in GEOMETRIES.items():
    register("winograd_forward", name, lambda g=geometry: forward(g))
    register("winograd_forward", f"{name}_affine_relu", lambda g=geometry: forward(g, affine="relu", bias=False))
    register("winograd_backward", name, lambda g=geometry: backward(g))
    register("winograd_backward", f"{name}_norm_relu", lambda g=geometry: backward(g, dy="norm_relu", affine="relu"))
    register("winograd_backward", f"{name}_few", lambda g=geometry: backward(g, images=g.batch, few=True))
for name in (
    "one_tile", "partial_tiles", "tile_and_a_half", "batch_prefix", "five_one_tile", "five_partial_tiles", "five_low",
    "large_corner", "large_corner_of_four",
):  # fmt: skip
    geometry = GEOMETRIES[name]
    register("winograd_forward", f"{name}_relu", lambda g=geometry: forward(g, relu=True))
    register("winograd_forward", f"{name}_affine", lambda g=geometry: forward(g, affine="linear"))
    register("winograd_forward", f"{name}_small_blocks", lambda g=geometry: forward(g, block=4))
    if name not in ("five_partial_tiles", "large_corner_of_four"):  # there two values of a window are too close
        register("winograd_forward", f"{name}_pool", lambda g=geometry: forward(g, pool=True, relu=True))
    register("winograd_backward", f"{name}_mask", lambda g=geometry: backward(g, mask=True))
    register("winograd_backward", f"{name}_no_dx", lambda g=geometry: backward(g, dx=False))
    register("winograd_backward", f"{name}_no_bias", lambda g=geometry: backward(g, bias=False))
    register("winograd_backward", f"{name}_norm", lambda g=geometry: backward(g, dy="norm", affine="linear"))
    for norm in ("linear", "relu"):
        register(
            "winograd_backward",
            f"{name}_moments_{norm}",
            lambda g=geometry, n=norm: backward(g, affine=n, moments=True),
        )
    register("winograd_backward", f"{name}_pooled", lambda g=geometry: backward(g, dy="pooled"))
for images in (1, 3):
    many = shaped(16, 7, 8, Conv2d(16, 3, padding=1), 5, 4)
    register("winograd_backward", f"{images}_images_at_a_time", lambda n=images, g=many: backward(g, images=n))
BANDS = {  # of tiles, the last one lower in some; borders that reach across them, or none
    "bands": (shaped(16, 17, 7, Conv2d(16, 3, padding=1), 5, 4), 2, 3),
    "bands_of_one": (shaped(16, 12, 5, Conv2d(32, 3), 3, 3), 3, 1),
    "bands_border": (shaped(16, 9, 6, Conv2d(16, 3, padding=(5, 0, 4, 5)), 2, 2), 1, 2),
    "bands_of_five": (shaped(48, 14, 9, Conv2d(16, 5, padding=2), 3, 3), 2, 2),
    "bands_of_large": (shaped(16, 20, 14, Conv2d(16, 3, padding=1), 5, 4, tile=6, edge=2), 2, 3),
    "bands_low": (shaped(16, 16, 6, Conv2d(32, 3, padding=1), 3, 3, tile=6, edge=4), 2, 1),
}
for name, (geometry, images, rows) in BANDS.items():
    taken = partial(backward, geometry, images=images, rows=rows)
    register("winograd_backward", name, taken)
    register("winograd_backward", f"{name}_mask", partial(taken, mask=True))
    register("winograd_backward", f"{name}_no_dx", partial(taken, dx=False))
    register("winograd_backward", f"{name}_pooled", partial(taken, dy="pooled"))
    register("winograd_backward", f"{name}_norm_relu", partial(taken, dy="norm_relu", affine="relu"))
    register("winograd_backward", f"{name}_moments", partial(taken, affine="relu", moments=True))
for kernel, tile in BOUNDS:
    for turn in (False, True):
        edge = f"kernel_{kernel}_tile_{tile}{'_turned' * turn}"
        register("winograd_weights", edge, partial(weights, 16, 16, kernel, tile, turn=turn))
        register("winograd_weights", f"{edge}_panels", partial(weights, 80, 40, kernel, tile, turn=turn))
