"""Dense layers and 1×1 convolutions, and the gradient of the bias."""

from dataclasses import dataclass

import numpy as np
from conv_cases import gradient_given, moments_wanted
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
    "two_tiles": Product(5, 16, 64),
    "tile_and_a_half": Product(5, 32, 41),
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
    "rows_share_cache_sets": Product(60, 1024, 1024),
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


ROWS, BLOCK = 112, 256  # of the scratch rows of a product, and of those of its weights' gradient
WAY, SKEW = 1024, 16  # rows that are a multiple of so many floats lie so many more apart in scratch
POINTWISE_BLOCK = 128  # pixels, of the scratch rows of a 1×1 convolution's backward pass


def normalised(p: Product, given: str | None) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray | float | None]]:
    """The rows of the run in float64, the magnitudes that they are sums of, and the arguments for x: batch norm may
    still be to apply ("affine", "relu")."""
    x = tensors(p)[0]
    rows = x[: p.batch * p.rows].astype(np.float64)
    if given is None:
        return rows, np.abs(rows), {"x": wide(x, p.stored_inputs), "affine": None, "rectify": 0}
    scale, shift = floats(11, 2, p.inputs)
    affine = np.stack([wide(v[None], p.stored_inputs).reshape(-1) for v in (scale, shift)])
    used = rows * scale.astype(np.float64) + shift
    magnitudes = np.abs(rows * scale.astype(np.float64)) + np.abs(shift)
    arguments = {"x": wide(x, p.stored_inputs), "affine": affine, "rectify": int(given == "relu")}
    return np.maximum(used, 0) if given == "relu" else used, magnitudes, arguments


def finished(p: Product, given: str) -> tuple[np.ndarray, dict[str, np.ndarray | float | None]]:
    """dy of the run in float64, and the arguments for it, as conv_cases.gradient_given has them."""
    dy, extra = gradient_given(tensors(p)[2][:, :, None, None], given)
    extra.pop("code")
    return dy[: p.batch * p.rows, :, 0, 0].astype(np.float64), extra


def scratch(depth: int, *, made: bool) -> Out | None:
    """made: the product's rows do not lie as they are given."""
    row = depth + SKEW if depth % WAY == 0 else depth
    return Out(ROWS * row, per_thread=True) if made or row > depth else None


def forward(p: Product, *, bias: bool = True, relu: bool = False, affine: str | None = None) -> Case:
    x, weight, _ = tensors(p)
    _, weight64, _ = define(p)
    x64, parts, given = normalised(p, affine)
    b = floats(4, p.units) if bias else np.zeros(p.units, np.float32)
    dense, columns = Dense(p.units), p.sizes["units"]
    y, _ = dense.forward(x64, {"weight": weight64, "bias": b.astype(np.float64)}, TRAIN)
    magnitudes = {"weight": np.abs(weight64), "bias": np.abs(b).astype(np.float64)}
    scale, _ = dense.forward(parts, magnitudes, TRAIN)
    args = {
        **given, "weight": in_panels(weight, p.stored_inputs), "bias": vector(b) if bias else None,
        "y": Out(len(x) * columns), "scratch": scratch(p.stored_inputs, made=affine is not None),
        **p.sizes, "relu": int(relu),
    }  # fmt: skip
    length = p.inputs + 1 + 2 * (affine is not None)  # batch norm rounds once or twice
    want = Want(wide(np.maximum(y, 0) if relu else y, columns), tolerance(length, wide(scale, columns)))
    return Case("dense_forward", args, {"y": want}, p.batch)


def backward_data(p: Product, *, mask: bool = False, dy: str = "plain") -> Case:
    """dy: how it is given."""
    x, weight, _ = tensors(p)
    x64, weight64, _ = define(p)
    dy64, given = finished(p, dy)
    gates = gate(5, *x.shape)
    dx, _ = Dense(p.units).backward(dy64, x64, {"weight": weight64}, TRAIN)
    scale, _ = Dense(p.units).backward(np.abs(dy64), x64, {"weight": np.abs(weight64)}, TRAIN)
    if mask:
        dx = np.where(gates[: len(dx)] > 0, dx, 0)
    s = p.sizes
    args = {
        **given, "turned": in_panels(weight.T, s["units"]), "mask": wide(gates, s["inputs"]) if mask else None,
        "dx": Out(len(x) * s["inputs"]),
        "scratch": scratch(s["units"], made=given["y"] is not None), **s,
    }  # fmt: skip
    want = Want(wide(dx, s["inputs"]), tolerance(p.units, wide(scale, s["inputs"])))
    return Case("dense_backward_data", args, {"dx": want}, p.batch)


def backward_weights(p: Product, *, bias: bool = True, affine: str | None = None, dy: str = "plain") -> Case:
    """dy: how it is given."""
    _, weight64, _ = define(p)
    x64, parts, given_x = normalised(p, affine)
    dy64, given_dy = finished(p, dy)
    _, exact = Dense(p.units).backward(dy64, x64, {"weight": weight64}, TRAIN)
    _, scale = Dense(p.units).backward(np.abs(dy64), parts, {"weight": weight64}, TRAIN)
    dweight, limit = (in_panels(d["weight"], p.stored_inputs) for d in (exact, scale))
    units = p.sizes["units"]
    args = {
        **given_x, **given_dy, "dweight": Out(dweight.size), "dbias": Out(units) if bias else None,
        "sums": Out(units) if bias else None,
        "scratch": Out(BLOCK * (p.stored_inputs + units), per_thread=True), **p.sizes, "block": BLOCK,
    }  # fmt: skip
    want = {"dweight": Want(dweight, tolerance(p.batch * p.rows + 2 * (affine is not None), limit))}
    if bias:
        want["dbias"] = Want(vector(exact["bias"]), bias_tolerance(p.batch * p.rows, vector(scale["bias"])))
    return Case("dense_backward_weights", args, want, p.batch)


def pointwise(
    p: Product, *, bias: bool = False, affine: str | None = None, dy: str = "plain", mask: bool = False,
    inner: bool = True, groups: int = 16, moments: bool = False,
) -> Case:  # fmt: skip
    """Both gradients in one step: the cases of the two steps put together. inner: x has a gradient. moments: of dx, see
    conv_cases.moments_wanted."""
    data, weights = backward_data(p, mask=mask, dy=dy), backward_weights(p, bias=bias, affine=affine, dy=dy)
    args, want = {**data.args, **weights.args}, dict(weights.want)
    for name in ("rows", "sums", "block"):
        del args[name]
    if inner:
        want["dx"] = data.want["dx"]
    else:
        args["dx"] = args["turned"] = None
    s = p.sizes
    made = s["inputs"] * (affine is not None) + s["units"] * (dy != "plain")
    args |= {
        "pixels": p.rows, "groups": groups, "unit": p.rows if moments else 32, "mean": None, "moments": None,
        "partial": Out(groups * (s["inputs"] + 1) * s["units"]),
        "scratch": Out(POINTWISE_BLOCK * made, per_thread=True) if made else None,
    }  # fmt: skip
    if moments:
        x, error = tensors(p)[0][: p.batch * p.rows], np.broadcast_to(want["dx"].tolerance, want["dx"].values.shape)
        images = [part[..., : p.inputs].reshape(p.batch, p.rows, 1, -1).transpose(0, 3, 1, 2)
                  for part in (x, want["dx"].values, error)]  # fmt: skip
        args["mean"], want["moments"] = moments_wanted(images[0], args["affine"], args["rectify"], *images[1:])
        args["moments"] = Out(p.images * 2 * s["inputs"])
    return Case("pointwise_backward", args, want, p.batch)


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

for name in (
    "rows_of_an_image",
    "tile_and_a_half",
    "depth_gt_block_many_rows",
    "batch_prefix",
    "many_units_few_rows",
    "rows_share_cache_sets",
):
    for norm in ("affine", "relu"):
        register(
            "dense_forward", f"{name}_norm_{norm}", lambda p=PRODUCTS[name], n=norm: forward(p, affine=n, bias=False)
        )
        register(
            "dense_backward_weights", f"{name}_{norm}",
            lambda p=PRODUCTS[name], n=norm: backward_weights(p, affine=n, bias=False),
        )  # fmt: skip
    for way in ("norm", "norm_relu"):
        register("dense_backward_data", f"{name}_{way}", lambda p=PRODUCTS[name], w=way: backward_data(p, dy=w))
        register(
            "dense_backward_weights", f"{name}_{way}",
            lambda p=PRODUCTS[name], w=way: backward_weights(p, dy=w, affine="relu", bias=False),
        )  # fmt: skip

POINTWISE = {
    "one_pixel": Product(1, 16, 16, images=1, batch=1),
    "one_group": Product(4, 20, 10),
    "group_and_a_rest": Product(5, 16, 32, images=7, batch=7),
    "groups_all": Product(64, 16, 48, images=9, batch=9),
    "group_gt_block": Product(400, 33, 20, images=6, batch=6),
    "tile_and_a_half": Product(49, 41, 41),
    "inputs_gt_row_chunk": Product(30, 130, 32),
    "units_are_a_block": Product(20, 32, 512),
    "batch_prefix": Product(100, 16, 16, images=5, batch=2),
}
for name, product in POINTWISE.items():
    register("pointwise_backward", name, lambda p=product: pointwise(p))
    register("pointwise_backward", f"{name}_bias_mask", lambda p=product: pointwise(p, bias=True, mask=True))
    register("pointwise_backward", f"{name}_two_groups", lambda p=product: pointwise(p, groups=2))
    register("pointwise_backward", f"{name}_images", lambda p=product: pointwise(p, inner=False))
    for norm in ("affine", "relu"):
        register("pointwise_backward", f"{name}_{norm}", lambda p=product, n=norm: pointwise(p, affine=n))
        register(
            "pointwise_backward", f"{name}_moments_{norm}",
            lambda p=product, n=norm: pointwise(p, affine=n, moments=True),
        )  # fmt: skip
    for way in ("norm", "norm_relu"):
        register("pointwise_backward", f"{name}_{way}", lambda p=product, w=way: pointwise(p, dy=w))
        register("pointwise_backward", f"{name}_{way}_both", lambda p=product, w=way: pointwise(p, dy=w, affine="relu"))

of_images = Product(30, 3, 20, stored=3)
register("pointwise_backward", "images_of_3_channels", lambda: pointwise(of_images, bias=True, inner=False))

register("bias_backward", "one_pixel", lambda: bias_backward(1, 16, 3, 3))
register("bias_backward", "one_image", lambda: bias_backward(9, 10, 1, 1))
register("bias_backward", "many_channels", lambda: bias_backward(5, 72, 4, 4))
register("bias_backward", "many_pixels", lambda: bias_backward(1024, 16, 2, 2))
register("bias_backward", "many_images", lambda: bias_backward(1, 16, 20000, 20000, positive=True))
register("bias_backward", "batch_prefix", lambda: bias_backward(7, 20, 6, 4))
