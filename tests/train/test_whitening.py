"""Whitening as an initialisation: its filters against NumPy's eigenvectors, and what a training begins with."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import foveal as fv
from foveal.data import Preprocess, load_dataset
from foveal.data.preprocess import measure
from foveal.errors import ShapeError, UsageError
from foveal.models import airbench
from foveal.train.session import Session
from foveal.train.settings import TrainSettings
from foveal.train.whitening import EPSILON, covariance, eigen, whitening


@pytest.mark.parametrize("size", [1, 2, 12, 27])
def test_eigenvalues_and_vectors_are_lapacks(size: int) -> None:
    part = np.random.default_rng(size).standard_normal((size, size))
    symmetric = part @ part.T
    values, vectors = eigen(symmetric)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(symmetric)[::-1], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(size), atol=1e-12)
    np.testing.assert_allclose(symmetric @ vectors, vectors * values, atol=1e-11)


def smooth_images(count: int = 400, side: int = 12, channels: int = 3) -> np.ndarray:
    """Images whose neighbours are alike, as in photographs."""
    noise = np.random.default_rng(0).normal(128, 60, (count, side + 4, side + 4, channels))
    blurred = sliding_window_view(noise, (5, 5), axis=(1, 2)).mean(axis=(4, 5))
    return np.clip(128 + 3 * (blurred - 128), 0, 255).astype(np.uint8)


def preprocess_of(pixels: np.ndarray) -> Preprocess:
    return Preprocess(*pixels.shape[1:], *measure(pixels), resample="none")


@pytest.mark.parametrize(("kernel", "dilation"), [(2, 1), (3, 1), ((1, 3), 1), (2, 2)])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_the_filters_give_is_uncorrelated(kernel: int | tuple[int, int], dilation: int, channels: int) -> None:
    pixels = smooth_images(channels=channels)
    preprocess = preprocess_of(pixels)
    layer = fv.Conv2d(8, kernel, dilation=dilation, init="whitening")
    (high, wide), (down, across) = layer.kernel, layer.dilations
    x = (pixels * preprocess.scale + preprocess.shift).transpose(0, 3, 1, 2).astype(np.float64)
    windows = sliding_window_view(x, layer.extent, axis=(2, 3))[..., ::down, ::across]
    patches = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, channels * high * wide)
    found = covariance(pixels, preprocess, layer)
    np.testing.assert_allclose(found, np.cov(patches.T, bias=True), atol=1e-6)
    rows = whitening(found)
    variances = np.linalg.eigvalsh(found)[::-1]
    np.testing.assert_allclose(rows @ found @ rows.T, np.diag(variances / (variances + EPSILON)), atol=1e-9)


def test_the_bits_are_the_same_on_every_machine() -> None:
    index = np.arange(50 * 9 * 9 * 3, dtype=np.uint32).reshape(50, 9, 9, 3)
    pixels = ((index * 2654435761 >> 24) // 4 + index // 81 % 190).astype(np.uint8)
    found = covariance(pixels, preprocess_of(pixels), fv.Conv2d(54, 3))
    assert hashlib.sha256(whitening(found).astype("<f8").tobytes()).hexdigest()[:16] == "32948b6b18d018c8"


def begun(net: fv.Sequential, pixels: np.ndarray, seed: int = 0) -> Session:
    labels = np.arange(len(pixels), dtype=np.int32) % 4
    data = load_dataset((pixels, labels), validation=0)
    settings = TrainSettings(model="custom", lr=0.1, seed=seed, epochs=1, batch_size=32)
    return Session(net, fv.Momentum(), settings, data)


def first(filters: int, **more: object) -> fv.Sequential:
    layers = fv.Conv2d(filters, 2, init="whitening", **more), fv.ReLU(), fv.GlobalAvgPool(), fv.Dense(4)  # type: ignore[arg-type]
    return fv.Sequential(*layers)


def test_a_training_begins_with_those_of_its_images() -> None:
    pixels = smooth_images()
    sessions = [begun(first(28), pixels, seed) for seed in (0, 1)]
    one, other = (session.plan.params["0.weight"] for session in sessions)
    assert one.shape == (28, 3, 2, 2)
    assert (one[24:] != other[24:]).all()
    for session, weight in zip(sessions, (one, other), strict=True):
        data = session.data
        expected = whitening(covariance(data.train.pixels, data.preprocess, fv.Conv2d(28, 2)))
        np.testing.assert_array_equal(weight[:12].reshape(12, 12), expected.astype(np.float32))
        np.testing.assert_array_equal(weight[12:24], -weight[:12])


def test_with_few_filters_the_largest_variances_are_kept() -> None:
    pixels = smooth_images(channels=1)
    all_of_them, few = (begun(first(filters), pixels).plan.params["0.weight"] for filters in (8, 5))
    np.testing.assert_array_equal(few[:2], all_of_them[:2])
    np.testing.assert_array_equal(few[2:4], all_of_them[4:6])


def test_images_of_one_grey_each_give_finite_filters() -> None:
    pixels = np.broadcast_to(np.arange(80, dtype=np.uint8)[:, None, None, None], (80, 6, 6, 3))
    assert np.isfinite(begun(first(24), pixels).plan.params["0.weight"]).all()


def test_a_run_keeps_them_and_goes_on(tmp_path: Path) -> None:
    pixels, labels = smooth_images(120), np.arange(120) % 4
    run = fv.fit(
        airbench(4, variant="author", width=0.1), (pixels, labels), lr=1e-30, epochs=1, run_dir=tmp_path / "run",
        progress=False, validation=0,
    )  # fmt: skip
    weight = run.model.weights["0.weight"]
    np.testing.assert_array_equal(weight[12:], -weight[:12])
    again = fv.resume(tmp_path / "run", data=(pixels, labels), more_epochs=1)
    assert again.model.net == run.model.net
    assert again.model.net.layers[0] == fv.Conv2d(24, 2, init="whitening")


def test_only_a_first_layer_that_fits_can_have_it() -> None:
    pixels = smooth_images(60)
    later = fv.Sequential(fv.Conv2d(4, 1), fv.Conv2d(4, 2, init="whitening"), fv.GlobalAvgPool(), fv.Dense(4))
    with pytest.raises(ShapeError, match=r"layer 1 .*is for a first layer without groups; this is not the first"):
        begun(later, pixels)
    with pytest.raises(ShapeError, match="this has groups=3"):
        begun(first(6, groups=3), pixels)
    with pytest.raises(ShapeError, match="images of 1×1 are smaller than its kernel"):
        begun(first(6, padding=1), pixels[:, :1, :1])
    with pytest.raises(UsageError, match=r"Conv2d\(init=...\) must be he or whitening, not 'dirac'"):
        fv.Conv2d(4, 2, init="dirac")
