"""Files of a run: atomic writing, the lock, the run folder, arrays with one metadata entry."""

import hashlib
import json
import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from foveal.errors import RunError, UsageError
from foveal.run.atomic import write_atomic
from foveal.run.checkpoint import EpochRow, Progress, pack_checkpoint, read_checkpoint
from foveal.run.folder import RunFolder, read_json
from foveal.run.lock import locked
from foveal.run.tensors import FORMAT, KEY, canonical, pack, unpack

ARRAYS = {"b.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.zeros(3, np.float32)}


def test_atomic_write_replaces(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"cannot write .*file: No space left on device"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_lock_refuses_a_second_holder_in_one_line(tmp_path: Path) -> None:
    with locked(tmp_path):
        with pytest.raises(
            RunError, match=f"is in use by process {os.getpid()}; wait until it ends or stop it"
        ) as caught:
            locked(tmp_path).__enter__()
        assert "\n" not in str(caught.value)
    with locked(tmp_path):
        pass


def _hold(path: Path, ready: "multiprocessing.synchronize.Event") -> None:  # type: ignore[name-defined]
    with locked(path):
        ready.set()
        signal_never = multiprocessing.Event()
        signal_never.wait()


def test_the_lock_is_free_after_its_holder_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    child = context.Process(target=_hold, args=(tmp_path, ready))
    child.start()
    try:
        assert ready.wait(30)
        with pytest.raises(RunError, match=f"process {child.pid}"):
            locked(tmp_path).__enter__()
    finally:
        child.kill()
        child.join()
    with locked(tmp_path):
        pass


def test_run_folders_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [str(RunFolder.create("my flowers/").path) for _ in range(2)] == ["runs/my-flowers-1", "runs/my-flowers-2"]
    assert str(RunFolder.create("..").path) == "runs/run-1"


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_existing_target_is_refused(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out"
    target.mkdir() if kind == "folder" else target.write_text("")
    with pytest.raises(UsageError, match="exists already"):
        RunFolder.create("x", target)


@pytest.mark.parametrize("text", ["{", "[1]", "nonsense", "\udcff"])
def test_damaged_json_is_one_clear_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RunError, match=r"config\.json is damaged"):
        read_json(path)


def test_a_folder_without_config_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"is not a run folder: it has no config\.json"):
        RunFolder.open(tmp_path)
    with pytest.raises(RunError, match="there is no run folder"):
        RunFolder.open(tmp_path / "missing")


def test_arrays_and_record_come_back(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(pack("model", ARRAYS, {"names": ["ü", "\udcff"], "value": 0.1}))
    arrays, record = unpack("model", path)
    assert {name: array.tolist() for name, array in arrays.items()} == {n: a.tolist() for n, a in ARRAYS.items()}
    assert record["names"] == ["ü", "\udcff"]
    assert record["value"] == 0.1


def test_equal_content_gives_equal_bytes_whatever_the_order() -> None:
    backwards = dict(reversed(ARRAYS.items()))
    one, other = pack("model", ARRAYS, {"x": 1, "y": 2}), pack("model", backwards, {"y": 2, "x": 1})
    assert one == other
    assert pack("model", {**ARRAYS, "a": np.ones(3, np.float32)}, {"x": 1, "y": 2}) != one


def test_a_transposed_array_is_stored_as_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(pack("model", {"t": ARRAYS["b.weight"].T}, {}))
    assert unpack("model", path)[0]["t"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_scalars_keep_their_shape(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(pack("model", {"n": np.zeros((), np.int64)}, {}))
    assert unpack("model", path)[0]["n"].shape == ()


def foreign(kind: str) -> bytes:
    """Files that must be refused."""
    from safetensors.numpy import save

    good = pack("model", ARRAYS, {})
    record = json.loads(good[8 : good.index(b'"a":{')].decode().rstrip(",") + "}")["__metadata__"][KEY]
    newer = canonical({**json.loads(record), "format": FORMAT + 1})
    flipped = bytearray(good)
    flipped[-1] ^= 1
    return {
        "empty": b"",
        "text": b"hello",
        "truncated": good[:-4],
        "longer": good + b"\0",
        "flipped bit": bytes(flipped),
        "pickle": b"\x80\x04K\x01.",
        "no entry": save(dict(ARRAYS)),
        "other entry": save(dict(ARRAYS), {"format": "pt"}),
        "entry is no JSON": save(dict(ARRAYS), {KEY: "{"}),
        "entry is no object": save(dict(ARRAYS), {KEY: "3"}),
        "entry is too deep": save(dict(ARRAYS), {KEY: "[" * 100_000}),
        "newer": save(dict(ARRAYS), {KEY: newer}),
        "of another kind": pack("checkpoint", ARRAYS, {}),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "is damaged or not a safetensors file"),
        ("text", "is damaged or not a safetensors file"),
        ("truncated", "is damaged or not a safetensors file"),
        ("longer", "is damaged or not a safetensors file"),
        ("pickle", "is damaged or not a safetensors file"),
        ("flipped bit", "is damaged: its content does not match its digest"),
        ("no entry", "was not written by foveal"),
        ("other entry", "was not written by foveal"),
        ("entry is no JSON", "its metadata cannot be read"),
        ("entry is no object", "its metadata cannot be read"),
        ("entry is too deep", "its metadata cannot be read"),
        ("newer", r"was written by a newer version of foveal \(format 2, known up to 1\)"),
        ("of another kind", "is a foveal checkpoint, not a model"),
    ],
)
def test_foreign_and_damaged_files_are_refused_in_one_line(tmp_path: Path, kind: str, message: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(foreign(kind))
    with pytest.raises(RunError, match=message) as caught:
        unpack("model", path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no file"):
        unpack("model", tmp_path / "missing")


def test_progress_comes_back_bit_for_bit(tmp_path: Path) -> None:
    row = EpochRow(1, 45, 0.1 + 0.2, 1 / 3, 0.25, float("inf"), None, 1.5, 1e4)
    progress = Progress(
        epoch=1, step=3, updates=48, loss_sum=1e-310, correct=5, seen=9, best_epoch=1, best_loss=2 / 3, rows=[row]
    )
    path = tmp_path / "last.safetensors"
    path.write_bytes(pack_checkpoint(ARRAYS, progress))
    state, back = read_checkpoint(path)
    assert back == progress
    assert state["b.weight"].tobytes() == ARRAYS["b.weight"].tobytes()


@pytest.mark.parametrize("record", [{}, {"progress": 3}, {"progress": {"mystery": 1}}, {"progress": {"rows": [{}]}}])
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path, record: dict[str, object]) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes(pack("checkpoint", ARRAYS, record))
    with pytest.raises(RunError, match="does not fit this version of foveal"):
        read_checkpoint(path)


def test_the_hash_of_the_model_is_that_of_its_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.model_sha256() is None
    assert folder.write_model(b"abc") == folder.model_sha256() == hashlib.sha256(b"abc").hexdigest()
