"""CIFAR's batches: as published, as Python writes such dicts today, and pickles that want to do something else."""

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveal.data import load_dataset
from foveal.data.sources.unpickle import read_pickle
from foveal.errors import DataError, UsageError

RANDOM = np.random.default_rng(0)
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Python2(pickle._Pickler):  # type: ignore[name-defined, misc]
    """Protocol 2 as Python 2 wrote it: text and bytes alike as strings of bytes."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, value: Any) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        head = b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<i", len(data))
        self.write(head + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def python2(value: Any) -> bytes:
    file = io.BytesIO()
    Python2(file, 2).dump(value)
    return file.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


DUMPS: dict[str, Callable[[Any], bytes]] = {
    "python2": python2,
    **{f"protocol{p}": lambda value, p=p: pickle.dumps(value, protocol=p) for p in range(5)},  # type: ignore[misc]
}


def images(count: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (count, 32, 32, 3), np.uint8)


def planes(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2).reshape(len(pixels), 3072))


def cifar10(dumps: Callable[[Any], bytes], byte_keys: bool = False) -> tuple[dict[str, bytes], np.ndarray, list[int]]:
    """Files, and the training pixels and labels that they hold."""
    files, pixels, labels = {}, [], []
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        x, y = images(20), RANDOM.permutation(20) % 10
        batch = {"batch_label": name, "labels": y.tolist(), "data": planes(x), "filenames": ["x.png"] * 20}
        files[name] = dumps({k.encode(): v for k, v in batch.items()} if byte_keys else batch)
        pixels.append(x)
        labels += y.tolist()
    files["batches.meta"] = dumps({"num_cases_per_batch": 10000, "label_names": list(NAMES), "num_vis": 3072})
    return files, np.concatenate(pixels[:5]), labels[:100]


def binary(x: np.ndarray, *labels: np.ndarray) -> bytes:
    return np.concatenate([*(y[:, None].astype(np.uint8) for y in labels), planes(x)], axis=1).tobytes()


def put(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("dumps", DUMPS)
@pytest.mark.parametrize("byte_keys", [False, True])
def test_cifar10_python(tmp_path: Path, dumps: str, byte_keys: bool) -> None:
    files, x, y = cifar10(DUMPS[dumps], byte_keys)
    data = load_dataset(put(tmp_path / "cifar-10-batches-py", files), validation=0)
    assert data.class_names == NAMES
    np.testing.assert_array_equal(data.train.pixels, x)
    assert data.train.labels.tolist() == y
    assert data.test is not None
    assert (len(data.test), data.name, data.notes, data.preprocess.resample) == (20, "cifar-10-batches-py", (), "none")


def test_cifar10_binary_is_the_same(tmp_path: Path) -> None:
    files, x, y = cifar10(python2)
    same = {
        f"data_batch_{i + 1}.bin": binary(x[20 * i : 20 * i + 20], np.array(y[20 * i : 20 * i + 20])) for i in range(5)
    }
    tested = read_pickle(files["test_batch"])
    pixels = tested["data"].reshape(20, 3, 32, 32).transpose(0, 2, 3, 1)
    same["test_batch.bin"] = binary(pixels, np.array(tested["labels"]))
    same["batches.meta.txt"] = "\n".join(NAMES).encode() + b"\n\n"
    a, b = load_dataset(put(tmp_path / "py", files)), load_dataset(put(tmp_path / "bin", same))
    assert (a.fingerprint, a.class_names) == (b.fingerprint, b.class_names)


@pytest.mark.parametrize("form", ["python", "binary"])
def test_cifar100_has_fine_labels(tmp_path: Path, form: str) -> None:
    x, fine, coarse = images(200), np.arange(200) % 100, np.arange(200) % 20
    names = [f"thing {i:02}" for i in range(100)]
    if form == "python":
        batch = {"fine_labels": fine.tolist(), "coarse_labels": coarse.tolist(), "data": planes(x)}
        meta = {"fine_label_names": names, "coarse_label_names": ["c"] * 20}
        files = {"train": python2(batch), "test": python2(batch), "meta": python2(meta)}
    else:
        data = binary(x, coarse, fine)
        files = {"train.bin": data, "test.bin": data, "fine_label_names.txt": "\n".join(names).encode()}
    data_set = load_dataset(put(tmp_path / "cifar-100", files), validation=0)
    assert data_set.class_names == tuple(names)
    np.testing.assert_array_equal(data_set.train.pixels, x)
    assert data_set.train.labels.tolist() == fine.tolist()


@pytest.mark.parametrize("name", ["cifar-10-python.tar.gz", "cifar.zip"])
def test_from_the_archive_as_published(tmp_path: Path, name: str) -> None:
    files, _, _ = cifar10(python2)
    folder = load_dataset(put(tmp_path / "cifar-10-batches-py", files))
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as packed:
            for file, data in files.items():
                packed.writestr(f"cifar-10-batches-py/{file}", data)
    else:
        with tarfile.open(tmp_path / name, "w:gz") as tar:
            tar.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    archive = load_dataset(tmp_path / name)
    assert (archive.fingerprint, archive.class_names) == (folder.fingerprint, folder.class_names)


def test_two_classes_of_one_name_are_refused(tmp_path: Path) -> None:
    files, *_ = cifar10(pickle.dumps)
    files["batches.meta"] = pickle.dumps({"label_names": [*NAMES[:9], "bird"]})
    with pytest.raises(DataError, match="several classes are named bird"):
        load_dataset(put(tmp_path / "cifar", files))


def test_a_part_of_it_is_said(tmp_path: Path) -> None:
    files, _, _ = cifar10(python2)
    del files["data_batch_3"], files["batches.meta"]
    data = load_dataset(put(tmp_path / "c", files), validation=0)
    assert (len(data.train), data.class_names[:2]) == (80, ("0", "1"))
    assert "CIFAR-10 python: data_batch_3, batches.meta are missing" in data.notes


class Evil:
    def __reduce__(self) -> Any:
        return (os.system, ("echo it was called > evil.txt",))


GOOD = {"data": planes(images(4)), "labels": [0, 1, 2, 3]}
BAD = {
    "a_function": (pickle.dumps(Evil()), r"it names 'posix system', which is not allowed"),
    "a_function_in_protocol_0": (pickle.dumps(Evil(), 0), "it names 'posix system', which is not allowed"),
    "builtins": (b"cbuiltins\neval\n(S'1'\ntR.", "it names 'builtins eval'"),
    "another_object": (pickle.dumps({"data": slice(3)}), "it names 'builtins slice'"),
    "protocol_5": (pickle.dumps(GOOD, 5), "it is of protocol 5; up to 4 are read"),
    "an_operation": (pickle.dumps({"data": 1.5}), "it uses the operation BINFLOAT, which is not allowed"),
    "persistent": (b"Pid\n.", "it uses the operation PERSID"),
    "objects": (pickle.dumps({"data": np.array([{}, 1], object)}), "only integers are read|not allowed"),
    "floats": (pickle.dumps({"data": np.ones(3)}), "it holds an array of float64; only integers are read"),
    "list": (pickle.dumps([1, 2]), "it holds list, not a dict"),
    "cut": (python2(GOOD)[:3000], "pickle|broken|expected"),
    "empty": (b"", "pickle exhausted before seeing STOP"),
    "text": (b"hello", "broken|opcode|not allowed|no newline|exhausted"),
    "stack": (b"\x80\x02RR.", "it is broken"),
    "a_lying_shape": (
        python2(GOOD).replace(b"K\x04M\x00\x0c\x86", b"K\x05M\x00\x0c\x86"),
        r"array of \(5, 3072\) that does not have so many bytes",
    ),
    "no_data": (pickle.dumps({"labels": [1]}, 2), "it has no data of uint8"),
    "other_shape": (pickle.dumps({**GOOD, "data": np.zeros((4, 3000), np.uint8)}, 2), "it has no data of uint8"),
    "labels_short": (pickle.dumps({**GOOD, "labels": [1, 2]}, 2), "it has no labels, one number for each of 4 images"),
    "labels_text": (pickle.dumps({**GOOD, "labels": ["a"] * 4}, 2), "it has no labels"),
    "labels_negative": (pickle.dumps({**GOOD, "labels": [-1, 0, 1, 2]}, 2), "labels must be 0 or more"),
    "labels_without_a_name": (pickle.dumps({**GOOD, "labels": [0, 1, 2, 10]}, 2), "a label 10, but names for only 10"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_nothing_is_called_and_what_is_wrong_is_said(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files, _, _ = cifar10(python2)
    content, says = BAD[case]
    files["data_batch_1"] = content
    with pytest.raises(DataError, match=says) as raised:
        load_dataset(put(tmp_path / "c", files))
    assert not (tmp_path / "evil.txt").exists()
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith((str(tmp_path / "c"), "c: "))


def test_a_pickle_that_grows_is_stopped() -> None:
    text = b"X" + struct.pack("<I", 1000) + b"a" * 1000 + b"q\x00" + b"X\x06\x00\x00\x00latin1q\x01"
    again = b"c_codecs\nencode\nh\x00h\x01\x86R"
    with pytest.raises(ValueError, match="it makes more bytes than it has"):
        read_pickle(b"\x80\x02" + text + again * 1000 + b".")


@pytest.mark.parametrize("cut", [1, 3073 - 1, 3073 * 2 + 5])
def test_binary_records_that_are_cut(tmp_path: Path, cut: int) -> None:
    data = binary(images(20), np.arange(20) % 10)
    files = {"data_batch_1.bin": data[:-cut], "test_batch.bin": data}
    with pytest.raises(DataError, match=r"data_batch_1\.bin is cut off or no batch of CIFAR-10 binary"):
        load_dataset(put(tmp_path / "c", files))


def test_flags_for_image_files_are_refused(tmp_path: Path) -> None:
    folder = put(tmp_path / "c", cifar10(python2)[0])
    with pytest.raises(UsageError, match="skip-bad would change nothing"):
        load_dataset(folder, skip_bad=True)
    with pytest.raises(UsageError, match="size: c holds arrays of 32 × 32"):
        load_dataset(folder, size=64)
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(DataError, match="is no tar archive"):
        load_dataset(tmp_path / "x.tar.gz")
