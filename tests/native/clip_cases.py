"""Limits on norms. Sums are in double, so only the scaling rounds, and with it the scale."""

import numpy as np
from kernel_case import Case, Out, Want, register, tolerance
from layout import floats, in_panels

from foveal.optim.clipping import clip_norm, limit_norms

PIECE = 1 << 14  # floats of one work item, parallel.inl.h


def clip(count: int, most: float, size: float = 1.0, gradient: np.ndarray | None = None) -> Case:
    """A gradient of `count` values of about `size`; most: relative to its norm."""
    g = floats(1, count) * np.float32(size) if gradient is None else gradient
    limit = most * float(np.sqrt((g.astype(np.float64) ** 2).sum())) if gradient is None else most
    want = g.astype(np.float64)
    clip_norm(want, limit)
    args = {"gradient": g, "partial": Out(-(-count // PIECE)), "count": count, "most": limit}
    kept = most > 1
    return Case("clip_gradient", args, {"gradient": Want(want, 0.0 if kept else tolerance(2, np.abs(want)))})


register("clip_gradient", "one_register", lambda: clip(16, 0.5))
register("clip_gradient", "count_tail", lambda: clip(2 * PIECE + 48, 0.25))
register("clip_gradient", "one_piece", lambda: clip(PIECE, 0.9))
register("clip_gradient", "short_enough", lambda: clip(3 * PIECE + 16, 1.5))
register("clip_gradient", "all_zeros", lambda: clip(48, 2.0, gradient=np.zeros(48, np.float32)))
register("clip_gradient", "squares_overflow_float", lambda: clip(48, 0.5, size=1e30))
register("clip_gradient", "squares_underflow_float", lambda: clip(48, 0.5, size=1e-25))
BROKEN = np.concatenate([floats(1, 47), np.array([np.nan], np.float32)])
register("clip_gradient", "nan_shows", lambda: clip(48, 0.5, gradient=BROKEN))


def limit(units: int, inputs: int, stored_inputs: int, *, taps: tuple[int, int] = (1, 1), size: float = 1.0) -> Case:
    """Weights (units, inputs, *taps) in panels; every other unit is longer than the limit."""
    w = floats(2, units, inputs, *taps) * np.float32(size)
    w[::2] *= 3
    most = size * 1.7 * float(np.sqrt(inputs * taps[0] * taps[1]))
    want = w.astype(np.float64)
    limit_norms(want, most)
    weight, values = in_panels(w, stored_inputs), in_panels(want, stored_inputs)
    stored_units = -(-units // 16) * 16
    changed = values != weight
    args = {"weight": weight, "units": stored_units, "depth": weight.size // stored_units, "most": most}
    return Case("limit_norms", args, {"weight": Want(values, np.where(changed, tolerance(2, np.abs(values)), 0.0))})


register("limit_norms", "one_panel_half", lambda: limit(16, 16, 16))
register("limit_norms", "one_panel", lambda: limit(32, 16, 16))
register("limit_norms", "panel_and_half", lambda: limit(48, 32, 32))
register("limit_norms", "units_padded", lambda: limit(37, 5, 16))
register("limit_norms", "one_unit_one_input", lambda: limit(1, 1, 1))
register("limit_norms", "filters", lambda: limit(20, 3, 3, taps=(5, 3)))
register("limit_norms", "filters_inputs_padded", lambda: limit(70, 5, 16, taps=(3, 3)))
register("limit_norms", "deep", lambda: limit(10, 3000, 3008))
register("limit_norms", "squares_overflow_float", lambda: limit(16, 16, 16, size=1e25))
