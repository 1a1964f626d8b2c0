"""--group-by and --fraction: what belongs together stays together, and a part of the training images is a fair one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foveal.data import Images, load_dataset
from foveal.data.groups import joined, path_groups, split_by_group
from foveal.data.split import part_of_each_class
from foveal.errors import DataError, UsageError

MakeFolder = Callable[..., Path]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Two classes; 30 people with two to four images each, most of them in both classes."""
    random, root = np.random.default_rng(0), tmp_path / "people"
    for person in range(30):
        for i in range(2 + person % 3):
            folder = root / ("smile", "frown")[(person + i) % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (8, 8), np.uint8)).save(folder / f"person{person:02}_{i}.png")
    return root


def persons(images: Images | None) -> set[str]:
    assert images is not None
    assert images.paths is not None
    return {path.split("/")[1].split("_")[0] for path in images.paths}


@pytest.mark.parametrize("pattern", [r"person(\d+)_", r"person\d+", r"/(?:person)(..)", r"n(0\d)|n([12]\d)"])
def test_images_of_one_group_stay_on_one_side(people: Path, pattern: str) -> None:
    data = load_dataset(people, group_by=pattern, validation=0.2, test=0.2)
    sides = [persons(part) for part in data.parts.values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 30
    assert min(min(part.counts) for part in data.parts.values()) >= 1
    assert data.test is not None
    assert 14 <= len(data.test) <= 22  # a fifth of 90 images is 18
    assert data.split.group_by == pattern
    assert data.split.to_json()["group_by"] == pattern
    without = load_dataset(people, validation=0.2, test=0.2)
    assert persons(without.train) & persons(without.test)
    assert without.fingerprint == data.fingerprint
    other = load_dataset(people, group_by=pattern, validation=0.2, test=0.2, seed=1)
    assert persons(other.test) != persons(data.test)
    no_validation = load_dataset(people, group_by=pattern, validation=0, test=0.2)
    assert persons(no_validation.test) == persons(data.test)


def test_equal_images_join_groups(people: Path) -> None:
    for copy, original in (("smile/person00_9.png", "person29_0.png"), ("frown/person01_9.png", "person29_1.png")):
        source = next(people.glob(f"*/{original}"))
        (people / copy).write_bytes(source.read_bytes())
    for seed in range(5):
        data = load_dataset(people, group_by=r"(person\d+)", validation=0.2, test=0.2, seed=seed)
        homes = [part for part, images in data.parts.items() if persons(images) & {"person00", "person01", "person29"}]
        assert len(homes) == 1


def test_groups_within_a_given_split_are_those_of_its_training_part(make_folder: MakeFolder) -> None:
    root = make_folder({"train/a": 12, "train/b": 12, "test/a": 2, "test/b": 2})
    data = load_dataset(root, group_by=r"(\d)\.png", validation=0.2)
    assert data.train.paths is not None
    assert data.validation is not None
    assert data.validation.paths is not None
    digits = [{path[-5] for path in paths} for paths in (data.train.paths, data.validation.paths)]
    assert not digits[0] & digits[1]


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"group_by": r"person(\d"}, UsageError, r"--group-by 'person\(\\d' is no regular expression: missing \)"),
        ({"group_by": r"_0"}, UsageError, r"--group-by '_0' does not match 60 of 90 paths: .*frown/.* and 57 more"),
        ({"group_by": r"smile|(frown)"}, UsageError, r"matches with none of its parentheses 4\d of 90 paths: smile"),
        ({"group_by": r"\w+/\w+"}, UsageError, "would change nothing: it puts each image into a group of its own"),
        ({"group_by": r"person"}, DataError, r"class 'frown' lie in 1 group of --group-by .* train, test, validation"),
        ({"group_by": "p", "validation": 0, "test": 0}, UsageError, "would change nothing: no part of people is drawn"),
    ],
    ids=lambda value: str(value.get("group_by")) if isinstance(value, dict) else "",
)
def test_one_clear_line(people: Path, options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as raised:
        load_dataset(people, **options)
    assert "\n" not in str(raised.value)


def test_where_there_are_no_paths_or_no_split_to_draw(make_folder: MakeFolder) -> None:
    with pytest.raises(UsageError, match="would change nothing: digits holds arrays, which have no paths"):
        load_dataset("digits", group_by="x")
    root = make_folder({f"{part}/{c}": 3 for part in ("train", "val", "test") for c in "ab"})
    with pytest.raises(UsageError, match="would change nothing: no part of pets is drawn"):
        load_dataset(root, group_by="x")


def test_joined() -> None:
    a, b = np.array([0, 0, 2, 3, 4, 4]), np.array([0, 1, 1, 3, 3, 5])
    assert joined(a, b).tolist() == [0, 0, 0, 3, 3, 3]
    assert path_groups(["a1", "b2", "c1", "d2"], r"(\d)").tolist() == [0, 1, 0, 1]


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(30, 120), st.sampled_from([0.0, 0.1, 0.3]))
def test_split_by_group_parts_everything(seed: int, classes: int, count: int, validation: float) -> None:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count).astype(np.int32)
    labels[:classes] = np.arange(classes)
    keys = random.integers(0, count // 3, count)
    groups = path_groups([str(key) for key in keys], ".+")
    images = Images(np.zeros((count, 1, 1, 1), np.uint8), labels, tuple("abcde"[:classes]))
    try:
        parts = split_by_group(images, groups, [("test", 0.2), ("validation", validation)], 5)
    except DataError as error:
        assert "group" in str(error)  # noqa: PT017
        return
    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(count))
    sides = [set(groups[index].tolist()) for index in parts.values()]
    assert sum(map(len, sides)) == len(set(groups.tolist()))
    for index in parts.values():
        assert min(images.subset(index).counts) >= 1


def test_a_fraction_is_of_each_class_and_of_training_alone(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 40, "b": 20, "c": 6})
    whole = load_dataset(root)
    paths = {1.0: set(whole.train.paths or ())}
    for fraction in (0.5, 0.25, 0.01):
        data = load_dataset(root, fraction=fraction)
        assert data.train.counts == tuple(max(1, int(fraction * n + 0.5)) for n in whole.train.counts)
        for part, again in ((whole.validation, data.validation), (whole.test, data.test)):
            assert part is not None
            assert again is not None
            assert part.fingerprint() == again.fingerprint()
        paths[fraction] = set(data.train.paths or ())
        assert data.split.to_json()["fraction"] == fraction
        assert (data.fingerprint, data.class_names) == (whole.fingerprint, whole.class_names)
    assert paths[0.01] < paths[0.25] < paths[0.5] < paths[1.0]
    assert load_dataset(root, fraction=0.5).train.fingerprint() == load_dataset(root, fraction=0.5).train.fingerprint()
    other = load_dataset(root, fraction=0.5, seed=3, validation=0, test=0)
    assert set(other.train.paths or ()) != set(load_dataset(root, fraction=0.5, validation=0, test=0).train.paths or ())


def test_statistics_are_of_the_images_that_are_used(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 20, "b": 20})
    whole, part = load_dataset(root), load_dataset(root, fraction=0.2)
    assert whole.preprocess.mean != part.preprocess.mean


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5, True, float("nan"), "half"])
def test_fractions_that_make_no_sense(fraction: Any) -> None:
    with pytest.raises(UsageError, match="fraction must be"):
        load_dataset("digits", fraction=fraction)


def test_a_fraction_that_is_all_of_it(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 1, "b": 1})
    with pytest.raises(UsageError, match=r"fraction 0\.5 of 2 images is all of them: it would change nothing"):
        load_dataset(root, fraction=0.5, validation=0, test=0)


def test_part_of_each_class_is_fair() -> None:
    images = Images(np.zeros((1000, 1, 1, 1), np.uint8), (np.arange(1000) % 4 == 0).astype(np.int32), ("a", "b"))
    chosen = part_of_each_class(images, 0.3, 7)
    assert images.subset(chosen).counts == (225, 75)
    assert (np.diff(chosen) > 0).all()
    assert abs(chosen.mean() - 500) < 60
