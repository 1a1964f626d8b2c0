"""Arrays, .npz files, digits, and sources that are none."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveal.data import load_dataset
from foveal.errors import DataError, UsageError

X = np.random.default_rng(1).integers(0, 256, (40, 6, 5), np.uint8)
Y = np.arange(40) % 4


def test_digits_are_the_1797_of_uci() -> None:
    data = load_dataset("digits", validation=0, test=0)
    assert data.name == "digits"
    assert data.train.pixels.shape == (1797, 8, 8, 1)
    assert data.train.counts == (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
    assert data.class_names == tuple("0123456789")
    assert set(np.unique(data.train.pixels).tolist()) == {(255 * v + 8) // 16 for v in range(17)}
    assert data.fingerprint == "051d46adebf1b698f88f0ea268c660b6641b4c0a5f3598bf1c870adc5df9f7f1"


def test_digits_split_80_10_10() -> None:
    data = load_dataset("digits")
    assert data.validation is not None
    assert data.test is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (1439, 179, 179)
    assert data.split.given == ("train",)
    assert data.split.drawn == ("test", "validation")


def test_arrays_of_grey_images_get_one_channel() -> None:
    data = load_dataset((X, Y), validation=0, test=0)
    assert data.train.pixels.shape == (40, 6, 5, 1)
    np.testing.assert_array_equal(data.train.pixels[..., 0], X)
    np.testing.assert_array_equal(data.train.labels, Y)
    assert (data.preprocess.height, data.preprocess.width, data.preprocess.resample) == (6, 5, "none")


def test_labels_name_the_classes_in_numerical_order() -> None:
    data = load_dataset((X, np.where(Y == 0, 12, Y)), validation=0, test=0)
    assert data.class_names == ("1", "2", "3", "12")
    assert data.train.labels[:4].tolist() == [3, 0, 1, 2]


def test_labels_may_be_a_column() -> None:
    assert load_dataset((X, Y[:, None].astype(np.uint8)), validation=0, test=0).train.labels.tolist() == Y.tolist()


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (X.astype(np.float32), Y, "must be uint8 from 0 to 255, not float32"),
        (X.astype(object), Y, "must be uint8 from 0 to 255, not object"),
        (X[0], Y, r"must be \(N, H, W\)"),
        (np.zeros((40, 6, 5, 4), np.uint8), Y, r"not \(40, 6, 5, 4\)"),
        (X[:0], Y[:0], "no pixels"),
        (X, Y[:39], "40 images but 39 labels"),
        (X, Y.astype(np.float64), "labels must be integers, not float64"),
        (X, np.eye(40, 4, dtype=int), "train: each image has 4 labels; foveal learns one class for an image"),
        (X, Y - 1, "0 or more"),
        (X, Y * 0, "at least 2 classes are needed, there is 0"),
        ([[1], [1, 2]], Y, "this is no array"),
    ],
)
def test_bad_arrays_are_one_clear_line(x: Any, y: Any, says: str) -> None:
    with pytest.raises(DataError, match=says) as raised:
        load_dataset((x, y))
    assert "\n" not in str(raised.value)


def test_arrays_are_not_resized() -> None:
    with pytest.raises(UsageError, match="6 × 5"):
        load_dataset((X, Y), size=32)
    square = np.repeat(X[:, :5], 1, axis=1)
    assert load_dataset((square, Y), size=5).preprocess.height == 5


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("x", "y", "x_test", "y_test"),
    ],
)
def test_npz_conventions(tmp_path: Path, names: tuple[str, ...]) -> None:
    arrays = dict(zip(names, (X, Y, X[:8] ^ 1, Y[:8]), strict=True))
    np.savez_compressed(tmp_path / "Some Data.npz", **arrays)
    data = load_dataset(tmp_path / "Some Data.npz", validation=0.2)
    assert data.test is not None
    assert data.validation is not None
    assert data.name == "some-data"
    assert (len(data.train), len(data.validation), len(data.test)) == (32, 8, 8)
    assert data.split.to_json() == {
        "given": ["train", "test"],
        "drawn": ["validation"],
        "validation": 0.2,
        "test": None,
        "seed": 0,
        "group_by": None,
        "fraction": None,
    }


@pytest.mark.parametrize("colour", [False, True])
def test_medmnist(tmp_path: Path, colour: bool) -> None:
    x = np.random.default_rng(2).integers(0, 256, (60, 28, 28, 3) if colour else (60, 28, 28), np.uint8)
    y = (np.arange(60) % 3)[:, None].astype(np.uint8)
    parts = {"train": slice(0, 40), "val": slice(40, 50), "test": slice(50, 60)}
    arrays = {f"{part}_images": x[where] for part, where in parts.items()}
    arrays |= {f"{part}_labels": y[where] for part, where in parts.items()}
    np.savez(tmp_path / "bloodmnist.npz", **arrays)
    data = load_dataset(tmp_path / "bloodmnist.npz")
    assert {part: len(images) for part, images in data.parts.items()} == {"train": 40, "validation": 10, "test": 10}
    assert data.train.pixels.shape == (40, 28, 28, 3 if colour else 1)
    assert data.train.labels.tolist() == y[:40, 0].tolist()
    several = {
        name: np.eye(14, dtype=np.uint8)[v[:, 0]] if name.endswith("labels") else v for name, v in arrays.items()
    }
    np.savez(tmp_path / "chestmnist.npz", **several)
    with pytest.raises(DataError, match=r"chestmnist: train: each image has 14 labels; foveal learns one class"):
        load_dataset(tmp_path / "chestmnist.npz")


def test_npz_with_its_own_validation_part(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", train_images=X, train_labels=Y, val_images=X[:8] ^ 1, val_labels=Y[:8], extra=Y)
    data = load_dataset(tmp_path / "a.npz")
    assert data.validation is not None
    assert (len(data.train), len(data.validation), data.test) == (40, 8, None)
    assert data.notes == ("arrays that were not used: extra",)
    without = load_dataset(tmp_path / "a.npz", validation=0)
    assert without.validation is None
    assert "8 given validation images are not used" in " ".join(without.notes)
    assert without.fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x_train": X}, "has x_train but no y_train"),
        ({"y_test": Y, "x": X, "y": Y}, "has y_test but no x_test"),
        ({"pictures": X}, "holds pictures; needed are x_train, y_train"),
        ({"x": X, "y": Y, "x_train": X, "y_train": Y}, "both x_train and x"),
        ({"x": np.array([{}, 1]), "y": Y}, "Python objects, which are never unpickled"),
        ({"x": X, "y": Y, "x_test": X[:, :5], "y_test": Y}, "different shapes"),
        ({"x_test": X, "y_test": Y}, "has nothing to train on, only a part for test"),
        ({"x": X[1:2], "y": Y[1:2], "x_test": X, "y_test": Y}, "the train part has no images of class 0, 2, 3"),
    ],
)
def test_bad_npz_is_one_clear_line(tmp_path: Path, arrays: dict[str, Any], says: str) -> None:
    np.savez(tmp_path / "bad.npz", allow_pickle=True, **arrays)
    with pytest.raises(DataError, match=says) as raised:
        load_dataset(tmp_path / "bad.npz")
    assert "bad" in str(raised.value)


@pytest.mark.parametrize("keep", [0, 1, 30, 500, -30])
def test_npz_cut_short(tmp_path: Path, keep: int) -> None:
    np.savez(tmp_path / "cut.npz", x=X, y=Y)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:keep])
    with pytest.raises(DataError, match=r"cut\.npz"):
        load_dataset(tmp_path / "cut.npz")


def test_npz_whose_array_claims_to_be_huge(tmp_path: Path) -> None:
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 28, 28), }".ljust(117) + "\n"
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"few"
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as file:
        file.writestr("x.npy", member)
        file.writestr("y.npy", member)
    with pytest.raises(DataError, match="x cannot be read"):
        load_dataset(tmp_path / "huge.npz")


def test_npz_that_is_npy(tmp_path: Path) -> None:
    with (tmp_path / "one.npz").open("wb") as file:
        np.save(file, X)
    with pytest.raises(DataError, match="is not a zip archive of arrays"):
        load_dataset(tmp_path / "one.npz")


def test_a_path_that_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no digit; did you mean digits"):
        load_dataset("digit")
    with pytest.raises(DataError, match="there is no"):
        load_dataset("")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match=r"none of: a folder of IDX files .* digits"):
        load_dataset(tmp_path / "notes.txt")
    for name in ("pets.tar.zst", "pets.7z", "pets.RAR"):
        (tmp_path / name).write_text("hello")
        with pytest.raises(DataError, match=f"{name} is packed in a way that foveal does not read: unpack it, or"):
            load_dataset(tmp_path / name)


def test_arguments_out_of_range() -> None:
    for wrong in ({"validation": -0.1}, {"test": 1.0}, {"validation": 0.5, "test": 0.5}, {"size": 0}, {"size": True}):
        with pytest.raises(UsageError):
            load_dataset((X, Y), **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"\(x, y\)"):
        load_dataset((X, Y, X))  # type: ignore[arg-type]
