"""Augmentation and batches against NumPy's own words: np.pad, np.flip, and their being functions of their keys."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data import Augment, assemble, batch_bounds, epoch_order, moves, parse_augment
from foveal.data.augment import largest_shift
from foveal.errors import UsageError

STANDARD = Augment(flip=True, shift=1)
ONE, ZERO = np.ones(3, np.float32), np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("text", "augment"),
    [
        ("none", Augment()),
        ("flip", Augment(flip=True)),
        ("shift", Augment(shift=1)),
        ("standard", STANDARD),
        ("flip,shift", STANDARD),
        ("shift, flip", STANDARD),
        ("cutout", Augment(cutout=True)),
        ("standard,cutout", Augment(flip=True, shift=1, cutout=True)),
    ],
)
def test_names(text: str, augment: Augment) -> None:
    assert parse_augment(text) == augment


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("flipp", "did you mean flip"),
        ("Standard", "did you mean standard"),
        ("flip,shfit", "did you mean shift"),
        ("standard,cutuot", "did you mean cutout"),
        (
            "rotate90",
            "must be one of none, flip, shift, standard, cutout, or several with commas between, not 'rotate90'",
        ),
        ("", "must be one of none"),
        ("flip,", "not ''"),
        ("flip,standard", "flip would change nothing beside the others"),
        ("cutout,cutout", "cutout would change nothing beside the others"),
        ("none,flip", "asks for none and for some"),
    ],
)
def test_near_misses(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_augment(text)


def test_none_moves_nothing() -> None:
    still = moves(Augment(), 1, 2, np.arange(5), 28, 28)
    assert still.dtype == np.int32
    assert still.tolist() == [[0] * 7] * 5


@pytest.mark.parametrize(("side", "largest"), [(1, 0), (2, 1), (8, 1), (15, 1), (16, 2), (32, 4), (100, 12)])
def test_a_shift_is_an_eighth_of_the_side(side: int, largest: int) -> None:
    assert largest_shift(STANDARD, side) == largest
    _, dy, dx = moves(STANDARD, 0, 0, np.arange(3000), side, 2 * side).T[:3]
    assert set(dy.tolist()) == set(range(-largest, largest + 1))
    assert dx.max() == -dx.min() == largest_shift(STANDARD, 2 * side)


def test_moves_are_even() -> None:
    n = 30000
    flip, dy, dx = moves(STANDARD, 5, 1, np.arange(n), 32, 32).T[:3]
    assert abs(flip.mean() - 0.5) < 0.015
    for shift in (dy, dx):
        counts = np.bincount(shift + 4, minlength=9)
        assert abs(counts / n * 9 - 1).max() < 0.08
    assert abs(np.corrcoef([flip, dy, dx]) - np.eye(3)).max() < 0.03


@pytest.mark.parametrize(
    ("augment", "columns"),
    [(Augment(flip=True), [0]), (Augment(shift=1), [1, 2]), (Augment(cutout=True), [3, 4, 5, 6])],
)
def test_only_what_was_asked_for(augment: Augment, columns: list[int]) -> None:
    everything = Augment(flip=True, shift=1, cutout=True)
    table, whole = (moves(a, 3, 4, np.arange(500), 28, 28) for a in (augment, everything))
    assert np.flatnonzero(table.any(axis=0)).tolist() == columns
    np.testing.assert_array_equal(table[:, columns], whole[:, columns])


def test_moves_depend_on_seed_epoch_and_image_only() -> None:
    index = np.array([7, 3, 100000, 0])
    whole = moves(STANDARD, 9, 2, np.arange(100001), 28, 28)
    np.testing.assert_array_equal(moves(STANDARD, 9, 2, index, 28, 28), whole[index])
    np.testing.assert_array_equal(moves(STANDARD, 9, 2, index[1:2], 28, 28), whole[index[1:2]])
    for other in ((8, 2), (9, 3)):
        assert (moves(STANDARD, *other, np.arange(100), 28, 28) != whole[:100]).any()


def test_moves_never_change_from_version_to_version() -> None:
    expected = [[1, -2, -2, 0, 0, 0, 0], [1, 2, 1, 0, 0, 0, 0], [1, 3, 0, 0, 0, 0, 0]]
    assert moves(STANDARD, 1, 0, np.arange(3), 28, 28).tolist() == expected
    cuts = moves(Augment(cutout=True), 1, 0, np.arange(3), 28, 28)[:, 3:].tolist()
    assert cuts == [[15, 14, 28, 28], [1, 0, 15, 11], [7, 2, 21, 16]]


@pytest.mark.parametrize(("high", "wide"), [(32, 32), (28, 28), (5, 9), (1, 6), (2, 2), (1, 1)])
def test_a_cut_is_a_square_around_any_pixel(high: int, wide: int) -> None:
    """DeVries & Taylor 2017: half the side; the centre may be any pixel, so the square may end at the border."""
    side = max(1, min(high, wide) // 2)
    n = 200 * high * wide
    top, left, bottom, right = moves(Augment(cutout=True), 4, 2, np.arange(n), high, wide).T[3:]
    assert ((top >= 0) & (bottom <= high) & (left >= 0) & (right <= wide)).all()
    assert (bottom - top).max() == (right - left).max() == side
    for start, stop, length in ((top, bottom, high), (left, right, wide)):
        whole = (
            (np.arange(length)[:, None] - side // 2).clip(0),
            (np.arange(length)[:, None] - side // 2 + side).clip(0, length),
        )
        allowed = set(zip(*(ends[:, 0].tolist() for ends in whole), strict=True))
        assert set(zip(start.tolist(), stop.tolist(), strict=True)) == allowed
        counts = np.unique(stop + start, return_counts=True)[1]
        assert len(allowed) < 2 or counts.min() > 0.5 * n / length


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3]), st.integers(0, 99), st.booleans(), st.data())
def test_assemble_is_pad_crop_flip(h: int, w: int, c: int, seed: int, flip: bool, data: st.DataObject) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, h, w, c), np.uint8)
    dy, dx = data.draw(st.integers(1 - h, h - 1)), data.draw(st.integers(1 - w, w - 1))
    top, bottom = sorted(data.draw(st.tuples(st.integers(0, h), st.integers(0, h))))
    left, right = sorted(data.draw(st.tuples(st.integers(0, w), st.integers(0, w))))
    table = np.array([[0] * 7, [int(flip), dy, dx, top, left, bottom, right]], np.int32)
    x, y = assemble(pixels, np.array([5, 6, 7], np.int32), np.array([2, 1]), table, ONE[:c], ZERO[:c])
    padded = np.pad(pixels[1], ((h - 1, h - 1), (w - 1, w - 1), (0, 0)), "reflect")
    moved = padded[h - 1 + dy : 2 * h - 1 + dy, w - 1 + dx : 2 * w - 1 + dx]
    expected = (moved[:, ::-1] if flip else moved).copy()
    expected[top:bottom, left:right] = 0
    np.testing.assert_array_equal(x[1], expected.transpose(2, 0, 1))
    np.testing.assert_array_equal(x[0], pixels[2].transpose(2, 0, 1))
    assert (x.dtype, y.dtype, y.tolist()) == (np.float32, np.int32, [7, 6])
    assert x.flags.c_contiguous


def test_assemble_normalises_with_one_rounding() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    scale, shift = np.float32([0.0123456]), np.float32([-0.7654321])
    x, _ = assemble(pixels, np.zeros(1, np.int32), np.array([0]), np.zeros((1, 7), np.int32), scale, shift)
    exact = [np.float32(float(scale[0]) * p + float(shift[0])) for p in range(256)]
    np.testing.assert_array_equal(x.reshape(-1), exact)


@given(st.integers(0, 2**64 - 1), st.integers(0, 1000), st.integers(0, 300))
@settings(max_examples=30, deadline=None)
def test_an_epoch_is_a_permutation(seed: int, epoch: int, count: int) -> None:
    order = epoch_order(seed, epoch, count)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(count))


def test_epochs_and_seeds_differ() -> None:
    orders = [epoch_order(seed, epoch, 50).tolist() for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert len(set(map(tuple, orders))) == 3
    assert orders[0] == epoch_order(0, 0, 50).tolist()


@pytest.mark.parametrize(
    ("count", "size", "drop_single", "bounds"),
    [
        (10, 5, False, ((0, 5), (5, 10))),
        (11, 5, False, ((0, 5), (5, 10), (10, 11))),
        (11, 5, True, ((0, 5), (5, 10))),
        (12, 5, True, ((0, 5), (5, 10), (10, 12))),
        (3, 8, False, ((0, 3),)),
        (1, 8, True, ()),
        (0, 8, False, ()),
    ],
)
def test_bounds(count: int, size: int, drop_single: bool, bounds: tuple[tuple[int, int], ...]) -> None:
    assert tuple(batch_bounds(count, size, drop_single)) == bounds


def test_a_batch_of_nothing() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        batch_bounds(10, 0)
