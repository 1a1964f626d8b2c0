"""Dropout and the optimizers: value by value."""

import numpy as np
from kernel_case import EPS, Case, Out, Want, register, tolerance
from layout import floats, stored

from foveal.layers import Context, Dropout, LayerRandom
from foveal.optim import SGD, AdaGrad, Adam, AdamW, Momentum, Optimizer, RMSProp
from foveal.shapes import padded_channels

TRAIN = Context(training=True)
PIECE = 1 << 14  # floats of one work item, parallel.inl.h


def dropout_forward(
    shape: tuple[int, ...], p: float, batch: int | None = None, layer: int = 0, seed: int = 1, **keys: int
) -> Case:
    """shape (N, C, H, W), C a multiple of 16."""
    x, n = floats(3, *shape), shape[0] if batch is None else batch
    random = LayerRandom(seed, keys.get("epoch", 0), keys.get("step", 0), layer)
    uniform = random.uniform((n, *shape[1:]))
    y, _ = Dropout(p).forward(x[:n].astype(np.float64), {}, Context(True, random))
    want = {"mask": Want(stored(uniform >= np.float32(p))), "y": Want(stored(y), tolerance(1, stored(np.abs(y))))}
    args = {
        "x": stored(x), "y": Out(x.size), "mask": Out(x.size), "pixels": shape[2] * shape[3], "channels": shape[1],
        "flat": 0, "layer": layer, "p": p,
    }  # fmt: skip
    return Case("dropout_forward", args, want, n, seed=seed, **keys)


def dropout_flat(shape: tuple[int, ...], p: float) -> Case:
    """shape (N, C, H, W) of images that the layer sees as vectors (N, C · H · W)."""
    x = floats(1, *shape)
    random = LayerRandom(3, 1, 2, 4)
    flat = x.reshape(shape[0], -1)
    uniform = random.uniform(flat.shape).reshape(shape)
    y = Dropout(p).forward(flat.astype(np.float64), {}, Context(True, random))[0].reshape(shape)
    size = stored(x).size
    args = {
        "x": stored(x), "y": Out(size), "mask": Out(size), "pixels": shape[2] * shape[3],
        "channels": padded_channels(shape[1]), "flat": 1, "layer": 4, "p": p,
    }  # fmt: skip
    want = {"y": Want(stored(y), tolerance(1, stored(np.abs(y))))}
    if shape[1] % 16 == 0:
        want["mask"] = Want(stored(uniform >= np.float32(p)))
    return Case("dropout_forward", args, want, shape[0], seed=3, epoch=1, step=2)


def dropout_backward(count: int, p: float, images: int, batch: int) -> Case:
    dy = floats(4, images, count)
    mask = (np.random.default_rng(5).random((images, count)) >= p).astype(np.uint8)
    saved = np.where(mask[:batch], 1 / (1 - p), 0)
    dx, _ = Dropout(p).backward(dy[:batch].astype(np.float64), saved, {}, TRAIN)
    args = {"mask": mask, "dy": dy, "dx": Out(dy.size), "count": count, "p": p}
    return Case("dropout_backward", args, {"dx": Want(dx, tolerance(2, np.abs(dx)))}, batch)


register("dropout_forward", "one_register", lambda: dropout_forward((1, 16, 1, 1), 0.5))
register("dropout_forward", "channels_are_all_lanes", lambda: dropout_forward((2, 64, 2, 3), 0.5))
register("dropout_forward", "channels_tail", lambda: dropout_forward((2, 80, 3, 2), 0.1))
register("dropout_forward", "many_pixels", lambda: dropout_forward((3, 16, 9, 7), 0.9))
register("dropout_forward", "nothing_dropped", lambda: dropout_forward((2, 32, 1, 1), 0.0))
register("dropout_forward", "batch_prefix", lambda: dropout_forward((5, 32, 2, 2), 0.3, batch=2))
register(
    "dropout_forward",
    "large_keys",
    lambda: dropout_forward((2, 48, 2, 2), 0.5, layer=7, seed=2**64 - 3, epoch=2**32 - 1, step=123456789),
)
register("dropout_forward", "flat_one_pixel", lambda: dropout_flat((2, 32, 1, 1), 0.5))
register("dropout_forward", "flat_pixels_odd", lambda: dropout_flat((3, 16, 3, 3), 0.4))
register("dropout_forward", "flat_channels_tail", lambda: dropout_flat((2, 80, 2, 3), 0.2))
register("dropout_forward", "flat_channels_padded", lambda: dropout_flat((2, 5, 4, 3), 0.5))
register("dropout_backward", "one_register", lambda: dropout_backward(16, 0.5, 1, 1))
register("dropout_backward", "count_tail", lambda: dropout_backward(PIECE + 48, 0.2, 2, 2))
register("dropout_backward", "batch_prefix", lambda: dropout_backward(48, 0.2, 5, 3))


def update(optimizer: Optimizer, count: int, t: int, lr: float = 0.01, size: float = 1.0) -> Case:
    """The t-th update of `count` weights, from gradients of about `size`. All errors are a few roundings."""
    w, g = floats(1, count), floats(2, count) * np.float32(size)
    state = {name: np.abs(floats(3 + i, count)) * np.float32(size**2) for i, name in enumerate(optimizer.state)}
    if t == 1:  # as training begins; momentum ignores what is there
        state = {name: np.zeros_like(value) for name, value in state.items()}
    w64 = w.astype(np.float64)
    state64 = {name: value.astype(np.float64) for name, value in state.items()}
    before = {name: np.abs(value) for name, value in state64.items()}
    rate = float(np.float32(lr))
    g64 = optimizer.decay(w64, g.astype(np.float64), rate, optimizer.weight_decay)
    optimizer.update(w64, g64, state64, rate, t)
    g_size = np.abs(g.astype(np.float64)) + optimizer.weight_decay * np.abs(w)
    error = tolerance(1, np.abs(w64)) + _step_error(optimizer, g_size, before, state64, rate, t)
    if isinstance(optimizer, AdamW):  # the decay is a rounding of its own
        error = error + tolerance(1, np.abs(w))
    want = {"weight": Want(w64, error)}
    for name, error in _state_error(optimizer, g_size, before).items():
        want[name] = Want(state64[name], error)
    settings = {
        name: float(getattr(optimizer, name))
        if name not in ("nesterov", "bias_correction")
        else int(getattr(optimizer, name))
        for name in optimizer.__dataclass_fields__
    }
    args = {"weight": w, "gradient": g, **state, "count": count, **settings}
    return Case(f"{optimizer.name}_update", args, want, lr=rate, update=t)


def _state_error(optimizer: Optimizer, g: np.ndarray, before: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """g: magnitudes of the gradient's terms. v = beta v + (1 - beta) g²: two terms, g with two roundings itself."""
    if isinstance(optimizer, Momentum):
        return {"velocity": tolerance(5, before["velocity"] + g)}
    if isinstance(optimizer, Adam):
        b1, b2 = optimizer.beta1, optimizer.beta2
        return {
            "m": tolerance(5, b1 * before["m"] + (1 - b1) * g),
            "v": tolerance(8, b2 * before["v"] + (1 - b2) * g * g),
        }
    if isinstance(optimizer, AdaGrad):
        return {"sum": tolerance(8, before["sum"] + g * g)}
    if isinstance(optimizer, RMSProp):
        return {"v": tolerance(8, optimizer.alpha * before["v"] + (1 - optimizer.alpha) * g * g)}
    return {}


def _step_error(
    optimizer: Optimizer, g: np.ndarray, before: dict[str, np.ndarray], after: dict[str, np.ndarray], lr: float, t: int
) -> np.ndarray:
    """Error of what is subtracted from the weight."""
    errors = _state_error(optimizer, g, before)
    if isinstance(optimizer, Momentum):
        ahead = optimizer.momentum if optimizer.nesterov else 0.0
        return lr * (errors["velocity"] + ahead * errors["velocity"] + tolerance(4, g + np.abs(after["velocity"])))
    if isinstance(optimizer, Adam):
        correct1 = 1 - optimizer.beta1**t if optimizer.bias_correction else 1.0
        correct2 = 1 - optimizer.beta2**t if optimizer.bias_correction else 1.0
        below = np.sqrt(after["v"] / correct2) + optimizer.eps
        relative = 0.5 * errors["v"] / np.maximum(after["v"], np.finfo(np.float64).tiny) + 6 * EPS
        return lr / correct1 * (errors["m"] + np.abs(after["m"]) * relative) / below
    if isinstance(optimizer, (AdaGrad, RMSProp)):
        (name,) = optimizer.state
        below = np.sqrt(after[name]) + optimizer.eps
        relative = 0.5 * errors[name] / np.maximum(after[name], np.finfo(np.float64).tiny) + 6 * EPS
        return lr * g * relative / below
    return lr * tolerance(4, g)


OPTIMIZERS = {
    "plain": SGD(), "decay": SGD(weight_decay=5e-4),
    "plain_momentum": Momentum(), "decay_momentum": Momentum(0.5, weight_decay=0.01),
    "nesterov": Momentum(0.9, nesterov=True), "nesterov_decay": Momentum(0.9, nesterov=True, weight_decay=1e-3),
    "dampening": Momentum(0.9, dampening=0.5),
    "plain_adam": Adam(), "decay_adam": Adam(weight_decay=0.01), "no_correction": Adam(bias_correction=False),
    "other_betas": Adam(0.5, 0.9, 1e-3),
    "plain_adagrad": AdaGrad(), "decay_adagrad": AdaGrad(weight_decay=0.01), "large_eps_adagrad": AdaGrad(0.1),
    "plain_rmsprop": RMSProp(), "decay_rmsprop": RMSProp(weight_decay=0.01), "other_alpha": RMSProp(0.5, 1e-3),
    "plain_adamw": AdamW(), "decay_adamw": AdamW(weight_decay=0.1),
    "no_correction_adamw": AdamW(bias_correction=False, weight_decay=0.01),
}  # fmt: skip
for name, rule in OPTIMIZERS.items():
    edge, kernel = name.removesuffix(f"_{rule.name}"), f"{rule.name}_update"
    register(kernel, f"{edge}_first_update", lambda o=rule: update(o, 48, 1))
    register(kernel, f"{edge}_later_update", lambda o=rule: update(o, 48, 1000))
for rule in (SGD(weight_decay=0.1), Momentum(), AdaGrad(), RMSProp(), Adam(), AdamW(weight_decay=0.1)):
    register(f"{rule.name}_update", "one_register", lambda o=rule: update(o, 16, 2))
    register(f"{rule.name}_update", "count_tail", lambda o=rule: update(o, 2 * PIECE + 48, 2))
    register(f"{rule.name}_update", "rate_0", lambda o=rule: update(o, 48, 3, lr=0.0))
for rule in (AdaGrad(), RMSProp(), Adam(), AdamW()):
    register(f"{rule.name}_update", "small_gradients", lambda o=rule: update(o, 48, 2, size=1e-7))
