"""Folders of class folders: what is found, in which order, and what is refused."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.data import load_dataset, load_images
from foveal.errors import DataError

MakeFolder = Callable[..., Path]


def test_class_folders_in_order_of_bytes(make_folder: MakeFolder) -> None:
    data = load_dataset(make_folder({"b": 2, "a": 2, "a-b": 2, "Z": 2}), validation=0, test=0)
    assert data.class_names == ("Z", "a", "a-b", "b")
    assert data.train.paths == tuple(f"{c}/{i:03}.png" for c in ("Z", "a-b", "a", "b") for i in range(2))
    assert data.train.labels.tolist() == [0, 0, 2, 2, 1, 1, 3, 3]
    assert data.name == "pets"
    assert data.preprocess.resample == "bilinear"


@pytest.mark.parametrize("validation_folder", ["val", "valid", "validation", "Val"])
def test_a_given_split(make_folder: MakeFolder, validation_folder: str) -> None:
    root = make_folder({f"{p}/{c}": 3 for p in ("train", validation_folder, "test") for c in "ab"})
    data = load_dataset(root)
    assert {name: len(part) for name, part in data.parts.items()} == {"train": 6, "validation": 6, "test": 6}
    assert data.split.given == ("train", "validation", "test")
    assert data.test is not None
    assert data.test.paths == tuple(f"test/{c}/{i:03}.png" for c in "ab" for i in range(3))


def test_train_and_test_only(make_folder: MakeFolder) -> None:
    data = load_dataset(make_folder({"train/a": 10, "train/b": 10, "test/a": 2, "test/b": 2}))
    assert {name: len(part) for name, part in data.parts.items()} == {"train": 18, "validation": 2, "test": 4}


def test_a_class_called_train_is_a_class(make_folder: MakeFolder) -> None:
    assert load_dataset(make_folder({"bus": 3, "train": 3})).class_names == ("bus", "train")


def test_dot_files_and_other_files(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 3, "b": 3, ".git/x": 1})
    (root / "a" / ".hidden.png").write_bytes(b"no image")
    (root / "a" / "Thumbs.db").write_bytes(b"no image")
    (root / "readme.md").write_text("hello")
    (root / "a" / "deeper").mkdir()
    shutil.copy(root / "b" / "000.png", root / "a" / "deeper" / "x.PNG")
    data = load_dataset(root, validation=0, test=0)
    assert data.class_names == ("a", "b")
    assert data.train.paths is not None
    assert "a/deeper/x.PNG" in data.train.paths
    assert len(data.train) == 7
    assert "ignored, not images in a class folder (2): readme.md, a/Thumbs.db" in data.notes
    assert "ignored, hidden (2): .git, a/.hidden.png" in data.notes


def test_a_folder_that_contains_itself(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 2, "b": 2})
    (root / "a" / "again").symlink_to(root / "a", target_is_directory=True)
    assert len(load_dataset(root, validation=0, test=0).train) == 4


def test_folders_below_a_lone_one(make_folder: MakeFolder) -> None:
    data = load_dataset(make_folder({"deep/pets/a": 3, "deep/pets/b": 3}), validation=0, test=0)
    assert data.class_names == ("a", "b")
    assert data.train.paths is not None
    assert data.train.paths[0] == "a/000.png"
    assert data.originals is not None
    assert (data.originals.smallest, data.originals.largest, data.originals.modes) == ((8, 8), (8, 8), {"RGB": 6})


def test_a_pipe_is_not_waited_for(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 2, "b": 2})
    os.mkfifo(root / "a" / "pipe.png")
    assert len(load_dataset(root, validation=0, test=0).train) == 4


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        ({}, "has no class folders"),
        ({"a": 0, "b": 2}, "/a holds no images"),
        ({"a": 5}, "at least 2 classes are needed, there is a"),
        ({"a": 1, "b": 9}, "class 'a' has 1 different image, too few"),
        ({"val/a": 3, "val/b": 3, "test/a": 3}, "pets has nothing to train on, only a part for validation and test"),
        ({"train/a": 3, "train/b": 3, "training/a": 3}, "both train/ and training/"),
        ({"train/a": 3, "test/a": 3, "test/b": 3}, "the train part has no images of class b"),
        ({"train/a": 3, "train/b": 3, "val/a": 1, "valid/a": 1}, "both val/ and valid/"),
        ({"train/a": 3, "train/b": 3, "test": 3}, "test has no class folders"),
    ],
)
def test_refused_in_one_line(make_folder: MakeFolder, tmp_path: Path, classes: dict[str, int], says: str) -> None:
    (tmp_path / "pets").mkdir()
    with pytest.raises(DataError, match=says) as raised:
        load_dataset(make_folder(classes))
    assert "\n" not in str(raised.value)


def test_parts_by_other_names(make_folder: MakeFolder) -> None:
    data = load_dataset(make_folder({"Training/a": 3, "Training/b": 3, "Testing/a": 2, "Testing/b": 1}), validation=0)
    assert data.class_names == ("a", "b")
    assert {part: images.counts for part, images in data.parts.items()} == {"train": (3, 3), "test": (2, 1)}


def test_classes_may_be_called_as_parts_are(make_folder: MakeFolder) -> None:
    data = load_dataset(make_folder({"test": 3, "train": 4}), validation=0, test=0)
    assert (data.class_names, data.train.counts) == (("test", "train"), (3, 4))


def test_a_part_that_lacks_a_class_is_noted(make_folder: MakeFolder) -> None:
    data = load_dataset(make_folder({"train/a": 5, "train/b": 5, "test/a": 3}))
    assert "the test part has no images of class b" in data.notes
    assert data.test is not None
    assert data.test.counts == (3, 0)


def test_runs_among_the_images_are_no_class(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 5, "b": 5})
    for run in (root / "runs" / "pets-1", root / "mine"):
        run.mkdir(parents=True)
        for name in ("config.json", ".lock", "model.safetensors"):
            (run / name).write_text("{}")
    data = load_dataset(root)
    assert data.class_names == ("a", "b")
    assert any("mine, runs" in note for note in data.notes)


def test_images_to_judge_need_no_train_part(make_folder: MakeFolder) -> None:
    data = load_dataset(make_folder({"a": 4, "b": 4}))
    images, _ = load_images(make_folder({"test/a": 2, "test/b": 3}, name="only"), data.preprocess, data.class_names)
    assert images.counts == (2, 3)


def test_a_class_name_that_is_no_text(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 2, "b": 2})
    try:
        os.rename(os.fsencode(root / "b"), os.fsencode(root) + b"/\xff")  # noqa: PTH104 (bytes)
    except OSError:
        return  # this file system takes text only
    with pytest.raises(DataError, match="no text"):
        load_dataset(root)


def test_unreadable_files_are_named(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 6, "b": 3})
    for i in range(4):
        (root / "a" / f"{i:03}.png").write_bytes(b"" if i else b"GIF89a and no more")
    whole = (root / "b" / "001.png").read_bytes()
    (root / "b" / "001.png").write_bytes(whole[:-40])
    with pytest.raises(DataError, match=r"5 of 9 .*a/000\.png \(.*a/002\.png \(.* and 2 more; .*--skip-bad") as raised:
        load_dataset(root)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("cache", [True, False])
def test_skip_bad_leaves_them_out_and_says_so(make_folder: MakeFolder, cache: bool) -> None:
    root = make_folder({"a": 6, "b": 3})
    (root / "a" / "004.png").write_bytes(b"nonsense")
    for _ in range(2):  # the second time from the cache
        data = load_dataset(root, validation=0, test=0, skip_bad=True, cache=cache)
        assert data.unreadable == (("a/004.png", "not an image that Pillow knows"),)
        assert data.train.counts == (5, 3)
        assert "left out, unreadable (1): a/004.png" in data.notes
    with pytest.raises(DataError, match=r"a/004\.png \(not an image that Pillow knows\)"):
        load_dataset(root, cache=cache)


def test_nothing_readable(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 1, "b": 1})
    for path in root.glob("*/*.png"):
        path.write_bytes(b"nonsense")
    for skip_bad in (True, False):
        with pytest.raises(DataError, match=r"a/000\.png"):
            load_dataset(root, skip_bad=skip_bad)


def test_default_size_is_the_images_own_up_to_64(make_folder: MakeFolder) -> None:
    small = load_dataset(make_folder({"a": 3, "b": 3}, size=(64, 20), name="small")).preprocess
    assert (small.height, small.width, small.channels) == (20, 64, 3)
    large = load_dataset(make_folder({"a": 3, "b": 3}, size=(65, 20), name="large")).preprocess
    assert (large.height, large.width) == (64, 64)
    root = make_folder({"a": 3, "b": 3}, name="mixed")
    Image.new("RGB", (9, 8)).save(root / "a" / "x.png")
    assert load_dataset(root).preprocess.height == 64
    assert load_dataset(root, size=12).train.pixels.shape[1:] == (12, 12, 3)


def test_grey_only_if_all_are_grey(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 3, "b": 3}, colour=False)
    grey = load_dataset(root, validation=0, test=0)
    assert grey.preprocess.channels == 1
    Image.new("RGB", (8, 8), "red").save(root / "a" / "x.png")
    colour = load_dataset(root, validation=0, test=0)
    assert colour.preprocess.channels == 3
    np.testing.assert_array_equal(colour.train.pixels[0, ..., 0], grey.train.pixels[0, ..., 0])


def test_images_for_a_model(make_folder: MakeFolder) -> None:
    model = load_dataset(make_folder({"a": 3, "b": 3, "c": 3}))
    other = make_folder({"c": 2, "b": 1}, size=(30, 20), name="other")
    images, _ = load_images(other, model.preprocess, model.class_names)
    assert images.pixels.shape == (3, 8, 8, 3)
    assert images.labels.tolist() == [1, 2, 2]
    assert images.class_names == ("a", "b", "c")
    with pytest.raises(DataError, match="no class c; it has a, b"):
        load_images(other, model.preprocess, ("a", "b"))
    with pytest.raises(DataError, match="8 × 8 × 1, but 8 × 8 × 3 are needed"):
        load_images("digits", model.preprocess, model.class_names)


def test_images_for_a_model_are_the_test_part(make_folder: MakeFolder) -> None:
    root = make_folder({"train/a": 3, "train/b": 3, "test/a": 1, "test/b": 1})
    data = load_dataset(root)
    images, fingerprint = load_images(root, data.preprocess, data.class_names)
    assert fingerprint == data.fingerprint
    assert images.paths == ("test/a/000.png", "test/b/000.png")
