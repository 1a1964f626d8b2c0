"""Dense layers and 1×1 convolutions, and the gradient of the bias."""

from dataclasses import dataclass

import numpy as np
from kernel_case import Case, Out, Want, register, tolerance
from layout import floats, gate, in_panels, stored, vector

from foveal.layers import Context, Dense
from foveal.shapes import padded_channels

TRAIN = Context(training=True)


@dataclass(frozen=True)
class Product:
    """`rows` rows for each of `images` images, the first `batch` of them; I inputs, O units, as a user says them."""

    rows: int
    inputs: int
    units: int
    images: int = 3
    batch: int = 3
    stored: int | None = None  # inputs as stored; padded to 16 when None

    @property
    def stored_inputs(self) -> int:
        return padded_channels(self.inputs) if self.stored is None else self.stored

    @property
    def sizes(self) -> dict[str, int]:
        return {"rows": self.rows, "inputs": self.stored_inputs, "units": padded_channels(self.units)}


PRODUCTS = {
    "one_row": Product(1, 16, 16, images=1, batch=1),
    "rows_lt_tile": Product(1, 20, 10),
    "rows_are_a_tile_and_one": Product(1, 32, 32, images=15, batch=15),
    "rows_gt_row_chunk": Product(1, 16, 48, images=113, batch=113),
    "rows_of_an_image": Product(49, 16, 32),
    "columns_16": Product(5, 16, 16),
    "two_panels": Product(5, 16, 64),
    "panel_and_a_half": Product(5, 32, 41),
    "many_units_few_rows": Product(1, 33, 200),
    "inputs_not_of_16": Product(1, 75, 20, stored=75),
    "inputs_1": Product(9, 1, 16, stored=1),
    "depth_is_a_block": Product(1, 512, 16),
    "depth_gt_block": Product(1, 513, 40, stored=513),
    "depth_gt_two_blocks": Product(1, 1100, 33),
    "depth_gt_block_many_rows": Product(64, 528, 16),
    "units_gt_block": Product(1, 32, 600),
    "batch_gt_block": Product(1, 16, 16, images=260, batch=260),
    "rows_gt_two_blocks": Product(100, 32, 20, images=6, batch=6),
    "inputs_gt_row_chunk": Product(1, 130, 32),
    "batch_prefix": Product(4, 16, 16, images=5, batch=2),
    "batch_prefix_many_units": Product(1, 32, 96, images=20, batch=17),
}


def tensors(p: Product) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (R, I), weight (O, I), dy (R, O) for R = images * rows."""
    rows = p.images * p.rows
    return floats(1, rows, p.inputs), floats(2, p.units, p.inputs), floats(3, rows, p.units)


def wide(x: np.ndarray, columns: int) -> np.ndarray:
    """(R, C) → (R, columns), zero beyond C."""
    return stored(x[:, :, None, None], columns)


def define(p: Product) -> tuple[np.ndarray, ...]:
    """x, weight, dy in float64, only the rows of the run."""
    x, weight, dy = (a.astype(np.float64) for a in tensors(p))
    return x[: p.batch * p.rows], weight, dy[: p.batch * p.rows]


def forward(p: Product, *, bias: bool = True, relu: bool = False) -> Case:
    x, weight, _ = tensors(p)
    x64, weight64, _ = define(p)
    b = floats(4, p.units) if bias else np.zeros(p.units, np.float32)
    dense, columns = Dense(p.units), p.sizes["units"]
    y, _ = dense.forward(x64, {"weight": weight64, "bias": b.astype(np.float64)}, TRAIN)
    magnitudes = {"weight": np.abs(weight64), "bias": np.abs(b).astype(np.float64)}
    scale, _ = dense.forward(np.abs(x64), magnitudes, TRAIN)
    args = {
        "x": wide(x, p.stored_inputs), "weight": in_panels(weight, p.stored_inputs),
        "bias": vector(b) if bias else None, "y": Out(len(x) * columns), **p.sizes, "relu": int(relu),
    }  # fmt: skip
    want = Want(wide(np.maximum(y, 0) if relu else y, columns), tolerance(p.inputs + 1, wide(scale, columns)))
    return Case("dense_forward", args, {"y": want}, p.batch)


def backward_data(p: Product, *, mask: bool = False) -> Case:
    x, weight, dy = tensors(p)
    x64, weight64, dy64 = define(p)
    gates = gate(5, *x.shape)
    dx, _ = Dense(p.units).backward(dy64, x64, {"weight": weight64}, TRAIN)
    scale, _ = Dense(p.units).backward(np.abs(dy64), x64, {"weight": np.abs(weight64)}, TRAIN)
    if mask:
        dx = np.where(gates[: len(dx)] > 0, dx, 0)
    s = p.sizes
    args = {
        "dy": wide(dy, s["units"]), "turned": in_panels(weight.T, s["units"]),
        "mask": wide(gates, s["inputs"]) if mask else None, "dx": Out(len(x) * s["inputs"]), **s,
    }  # fmt: skip
    want = Want(wide(dx, s["inputs"]), tolerance(p.units, wide(scale, s["inputs"])))
    return Case("dense_backward_data", args, {"dx": want}, p.batch)


def backward_weights(p: Product, *, bias: bool = True) -> Case:
    x, _, dy = tensors(p)
    x64, weight64, dy64 = define(p)
    _, exact = Dense(p.units).backward(dy64, x64, {"weight": weight64}, TRAIN)
    _, scale = Dense(p.units).backward(np.abs(dy64), np.abs(x64), {"weight": weight64}, TRAIN)
    dweight, limit = (in_panels(d["weight"], p.stored_inputs) for d in (exact, scale))
    units = p.sizes["units"]
    args = {
        "x": wide(x, p.stored_inputs), "dy": wide(dy, units), "dweight": Out(dweight.size),
        "dbias": Out(units) if bias else None, "sums": Out(units) if bias else None, **p.sizes,
    }  # fmt: skip
    want = {"dweight": Want(dweight, tolerance(p.batch * p.rows, limit))}
    if bias:
        want["dbias"] = Want(vector(exact["bias"]), bias_tolerance(p.batch * p.rows, vector(scale["bias"])))
    return Case("dense_backward_weights", args, want, p.batch)


def bias_tolerance(rows: int, scale: np.ndarray) -> np.ndarray:
    """Blocks of 256 rows are summed in float, these sums in double, rounded at the end."""
    return tolerance(min(rows, 256) + 1, scale)


def bias_backward(pixels: int, channels: int, images: int, batch: int, *, positive: bool = False) -> Case:
    dy = floats(1, images * pixels, channels)
    dy = np.abs(dy) if positive else dy
    dy64 = dy[: batch * pixels].astype(np.float64)
    no_inputs = (np.zeros((len(dy64), 1)), {"weight": np.zeros((channels, 1))})
    dbias = Dense(channels).backward(dy64, *no_inputs, TRAIN)[1]["bias"]
    scale = np.abs(dy64).sum(axis=0)
    size = padded_channels(channels)
    args = {"dy": wide(dy, size), "dbias": Out(size), "pixels": pixels, "channels": size}
    want = Want(vector(dbias), bias_tolerance(batch * pixels, vector(scale)))
    return Case("bias_backward", args, {"dbias": want}, batch)


for name, product in PRODUCTS.items():
    register("dense_forward", name, lambda p=product: forward(p))
    register("dense_backward_weights", name, lambda p=product: backward_weights(p))
    if product.stored is None:
        register("dense_backward_data", name, lambda p=product: backward_data(p))
for name in ("columns_16", "depth_gt_two_blocks", "units_gt_block", "rows_of_an_image", "batch_prefix"):
    register("dense_forward", f"{name}_relu", lambda p=PRODUCTS[name]: forward(p, relu=True))
    register("dense_forward", f"{name}_no_bias", lambda p=PRODUCTS[name]: forward(p, bias=False))
    register("dense_backward_weights", f"{name}_no_bias", lambda p=PRODUCTS[name]: backward_weights(p, bias=False))
    register("dense_backward_data", f"{name}_mask", lambda p=PRODUCTS[name]: backward_data(p, mask=True))

register("bias_backward", "one_pixel", lambda: bias_backward(1, 16, 3, 3))
register("bias_backward", "one_image", lambda: bias_backward(9, 10, 1, 1))
register("bias_backward", "many_channels", lambda: bias_backward(5, 72, 4, 4))
register("bias_backward", "many_pixels", lambda: bias_backward(1024, 16, 2, 2))
register("bias_backward", "many_images", lambda: bias_backward(1, 16, 20000, 20000, positive=True))
register("bias_backward", "batch_prefix", lambda: bias_backward(7, 20, 6, 4))
