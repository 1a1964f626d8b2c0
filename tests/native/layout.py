"""Tensors as the compute kernels see them, made from logical ones."""

import numpy as np

from foveal.params import Storage
from foveal.plan.storage import grouped_panels, panels
from foveal.shapes import padded_channels


def stored(x: np.ndarray, channels: int | None = None) -> np.ndarray:
    """(N, C, H, W) → (N, H, W, channels), the channels beyond C zero; padded to 16 when None."""
    n, c, h, w = x.shape
    out = np.zeros((n, h, w, padded_channels(c) if channels is None else channels), x.dtype)
    out[..., :c] = x.transpose(0, 2, 3, 1)
    return out


def logical(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `stored` for a tensor of logical shape (N, C, H, W)."""
    n, c, h, w = shape
    return values[: values.size // (h * w) // n * n * h * w].reshape(n, h, w, -1)[..., :c].transpose(0, 3, 1, 2)


def vector(x: np.ndarray, size: int | None = None) -> np.ndarray:
    """(C,) → (size,), zero beyond C; padded to 16 when None."""
    out = np.zeros(padded_channels(len(x)) if size is None else size, x.dtype)
    out[: len(x)] = x
    return out


def weight_storage(shape: tuple[int, ...], stored_inputs: int) -> Storage:
    """Where weights (O, I, KH, KW) or (O, I) lie in panels."""
    storage = panels(shape if len(shape) == 4 else (*shape, 1, 1), np.arange(shape[1]), stored_inputs)
    return Storage(storage.size, storage.index.reshape(shape))


def in_panels(weight: np.ndarray, stored_inputs: int) -> np.ndarray:
    """Weights in panels, zero where no weight lies."""
    storage = weight_storage(weight.shape, stored_inputs)
    out = np.zeros(storage.size, weight.dtype)
    out[storage.index] = weight
    return out


def in_blocks(weight: np.ndarray, groups: int, blocks: int, stored_inputs: int) -> np.ndarray:
    """Weights (O, I / groups, KH, KW) in the panels of each block."""
    storage = grouped_panels(weight.shape, groups, blocks, stored_inputs)
    out = np.zeros(storage.size, weight.dtype)
    out[storage.index] = weight
    return out


def from_panels(flat: np.ndarray, shape: tuple[int, ...], stored_inputs: int) -> np.ndarray:
    return flat[weight_storage(shape, stored_inputs).index]


def floats(seed: int, *shape: int) -> np.ndarray:
    """Random float32, normally distributed."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def gate(seed: int, *shape: int) -> np.ndarray:
    """A ReLU's output to mask with: random, with exact zeros and some values below zero."""
    x = floats(seed, *shape)
    x[np.random.default_rng(seed + 1).random(shape) < 0.25] = 0.0
    return x
