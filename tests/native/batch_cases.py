"""The two ends of a step: the batch is put together, the loss is taken."""

import numpy as np
from kernel_case import Case, Out, Want, register, tolerance
from layout import floats, stored

from foveal.kernels.reference import MOVE, assemble
from foveal.layers import SoftmaxCrossEntropy


def assemble_batch(shape: tuple[int, int, int], moves: list[tuple[int, ...]], images: int | None = None) -> Case:
    """shape (H, W, C), moves (flip, dy, dx[, top, left, bottom, right]) of each image; exact where multiply-adds are
    fused."""
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (7, *shape), np.uint8)
    labels = random.integers(0, 10, 7, np.int32)
    batch = len(moves)
    images = batch if images is None else images
    index = random.integers(0, 7, images)
    moved = np.zeros((images, len(MOVE)), np.int32)
    for row, move in zip(moved, moves, strict=False):
        row[: len(move)] = move
    scale = (random.random(shape[2]) / 64 + 1 / 128).astype(np.float32)
    shift = floats(2, shape[2])
    x, y = assemble(pixels, labels, index[:batch], moved[:batch], scale, shift)
    unfused = tolerance(2, 256 * scale.max() + np.abs(shift).max())
    want = {"x": Want(stored(x, shape[2]), 0.0, unfused), "y": Want(y)}
    args = {
        "pixels": pixels, "labels": labels, "index": index, "moves": moved, "scale": scale, "shift": shift,
        "x": Out(images * int(np.prod(shape))), "y": Out(images), "height": shape[0], "width": shape[1],
        "channels": shape[2],
    }  # fmt: skip
    return Case("assemble_batch", args, want, batch)


ASSEMBLIES = {
    "channels_1": ((5, 7, 1), [(0, 0, 0), (0, 0, 0), (0, 0, 0)]),
    "channels_3": ((5, 7, 3), [(0, 0, 0), (0, 0, 0), (0, 0, 0)]),
    "flip": ((4, 5, 3), [(1, 0, 0), (0, 0, 0), (1, 0, 0)]),
    "flip_channels_1": ((4, 5, 1), [(1, 0, 0), (0, 0, 0), (1, 0, 0)]),
    "shift_rows_only": ((6, 5, 1), [(0, 2, 0), (0, -3, 0)]),
    "shift_and_flip": ((6, 5, 3), [(1, 2, -3), (1, -1, 2), (0, 3, 3), (0, -2, -1)]),
    "shift_to_the_last_pixel": ((4, 3, 1), [(0, 3, 2), (0, -3, -2), (1, 3, 2), (1, -3, -2)]),
    "one_pixel": ((1, 1, 3), [(1, 0, 0), (0, 0, 0)]),
    "one_row": ((1, 6, 1), [(0, 0, 2), (1, 0, -2)]),
    "cut_out": ((6, 5, 3), [(0, 0, 0, 1, 2, 4, 5), (1, 2, -1, 0, 0, 3, 2), (0, 0, 0)]),
    "cut_out_channels_1": ((6, 5, 1), [(0, 0, 0, 1, 2, 4, 5), (0, 1, 0, 5, 4, 6, 5), (1, 0, 2, 2, 0, 3, 5)]),
    "cut_out_all": ((4, 4, 3), [(0, 0, 0, 0, 0, 4, 4), (1, 1, 1, 2, 2, 2, 2)]),
    "cut_out_one_pixel": ((1, 1, 1), [(0, 0, 0, 0, 0, 1, 1), (0, 0, 0)]),
}
for name, (shape, moves) in ASSEMBLIES.items():
    register("assemble_batch", name, lambda s=shape, m=moves: assemble_batch(s, m))
register("assemble_batch", "batch_prefix", lambda: assemble_batch((4, 4, 3), [(1, 1, 0), (0, 0, 1)], images=5))


def pad_images(
    shape: tuple[int, int, int], sides: tuple[int, int, int, int], channels: int, images: int = 2, batch: int = 2
) -> Case:
    """shape (H, W, C) with a border (top, bottom, left, right) and channels up to `channels`."""
    x, (top, bottom, left, right) = floats(1, images, *shape), sides
    y = np.pad(x[:batch], ((0, 0), (top, bottom), (left, right), (0, channels - shape[2])))
    names = ("height", "width", "channels", "out_channels", "top", "bottom", "left", "right")
    args = {"x": x, "y": Out(images * y[0].size), **dict(zip(names, (*shape, channels, *sides), strict=True))}
    return Case("pad_images", args, {"y": Want(y)}, batch)


register("pad_images", "border", lambda: pad_images((4, 5, 3), (1, 2, 3, 4), 3))
register("pad_images", "channels_only", lambda: pad_images((4, 5, 3), (0, 0, 0, 0), 16))
register("pad_images", "border_and_channels", lambda: pad_images((3, 2, 1), (2, 0, 0, 1), 16))
register("pad_images", "one_pixel", lambda: pad_images((1, 1, 1), (1, 1, 1, 1), 1))
register("pad_images", "batch_prefix", lambda: pad_images((3, 3, 1), (1, 1, 1, 1), 16, images=4, batch=3))


def cross_entropy(
    logits: np.ndarray,
    labels: np.ndarray,
    stride: int,
    batch: int | None = None,
    *,
    gradient: bool = True,
    loss: SoftmaxCrossEntropy = SoftmaxCrossEntropy(),  # noqa: B008
) -> Case:
    """logits (N, K), stored `stride` apart. Computed in double: each value is rounded once or twice."""
    images, classes = logits.shape
    n = images if batch is None else batch
    z, answers = logits[:n].astype(np.float64), labels[:n]
    with np.errstate(invalid="ignore"):  # inf - inf
        mean, log_softmax = loss.forward(z, answers)
    losses, dlogits = loss.losses(log_softmax, answers), loss.backward(log_softmax, answers)
    correct = np.count_nonzero(z.argmax(axis=1) == answers)
    weights = None if loss.class_weights is None else np.array(loss.class_weights, np.float32)
    size = float(np.abs(logits[np.isfinite(logits)]).max(initial=1.0)) if loss.label_smoothing else 1.0
    slack = 2.0**-40 * size  # exp and log in double, and 1 - softmax
    want = {
        "losses": Want(losses, tolerance(1, np.abs(losses)) + slack),
        "result": Want(np.array([mean, correct]), np.array([float(tolerance(2, abs(mean))) + slack, 0.0])),
    }
    if gradient:
        padded = stored(dlogits[:, :, None, None], stride)
        want["dlogits"] = Want(padded, np.where(padded == 0, 0, tolerance(1, np.abs(padded)) + slack))
    args = {
        "logits": stored(logits[:, :, None, None], stride), "labels": labels.astype(np.int32), "losses": Out(images),
        "dlogits": Out(images * stride) if gradient else None, "result": Out(2), "classes": classes, "stride": stride,
        "class_weights": weights, "label_smoothing": loss.label_smoothing,
    }  # fmt: skip
    return Case("softmax_cross_entropy", args, want, n)


def scores(images: int, classes: int, size: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    return floats(1, images, classes) * np.float32(size), np.random.default_rng(2).integers(0, classes, images)


SMOOTH, WEIGHTED = SoftmaxCrossEntropy(0.1), SoftmaxCrossEntropy(0.0, (0.5, 2.0, 1.0, 0.25, 3.0))  # floats as float32
BOTH = SoftmaxCrossEntropy(0.5, (0.5, 2.0, 1.0, 0.25, 3.0))
register("softmax_cross_entropy", "smooth", lambda: cross_entropy(*scores(37, 10), 16, loss=SMOOTH))
register("softmax_cross_entropy", "smooth_classes_17", lambda: cross_entropy(*scores(3, 17), 32, loss=SMOOTH))
register("softmax_cross_entropy", "smooth_huge_scores", lambda: cross_entropy(*scores(9, 10, 1e4), 16, loss=SMOOTH))
register("softmax_cross_entropy", "weighted", lambda: cross_entropy(*scores(37, 5), 16, loss=WEIGHTED))
register("softmax_cross_entropy", "weighted_batch_prefix", lambda: cross_entropy(*scores(9, 5), 5, 4, loss=WEIGHTED))
register("softmax_cross_entropy", "smooth_and_weighted", lambda: cross_entropy(*scores(37, 5), 16, loss=BOTH))
register("softmax_cross_entropy", "classes_10", lambda: cross_entropy(*scores(5, 10), 16))
register("softmax_cross_entropy", "classes_1", lambda: cross_entropy(*scores(3, 1), 16))
register("softmax_cross_entropy", "classes_2", lambda: cross_entropy(*scores(3, 2), 16))
register("softmax_cross_entropy", "classes_are_16", lambda: cross_entropy(*scores(3, 16), 16))
register("softmax_cross_entropy", "classes_17", lambda: cross_entropy(*scores(3, 17), 32))
register("softmax_cross_entropy", "classes_not_padded", lambda: cross_entropy(*scores(3, 5), 5))
register("softmax_cross_entropy", "images_tail", lambda: cross_entropy(*scores(37, 10), 16))
register("softmax_cross_entropy", "batch_prefix", lambda: cross_entropy(*scores(9, 10), 16, 4))
register("softmax_cross_entropy", "no_gradient", lambda: cross_entropy(*scores(5, 10), 16, gradient=False))
register("softmax_cross_entropy", "large_scores", lambda: cross_entropy(*scores(9, 10, 300.0), 16))
register("softmax_cross_entropy", "exp_underflows", lambda: cross_entropy(*scores(9, 10, 1e4), 16))
register("softmax_cross_entropy", "huge_scores", lambda: cross_entropy(*scores(9, 10, 1e37), 16))
register(
    "softmax_cross_entropy",
    "all_scores_equal",
    lambda: cross_entropy(np.full((3, 10), 2.5, np.float32), np.array([0, 4, 9]), 16),
)
register(
    "softmax_cross_entropy",
    "first_of_ties_counts",
    lambda: cross_entropy(np.array([[1, 1, 0], [0, 1, 1], [0, 1, 1]], np.float32), np.array([0, 1, 2]), 16),
)


def broken_scores(value: float) -> Case:
    """A score that is no number must show in the loss, not vanish in a sum."""
    logits, labels = scores(3, 10)
    logits[1, 3], logits[1, 7], labels[1] = value, 9.0, 5  # neither the definition nor the kernel answers 5
    case = cross_entropy(logits, labels, 16)
    assert np.isnan(case.want["losses"].values[1])
    return case


register("softmax_cross_entropy", "nan_shows", lambda: broken_scores(np.nan))
register("softmax_cross_entropy", "infinity_shows", lambda: broken_scores(np.inf))
