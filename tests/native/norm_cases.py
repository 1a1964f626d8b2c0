"""Batch normalisation. Tolerances follow the kernel's sums: over an image's P pixels in float32, then in double."""

from dataclasses import dataclass

import numpy as np
from kernel_case import EPS, Case, Out, Want, register, tolerance
from layout import floats, stored, vector

from foveal.layers import BatchNorm, Context
from foveal.shapes import padded_channels

NAMES = ("weight", "bias", "running_mean", "running_var")


PLAIN = BatchNorm()


@dataclass(frozen=True)
class Norm:
    """Statistics over `images` images (C, H, W), the first `batch` of them; x = noise * spread + offset."""

    shape: tuple[int, int, int]
    images: int = 3
    batch: int = 3
    spread: float = 1.0
    offset: float = 0.0
    spec: BatchNorm = PLAIN


NORMS = {
    "one_image": Norm((16, 4, 4), images=1, batch=1),
    "two_values": Norm((16, 1, 1), images=2, batch=2),
    "vectors": Norm((32, 1, 1), images=9, batch=9),
    "channels_padded": Norm((10, 3, 5)),
    "many_channels": Norm((72, 3, 3)),
    "many_pixels": Norm((16, 32, 32), images=2, batch=2),
    "mean_far_from_zero": Norm((16, 8, 8), offset=1000.0),
    "variance_zero": Norm((16, 4, 4), spread=0.0, offset=3.0),
    "variance_lt_eps": Norm((16, 4, 4), spread=1e-4),
    "batch_prefix": Norm((16, 3, 3), images=5, batch=3),
    "eps_and_momentum_large": Norm((16, 3, 3), spec=BatchNorm(eps=0.5, momentum=0.75)),
}


def images(g: Norm) -> np.ndarray:
    """(N, S, H, W), the channels beyond C zero."""
    x = floats(1, g.images, *g.shape) * np.float32(g.spread) + np.float32(g.offset)
    return np.ascontiguousarray(stored(x).transpose(0, 3, 1, 2))


def parameters(g: Norm) -> dict[str, np.ndarray]:
    """(S,) each, zero beyond C."""
    drawn = {name: floats(10 + i, g.shape[0]) for i, name in enumerate(NAMES)}
    drawn["running_var"] = np.abs(drawn["running_var"]) + np.float32(0.1)
    return {name: vector(value) for name, value in drawn.items()}


@dataclass(frozen=True, eq=False)
class Statistics:
    """Mean and variance per channel, (S,), and how far the kernel's may be off."""

    mean: np.ndarray
    mean_error: np.ndarray
    var: np.ndarray
    var_error: np.ndarray
    inverse: np.ndarray
    inverse_error: np.ndarray


def statistics(g: Norm) -> Statistics:
    x, pixels = images(g)[: g.batch].astype(np.float64), g.shape[1] * g.shape[2]
    mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    mean_error = tolerance(pixels + 2, np.abs(x).mean(axis=(2, 3)).max(axis=0))
    # squares about a mean that is off by e are too large by e² each; between images (a + e)² is off by 2 a e + e²
    var_error = tolerance(pixels + 4, var) + 2 * np.sqrt(var) * mean_error + 2 * mean_error**2
    inverse = 1 / np.sqrt(var + g.spec.eps)
    inverse_error = inverse * (0.5 * var_error / (var + g.spec.eps) + EPS)
    return Statistics(mean, mean_error, var, var_error, inverse, inverse_error)


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1))


def forward(g: Norm, *, relu: bool = False, y_stored: bool = True) -> Case:
    x, params = images(g), parameters(g)
    x64, params64 = x[: g.batch].astype(np.float64), {n: p.astype(np.float64) for n, p in params.items()}
    y, _ = g.spec.forward(x64, params64, Context(training=True))
    s, size = statistics(g), x.shape[1]
    weight, bias = params64["weight"], params64["bias"]
    scale = weight * s.inverse
    scale_error = np.abs(weight) * s.inverse_error + EPS * np.abs(scale)
    shift = bias - s.mean * scale
    shift_error = np.abs(s.mean) * scale_error + s.mean_error * np.abs(scale) + EPS * (np.abs(bias) + np.abs(shift))
    y_error = np.abs(channels_last(x64)) * scale_error + shift_error
    y_error = y_error + tolerance(1, np.abs(channels_last(x64) * scale) + np.abs(shift))
    running = params64["running_mean"], params64["running_var"]  # moved by the definition
    count = g.batch * g.shape[1] * g.shape[2]
    want = {
        "saved": Want(np.stack([s.mean, s.inverse]), np.stack([s.mean_error, s.inverse_error]) + tolerance(1, 0.0)),
        "affine": Want(np.stack([scale, shift]), np.stack([scale_error, shift_error]) + tolerance(1, 0.0)),
        "running_mean": Want(running[0], tolerance(1, np.abs(running[0])) + g.spec.momentum * s.mean_error),
        "running_var": Want(
            running[1],
            tolerance(1, np.abs(running[1])) + g.spec.momentum * s.var_error * count / (count - 1),
        ),
    }
    if y_stored:
        want["y"] = Want(channels_last(np.maximum(y, 0) if relu else y), y_error)
    args = {
        "x": channels_last(x), **params, "y": Out(x.size) if y_stored else None, "saved": Out(2 * size),
        "affine": Out(2 * size), "partial": Out(g.images * 2 * size), "pixels": g.shape[1] * g.shape[2],
        "channels": size, "relu": int(relu), "eps": g.spec.eps, "momentum": g.spec.momentum,
    }  # fmt: skip
    return Case("batch_norm_forward", args, want, g.batch)


def inference(g: Norm, *, relu: bool = False, y_stored: bool = True) -> Case:
    x, params = images(g), parameters(g)
    x64, params64 = x[: g.batch].astype(np.float64), {n: p.astype(np.float64) for n, p in params.items()}
    y, _ = g.spec.forward(x64, params64, Context())
    scale = np.abs(params64["weight"]) / np.sqrt(params64["running_var"] + g.spec.eps)
    terms = np.abs(channels_last(x64)) * scale + np.abs(params64["running_mean"]) * scale + np.abs(params64["bias"])
    args = {
        "x": channels_last(x), **params, "y": Out(x.size) if y_stored else None, "affine": Out(2 * x.shape[1]),
        "pixels": g.shape[1] * g.shape[2], "channels": x.shape[1], "relu": int(relu), "eps": g.spec.eps,
    }  # fmt: skip
    inverse = params64["weight"] / np.sqrt(params64["running_var"] + g.spec.eps)
    shift = params64["bias"] - params64["running_mean"] * inverse
    of_shift = np.abs(params64["bias"]) + np.abs(params64["running_mean"] * inverse)
    want = {"affine": Want(np.stack([inverse, shift]), tolerance(1, np.stack([np.abs(inverse), of_shift])))}
    if y_stored:
        want["y"] = Want(channels_last(np.maximum(y, 0) if relu else y), tolerance(2, terms))
    return Case("batch_norm_inference", args, want, g.batch)


def backward(g: Norm, *, relu: bool = False, dx: bool = True, summed: bool = False) -> Case:
    """summed: the images' sums are given."""
    x, params, pixels = images(g), parameters(g), g.shape[1] * g.shape[2]
    channels = g.shape[0]
    dy = floats(2, *x.shape)
    dy[:, channels:] = 0
    x64, dy64 = x[: g.batch].astype(np.float64), dy[: g.batch].astype(np.float64)
    s, train = statistics(g), Context(training=True)
    params64 = {n: p.astype(np.float64) for n, p in params.items()}
    y, normal = g.spec.forward(x64, params64, train)
    if relu:
        dy64 = np.where(y > 0, dy64, 0)
    exact, gradients = g.spec.backward(dy64, normal, params64, train)
    scale, total = params64["weight"] * s.inverse, g.batch * pixels
    affine = np.stack([scale, params64["bias"] - s.mean * scale]).astype(np.float32)
    saved = np.stack([s.mean, s.inverse]).astype(np.float32)
    d, far = channels_last(np.abs(dy64)), np.abs(channels_last(x64)) + np.abs(s.mean)
    dbias_error = tolerance(pixels + 1, d.sum(axis=(0, 1, 2)))
    dweight_error = s.inverse * tolerance(pixels + 3, (d * far).sum(axis=(0, 1, 2)))
    b = np.abs(scale) * s.inverse / total
    b_error = b * dweight_error + 2 * EPS * b * np.abs(gradients["weight"])
    dx_error = tolerance(2, np.abs(scale) * d) + b_error * far
    dx_error = dx_error + np.abs(scale) * (dbias_error + EPS * np.abs(gradients["bias"])) / total
    want = {"dweight": Want(gradients["weight"], dweight_error), "dbias": Want(gradients["bias"], dbias_error)}
    if dx:
        want["dx"] = Want(channels_last(exact), dx_error)
    else:  # what is left to whoever reads dy
        offset = scale * (s.mean * s.inverse * gradients["weight"] - gradients["bias"]) / total
        offset_error = b_error * np.abs(s.mean) + np.abs(scale) * dbias_error / total
        offset_error = offset_error + 4 * EPS * (b * np.abs(s.mean * gradients["weight"]) + np.abs(offset))
        want["coefficients"] = Want(
            np.stack([-scale * s.inverse * gradients["weight"] / total, offset]), np.stack([b_error, offset_error])
        )
    size = padded_channels(channels)
    args = {
        "x": channels_last(x), "dy": channels_last(dy), "saved": saved, "affine": affine, "dweight": Out(size),
        "dbias": Out(size), "dx": Out(x.size) if dx else None, "partial": Out(g.images * 2 * size),
        "coefficients": Out(2 * size), "pixels": pixels, "channels": size, "relu": int(relu), "summed": int(summed),
    }  # fmt: skip
    if summed:
        far64 = x64 - saved[0].astype(np.float64)[:, None, None]
        sums = np.stack([dy64.sum(axis=(2, 3)), (dy64 * far64).sum(axis=(2, 3))], axis=1)
        args["partial"] = np.concatenate([sums, np.full((g.images - g.batch, *sums.shape[1:]), np.nan)])
        args["partial"] = args["partial"].astype(np.float32)
    return Case("batch_norm_backward", args, want, g.batch)


for name, norm in NORMS.items():
    register("batch_norm_forward", name, lambda g=norm: forward(g))
    register("batch_norm_inference", name, lambda g=norm: inference(g))
    register("batch_norm_backward", name, lambda g=norm: backward(g))
for name in ("channels_padded", "batch_prefix", "vectors"):
    register("batch_norm_forward", f"{name}_relu", lambda g=NORMS[name]: forward(g, relu=True))
    register("batch_norm_inference", f"{name}_relu", lambda g=NORMS[name]: inference(g, relu=True))
    register("batch_norm_forward", f"{name}_y_left_out", lambda g=NORMS[name]: forward(g, relu=True, y_stored=False))
    register("batch_norm_inference", f"{name}_y_left_out", lambda g=NORMS[name]: inference(g, y_stored=False))
    register("batch_norm_backward", f"{name}_relu", lambda g=NORMS[name]: backward(g, relu=True))
    register("batch_norm_backward", f"{name}_summed", lambda g=NORMS[name]: backward(g, relu=True, summed=True))
    register("batch_norm_backward", f"{name}_no_dx", lambda g=NORMS[name]: backward(g, dx=False))
