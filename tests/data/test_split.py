"""The split: every image in one part, every class in its share, equal images on one side."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foveal.data import Images, load_dataset
from foveal.data.duplicates import equal_groups
from foveal.data.split import split_by_class
from foveal.errors import DataError, UsageError


def images_of(labels: list[int], kinds: list[int]) -> Images:
    """Images of 2 × 2 pixels; those with equal `kinds` are equal."""
    pixels = np.zeros((len(labels), 2, 2, 1), np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 1, 1, 0] = np.array(kinds) % 256, np.array(kinds) // 256
    names = tuple(str(k) for k in range(max(labels) + 1))
    return Images(pixels, np.array(labels, np.int32), names)


@st.composite
def distinct(draw: st.DrawFn) -> tuple[Images, float, float, int]:
    counts = draw(st.lists(st.integers(3, 60), min_size=2, max_size=5))
    labels = draw(st.permutations([k for k, n in enumerate(counts) for _ in range(n)]))
    fractions = draw(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.4]), st.sampled_from([0.0, 0.1, 0.3, 0.5])))
    return images_of(labels, list(range(len(labels)))), *fractions, draw(st.integers(0, 2**64 - 1))


@settings(max_examples=60, deadline=None)
@given(distinct())
def test_partition_and_shares(case: tuple[Images, float, float, int]) -> None:
    images, validation, test, seed = case
    wanted = [("test", test), ("validation", validation)]
    parts = split_by_class(images, equal_groups(images.pixels), wanted, seed)
    assert set(parts) == {"train"} | {name for name, fraction in wanted if fraction}
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(images)))
    left = np.array(images.counts)
    for name, fraction in wanted:
        if fraction:
            counts = np.array(images.subset(parts[name]).counts)
            to_leave = 2 if name == "test" and validation else 1  # an image for each part still to come
            share = np.maximum(1, (fraction * np.array(images.counts) + 0.5).astype(int))
            assert (counts == np.minimum(share, left - to_leave)).all()
            left -= counts
    assert images.subset(parts["train"]).counts == tuple(left.tolist())
    assert left.min() >= 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_equal_images_stay_on_one_side(data: st.DataObject) -> None:
    labels = [0, 1] * data.draw(st.integers(15, 40))
    kinds = [data.draw(st.integers(0, 60)) * 2 for _ in labels]
    for i in range(8):  # enough different ones of each class
        kinds[i] = 1000 + i
    images = images_of(labels, kinds)
    parts = split_by_class(images, equal_groups(images.pixels), [("test", 0.2), ("validation", 0.2)], 7)
    sides = [{kinds[i] for i in index.tolist()} for index in parts.values()]
    assert sum(map(len, sides)) == len(set(kinds))
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(labels)))
    assert all(min(images.subset(index).counts) >= 1 for index in parts.values())


def test_the_seed_decides_and_nothing_else() -> None:
    images = images_of([0, 1] * 50, list(range(100)))
    groups = equal_groups(images.pixels)
    first, again, other = (split_by_class(images, groups, [("test", 0.2)], seed)["test"].tolist() for seed in (1, 1, 2))
    assert first == again != other
    with_validation = split_by_class(images, groups, [("test", 0.2), ("validation", 0.3)], 1)
    assert with_validation["test"].tolist() == first


def test_equal_groups_over_parts() -> None:
    a, b = images_of([0, 1, 0], [5, 6, 5]).pixels, images_of([0, 1], [6, 7]).pixels
    assert equal_groups(a, b).tolist() == [0, 1, 0, 1, 4]


def test_too_few_images_of_a_class() -> None:
    images = images_of([0] * 10 + [1] * 2, list(range(12)))
    with pytest.raises(
        DataError, match=r"class '1' has 2 different images, too few to have some in each of train, test"
    ):
        split_by_class(images, equal_groups(images.pixels), [("test", 0.1), ("validation", 0.1)], 0)
    assert len(split_by_class(images, equal_groups(images.pixels), [("test", 0.1)], 0)["test"]) == 2


def test_many_copies_of_one_image_are_one_image() -> None:
    images = images_of([0] * 10 + [1] * 10, [1] * 10 + list(range(2, 12)))
    with pytest.raises(DataError, match="class '0' has 1 different image, too few"):
        split_by_class(images, equal_groups(images.pixels), [("test", 0.1)], 0)


def test_a_class_of_copies_of_another_class() -> None:
    images = images_of([0] * 10 + [1] * 10, list(range(10)) * 2)
    with pytest.raises(DataError, match="every image of class '1' is equal to one of another class: mend the labels"):
        split_by_class(images, equal_groups(images.pixels), [("test", 0.1)], 0)


def test_fractions_that_leave_nothing() -> None:
    images = images_of([0, 1] * 5, list(range(10)))
    with pytest.raises(UsageError, match=r"test 0\.6 \+ validation 0\.4 leaves nothing"):
        split_by_class(images, equal_groups(images.pixels), [("test", 0.6), ("validation", 0.4)], 0)


def test_notes_count_duplicates_and_contradicting_labels() -> None:
    x = np.arange(40, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    x[1], x[3] = x[0], x[2]  # another label; 5 = 7 the same label
    x[7] = x[5]
    data = load_dataset((x, np.arange(40) % 2))
    assert (data.duplicates.count, data.duplicates.contradicting) == (3, 2)
    assert data.notes == (
        "exact duplicates: 3; 2 of them with another label (train[0] = train[1], train[2] = train[3])",
    )
    assert [[tuple(copy) for copy in group] for group in data.duplicates.groups] == [
        [("train[0]", "0", "train"), ("train[1]", "1", "train")],
        [("train[2]", "0", "train"), ("train[3]", "1", "train")],
        [("train[5]", "1", "train"), ("train[7]", "1", "train")],
    ]
    assert data.duplicates.contradictions == data.duplicates.groups[:2]
    parts = [set(map(bytes, part.pixels)) for part in data.parts.values()]
    assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]


def test_leaks_of_a_given_split_are_reported(tmp_path_factory: pytest.TempPathFactory) -> None:
    x = np.random.default_rng(0).integers(0, 256, (30, 4, 4), np.uint8)
    path = tmp_path_factory.mktemp("npz") / "leaky.npz"
    y = np.arange(30) % 3
    np.savez(path, x_train=x, y_train=y, x_test=x[:6], y_test=y[:6])
    data = load_dataset(path, validation=0)
    assert "6 images of the test part are also in the train part" in data.notes
    assert data.duplicates.across_parts == {"test in train": 6}
    assert data.duplicates.to_json()["groups"][1] == [
        {"path": "train[1]", "label": "1", "part": "train"},
        {"path": "test[1]", "label": "1", "part": "test"},
    ]
    assert data.test is not None
    assert len(data.test) == 6


def test_fingerprint_is_of_the_data_before_the_split() -> None:
    x = np.random.default_rng(0).integers(0, 256, (30, 4, 4), np.uint8)
    y = np.arange(30) % 3
    first = load_dataset((x, y))
    other = load_dataset((x, y), seed=3, test=0)
    assert first.fingerprint == other.fingerprint
    assert first.train.fingerprint() != other.train.fingerprint()
    for changed in ((x ^ (np.arange(30) == 4)[:, None, None], y), (x, np.roll(y, 1)), (x.reshape(30, 2, 8), y)):
        assert load_dataset(changed).fingerprint != first.fingerprint
