"""IDX files: there and back, compressed or not, and files that lie."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from foveal.data import load_dataset
from foveal.data.sources.idx import read_idx
from foveal.errors import DataError

X = np.random.default_rng(2).integers(0, 256, (30, 5, 4), np.uint8)
Y = (np.arange(30) % 3).astype(np.uint8)


def idx_bytes(array: NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)


def fashion_like(folder: Path, ending: str = ".gz") -> Path:
    folder.mkdir()
    for part, x in (("train", X), ("t10k", X[:9] ^ 1)):
        write(folder / f"{part}-images-idx3-ubyte{ending}", idx_bytes(x))
        write(folder / f"{part}-labels-idx1-ubyte{ending}", idx_bytes(Y[: len(x)]))
    return folder


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=3, max_size=3), st.booleans())
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, shape: list[int], packed: bool) -> None:
    array = np.random.default_rng(sum(shape)).integers(0, 256, shape, np.uint8)
    path = tmp_path_factory.mktemp("idx") / ("a-images-idx3-ubyte" + ".gz" * packed)
    write(path, idx_bytes(array))
    np.testing.assert_array_equal(read_idx(path, 3), array)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_folder_of_four_files(tmp_path: Path, ending: str) -> None:
    data = load_dataset(fashion_like(tmp_path / "Fashion MNIST", ending))
    assert data.test is not None
    assert data.validation is not None
    assert data.name == "fashion-mnist"
    assert (len(data.train), len(data.validation), len(data.test)) == (27, 3, 9)
    np.testing.assert_array_equal(data.test.pixels[..., 0], X[:9] ^ 1)


def test_one_images_file_with_its_labels_beside_it(tmp_path: Path) -> None:
    folder = fashion_like(tmp_path / "mnist")
    data = load_dataset(folder / "t10k-images-idx3-ubyte.gz", validation=0, test=0)
    assert (data.name, len(data.train), data.test) == ("mnist", 9, None)


def test_dots_in_names_and_gzip_without_its_ending(tmp_path: Path) -> None:
    (tmp_path / "train-images.idx3-ubyte").write_bytes(gzip.compress(idx_bytes(X)))
    write(tmp_path / "train-labels.idx1-ubyte", idx_bytes(Y))
    assert len(load_dataset(tmp_path, validation=0, test=0).train) == 30


@pytest.mark.parametrize("missing", ["train-labels", "t10k-labels"])
def test_missing_labels(tmp_path: Path, missing: str) -> None:
    folder = fashion_like(tmp_path / "mnist")
    (folder / f"{missing}-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match=f"has no {missing}-idx1-ubyte"):
        load_dataset(folder)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not an IDX file"),
        (b"\0\0\x08\x03\0\0", "not an IDX file"),
        (b"PK\x03\x04" + bytes(20), "not an IDX file"),
        (idx_bytes(Y), "not an IDX file|1 dimensions"),
        (bytes([0, 0, 13, 3]) + struct.pack(">3I", 1, 1, 1) + bytes(4), "type 13"),
        (idx_bytes(X)[:-1], r"30 × 5 × 4 = 600 bytes, but there are only 599"),
        (idx_bytes(X) + b"\0", "but there are more"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12 + b"few", "but there are only 3"),
    ],
    ids=["empty", "cut in the header", "a zip", "labels", "floats", "cut", "too long", "claims 2**96 bytes"],
)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_files_that_lie(tmp_path: Path, data: bytes, says: str, ending: str) -> None:
    path = tmp_path / f"train-images-idx3-ubyte{ending}"
    write(path, data)
    with pytest.raises(DataError, match=says) as raised:
        read_idx(path, 3)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("keep", [3, 15, 100])
def test_damaged_gzip(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(X))[:keep])
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(path, 3)
    path.write_bytes(bytes([0x1F, 0x8B, 8]) + b"\xff" * 50)
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(path, 3)


def test_counts_that_differ(tmp_path: Path) -> None:
    folder = fashion_like(tmp_path / "mnist")
    write(folder / "train-labels-idx1-ubyte.gz", idx_bytes(Y[:-1]))
    with pytest.raises(DataError, match="mnist: train: 30 images but 29 labels"):
        load_dataset(folder)


def test_fashion_mnist(data_dir: Path) -> None:
    data = load_dataset(data_dir / "fashion-mnist")
    assert data.test is not None
    assert data.validation is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (54000, 6000, 10000)
    assert data.validation.counts == (600,) * 10
    whole = load_dataset(data_dir / "fashion-mnist", validation=0).preprocess
    assert (round(whole.mean[0], 4), round(whole.deviation[0], 4)) == (0.2860, 0.3530)
