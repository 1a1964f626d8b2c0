"""Preprocess and Images: exact moments, records that go out and come back, arrays that must fit."""

import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data import Images, Preprocess
from foveal.data.preprocess import measure
from foveal.errors import DataError


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.integers(1, 9), st.sampled_from([1, 3]), st.integers(0, 999))
def test_moments_are_the_exact_ones_rounded(n: int, side: int, channels: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (n, side, side + 1, channels), np.uint8)
    mean, deviation = measure(pixels)
    for c in range(channels):
        values = [Fraction(v, 255) for v in pixels[..., c].reshape(-1).tolist()]
        exact = sum(values) / len(values)
        variance = sum((v - exact) ** 2 for v in values) / len(values)
        assert mean[c] == float(np.float32(float(exact)))
        assert deviation[c] == (float(np.float32(math.sqrt(variance))) or 1.0)


def test_moments_do_not_depend_on_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 7, 7, 3), np.uint8)
    whole = measure(pixels)
    monkeypatch.setattr("foveal.data.preprocess._PIXELS_AT_ONCE", 100)
    assert measure(pixels[::-1]) == whole


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_channel_has_deviation_1(value: int) -> None:
    mean, deviation = measure(np.full((4, 3, 3, 1), value, np.uint8))
    assert deviation == (1.0,)
    assert mean == (float(np.float32(value / 255)),)


def test_scale_and_shift_normalise() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 7, 7, 3), np.uint8)
    preprocess = Preprocess(7, 7, 3, *measure(pixels))
    assert preprocess.scale.dtype == preprocess.shift.dtype == np.float32
    x = pixels * preprocess.scale.astype(float) + preprocess.shift.astype(float)
    np.testing.assert_allclose(x.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=(0, 1, 2)), 1, atol=1e-6)


@given(st.lists(st.integers(0, 255), min_size=8, max_size=8))
def test_json_there_and_back(values: list[int]) -> None:
    preprocess = Preprocess(2, 4, 1, *measure(np.array(values, np.uint8).reshape(1, 2, 4, 1)), "none")
    assert Preprocess.from_json(json.loads(json.dumps(preprocess.to_json()))) == preprocess


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"width": 2.5},
        {"channels": 4},
        {"resample": "lanczos"},
        {"grey": "average"},
        {"mean": [0.5]},
        {"mean": None},
        {"mean": [0.5, 0.5, "x"]},
        {"deviation": [1.0, 1.0, 0.0]},
        {"deviation": [1.0, 1.0, math.nan]},
        {"crop": "corner"},
    ],
    ids=str,
)
def test_records_that_make_no_sense(change: dict[str, Any]) -> None:
    record = Preprocess(8, 8, 3, (0.5,) * 3, (0.2,) * 3).to_json()
    with pytest.raises(DataError, match="preprocess"):
        Preprocess.from_json(record | change)
    record.pop(next(iter(change)), None)
    if next(iter(change)) in ("height", "mean"):
        with pytest.raises(DataError, match="preprocess"):
            Preprocess.from_json(record)


def some(count: int = 6, paths: bool = True) -> Images:
    pixels = np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2, 1)
    names = tuple(f"{i}.png" for i in range(count))
    return Images(pixels, (np.arange(count) % 2).astype(np.int32), ("a", "b", "c"), names if paths else None)


@pytest.mark.parametrize("index", [[4, 0, 0], [1, 2, 3], [5], [], [3, 2]])
def test_subset(index: list[int]) -> None:
    part = some().subset(index)
    np.testing.assert_array_equal(part.pixels, some().pixels[np.array(index, int)])
    np.testing.assert_array_equal(part.labels, some().labels[np.array(index, int)])
    assert part.paths == tuple(f"{i}.png" for i in index)
    assert (len(part), part.class_names) == (len(index), ("a", "b", "c"))
    assert part.pixels.flags.c_contiguous


def test_subset_of_a_run_is_a_view() -> None:
    images = some()
    assert np.shares_memory(images.subset(np.arange(2, 5)).pixels, images.pixels)
    assert not np.shares_memory(images.subset([2, 4]).pixels, images.pixels)


def test_counts_name_empty_classes_too() -> None:
    assert some(5).counts == (3, 2, 0)


def test_fingerprint_is_of_pixels_shape_and_labels() -> None:
    images = some()
    assert images.fingerprint() == some(paths=False).fingerprint()
    assert len(images.fingerprint()) == 64
    others = [
        Images(images.pixels.reshape(6, 4, 1, 1), images.labels, images.class_names),
        Images(images.pixels ^ 1, images.labels, images.class_names),
        Images(images.pixels, 1 - images.labels, images.class_names),
    ]
    assert len({images.fingerprint(), *(other.fingerprint() for other in others)}) == 4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pixels": np.zeros((6, 2, 2), np.uint8)}, "pixels must be uint8"),
        ({"pixels": np.zeros((6, 2, 2, 1), np.int32)}, "pixels must be uint8"),
        ({"pixels": np.zeros((6, 2, 2, 2), np.uint8)}, "pixels must be uint8"),
        ({"labels": np.zeros(6, np.int64)}, r"labels must be int32 \(6,\)"),
        ({"labels": np.zeros(5, np.int32)}, r"labels must be int32 \(6,\)"),
        ({"labels": np.full(6, 3, np.int32)}, "labels must be from 0 to 2"),
        ({"paths": ("a.png",)}, "6 images but 1 paths"),
    ],
)
def test_images_that_do_not_fit(change: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        Images(**(vars(some()) | change))
