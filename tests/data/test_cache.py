"""The cache: found again, never wrong, never in the way."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.data import cache, decode, load_dataset, pipeline
from foveal.data.sources import files

MakeFolder = Callable[..., Path]
PIXELS = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of files of each call of decode_files."""
    counts: list[int] = []

    def counted(*arguments):  # type: ignore[no-untyped-def]
        results = pipeline.decode_files(*arguments)
        counts.append(len(results))
        return results

    monkeypatch.setattr(files, "decode_files", counted)
    return counts


def cached_files() -> list[Path]:
    return sorted(cache.cache_folder().glob("*")) if cache.cache_folder().exists() else []


def test_the_second_time_nothing_is_decoded(make_folder: MakeFolder, decodings: list[int]) -> None:
    root = make_folder({"a": 4, "b": 4})
    first, second = load_dataset(root), load_dataset(root)
    assert decodings == [8]
    assert first.fingerprint == second.fingerprint
    assert first.train.paths == second.train.paths
    assert first.preprocess == second.preprocess


def test_another_size_is_another_file(make_folder: MakeFolder, decodings: list[int]) -> None:
    root = make_folder({"a": 4, "b": 4})
    assert load_dataset(root, size=8).train.pixels.shape[1] == 8
    assert load_dataset(root, size=16).train.pixels.shape[1] == 16
    assert load_dataset(root, size=8, seed=4).train.pixels.shape[1] == 8
    assert decodings == [8, 8]
    assert len(cached_files()) == 2


@pytest.mark.parametrize("change", ["content", "added", "removed", "renamed"])
def test_a_changed_folder_is_decoded_again(make_folder: MakeFolder, decodings: list[int], change: str) -> None:
    root = make_folder({"a": 5, "b": 5})
    before = load_dataset(root).fingerprint
    path = root / "a" / "000.png"
    if change == "content":
        Image.new("RGB", (8, 8)).save(path)
    elif change == "added":
        Image.new("RGB", (8, 8)).save(root / "a" / "x.png")
    elif change == "removed":
        path.unlink()
    else:
        path.rename(root / "a" / "zzz.png")
    assert load_dataset(root).fingerprint != before
    assert len(decodings) == 2


def test_equal_names_sizes_and_times_are_not_mistaken(make_folder: MakeFolder) -> None:
    root = make_folder({"a": 4, "b": 4})
    for path in root.glob("*/*.png"):
        Image.fromarray(np.asarray(Image.open(path))).save(path.with_suffix(".bmp"))
        path.unlink()
    before = load_dataset(root).fingerprint
    target = root / "a" / "000.bmp"
    status = target.stat()
    Image.new("RGB", (8, 8), "red").save(target)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert target.stat().st_size == status.st_size
    assert load_dataset(root).fingerprint != before


def test_cache_false_writes_nothing(make_folder: MakeFolder, decodings: list[int]) -> None:
    root = make_folder({"a": 4, "b": 4})
    load_dataset(root, cache=False)
    load_dataset(root, cache=False)
    assert decodings == [8, 8]
    assert cached_files() == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: b"[" + data[1:],
        lambda data: data[:-5] + bytes([data[-5] ^ 1]) + data[-4:],
        lambda data: b"[]\n" + data,
    ],
    ids=["empty", "cut", "longer", "head", "one bit", "other JSON"],
)
def test_a_damaged_file_is_decoded_again(
    make_folder: MakeFolder, decodings: list[int], damage: Callable[[bytes], bytes]
) -> None:
    root = make_folder({"a": 4, "b": 4})
    before = load_dataset(root).fingerprint
    (file,) = cached_files()
    file.write_bytes(damage(file.read_bytes()))
    assert load_dataset(root).fingerprint == before
    assert load_dataset(root).fingerprint == before
    assert decodings == [8, 8]


def test_a_folder_that_cannot_be_written(make_folder: MakeFolder, cache_home: Path, decodings: list[int]) -> None:
    (cache_home / "foveal").write_text("a file where the folder should be")  # also when tests run as root
    root = make_folder({"a": 4, "b": 4})
    assert load_dataset(root).fingerprint == load_dataset(root).fingerprint
    assert decodings == [8, 8]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    np.testing.assert_array_equal(cache.store(tmp_path, "k", {}, PIXELS), PIXELS)
    assert list(tmp_path.iterdir()) == []


def test_large_ones_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LARGE", 10)
    stored = cache.store(tmp_path, "k", {"bad": {"1": "why"}}, PIXELS)
    found = cache.fetch(tmp_path, "k")
    assert found is not None
    for pixels in (stored, found[1]):
        assert isinstance(pixels, np.memmap)
        assert not pixels.flags.writeable
        np.testing.assert_array_equal(pixels, PIXELS)
    assert found[0] == {"bad": {"1": "why"}}


def test_a_data_set_on_a_map_trains_from_the_map(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folder({f"{part}/{c}": 3 for part in ("train", "val", "test") for c in "ab"})
    before = load_dataset(root)
    monkeypatch.setattr(cache, "LARGE", 10)
    mapped = load_dataset(root)
    assert mapped.fingerprint == before.fingerprint
    assert mapped.test is not None
    for images in (mapped.train, mapped.test):
        assert not images.pixels.flags.owndata
        assert not images.pixels.flags.writeable
    np.testing.assert_array_equal(mapped.test.pixels, before.test.pixels if before.test else ())


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    size = 4096 + PIXELS.nbytes
    for key in "abc":
        cache.store(tmp_path, key, {}, PIXELS, limit=3 * size)
        os.utime(tmp_path / f"{key}.pixels", (1, ord(key)))
    assert cache.fetch(tmp_path, "a") is not None  # now the most recently used
    cache.store(tmp_path, "d", {}, PIXELS, limit=3 * size)
    assert sorted(p.stem for p in tmp_path.iterdir()) == ["a", "c", "d"]


def test_what_is_larger_than_the_limit_is_not_stored(tmp_path: Path) -> None:
    assert cache.store(tmp_path, "k", {}, PIXELS, limit=100) is PIXELS
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_killed_processes_go(tmp_path: Path) -> None:
    for name, age in (("old.tmp", 1), ("other.txt", 1)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (age, age))
    (tmp_path / "new.tmp").write_bytes(b"x")
    cache.store(tmp_path, "k", {}, PIXELS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["k.pixels", "new.tmp", "other.txt"]


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache.cache_folder().parts[-2:] == ("foveal", "decoded")
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", value)
        assert cache.cache_folder() == tmp_path / ".cache" / "foveal" / "decoded"


def test_a_moved_folder_is_found_again(make_folder: MakeFolder, decodings: list[int], tmp_path: Path) -> None:
    root = make_folder({"a": 4, "b": 4})
    load_dataset(root)
    shutil.move(root, tmp_path / "moved")
    load_dataset(tmp_path / "moved")
    assert decodings == [8]


def test_files_that_may_still_change_unnoticed_are_not_kept(
    make_folder: MakeFolder, decodings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock of two seconds: a file that was just written could be written again within the same tick."""
    monkeypatch.setattr(cache, "TICK", 2_000_000_000)
    root = make_folder({"a": 4, "b": 4})
    load_dataset(root)
    assert cached_files() == []
    monkeypatch.setattr(cache.time, "time_ns", lambda: (root / "a" / "000.png").stat().st_mtime_ns + 3_000_000_000)
    load_dataset(root)
    load_dataset(root)
    assert decodings == [8, 8]


def test_equal_names_sizes_and_times_in_another_place_are_other_files(tmp_path: Path) -> None:
    keys = []
    for place in ("x", "y"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "a.png").write_bytes(b"same size")
    for place in ("x", "y"):
        os.utime(tmp_path / place / "a.png", ns=(10**18, 10**18))
        keys.append(cache.cache_key(tmp_path / place, ["a.png"], {}))
    assert None not in keys
    assert keys[0] != keys[1]


def test_an_error_that_may_pass_is_not_kept(
    make_folder: MakeFolder, decodings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"a": 4, "b": 4})
    read = decode.read_picture

    def busy(path: Path, wanted: decode.Wanted) -> decode.Picture:
        if path.name == "001.png":
            raise OSError(24, "Too many open files")
        return read(path, wanted)

    monkeypatch.setattr(pipeline, "read_picture", busy)
    reason = "too many open files"
    assert load_dataset(root, skip_bad=True).unreadable == (("a/001.png", reason), ("b/001.png", reason))
    monkeypatch.setattr(pipeline, "read_picture", read)
    assert load_dataset(root, skip_bad=True).unreadable == ()


def test_a_cache_that_may_only_be_read_is_used(
    make_folder: MakeFolder, decodings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"a": 4, "b": 4})
    load_dataset(root)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache.os, "utime", refuse)
    load_dataset(root)
    assert decodings == [8]
    assert len(cached_files()) == 1
