"""foveal inspect: what it says is what training does."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.data import load_dataset


@pytest.fixture
def flowers(pictures: Path, tmp_path: Path) -> Path:
    """A folder with a file that cannot be read, equal images with equal and other labels, and a rare class."""
    root = tmp_path / "my flowers"
    shutil.copytree(pictures, root)
    for number in range(30):
        pixels = np.full((8, 8 + number % 2), number, np.uint8)
        Image.fromarray(pixels).save(root / "dark" / f"more{number}.jpg")
    (root / "light" / "broken.png").write_bytes(b"no image")
    shutil.copy(root / "light" / "3.png", root / "light" / "again.png")
    shutil.copy(root / "light" / "4.png", root / "dark" / "other.png")
    return root


def facts(foveal: Callable, *arguments: object) -> dict:
    result = foveal("inspect", *arguments, "--json")
    assert (result.code, result.err) == (0, ""), result
    return dict(json.loads(result.out))


def test_json(foveal: Callable, flowers: Path) -> None:
    seen = facts(foveal, flowers)
    assert seen["classes"] == ["dark", "light"]
    assert seen["counts"] == {"dark": 43, "light": 13}
    assert {part: sum(counts.values()) for part, counts in seen["parts"].items()} == {
        "train": 46, "validation": 5, "test": 5,
    }  # fmt: skip
    assert seen["unreadable"] == [{"path": "light/broken.png", "reason": "not an image that Pillow knows"}]
    assert (seen["duplicates"]["count"], seen["duplicates"]["contradicting"]) == (2, 1)
    groups = [{(copy["path"], copy["label"]) for copy in group} for group in seen["duplicates"]["groups"]]
    assert {("dark/other.png", "dark"), ("light/4.png", "light")} in groups
    assert {("light/3.png", "light"), ("light/again.png", "light")} in groups
    split = seen["split"]
    assert (split["given"], split["drawn"], split["seed"]) == (["train"], ["test", "validation"], 0)
    assert seen["input_shape"] == [1, 64, 64]
    assert seen["files"]["formats"] == {"PNG": 26, "JPEG": 30}
    assert seen["imbalance"]["largest"] == "dark"
    assert seen["imbalance"]["ratio"] > 3
    assert seen["model"]["name"] == "lenet"
    assert "fewer than 1,000 images" in seen["model"]["reason"]


def test_the_command_trains_on_what_was_seen(foveal: Callable, flowers: Path) -> None:
    seen = facts(foveal, flowers, "--seed", 7, "--size", 9, "--validation", 0.2)
    words = shlex.split(seen["train_command"])
    assert words == [
        "foveal", "train", str(flowers), "--seed", "7", "--size", "9", "--validation", "0.2", "--skip-bad",
    ]  # fmt: skip
    assert f"train with   {seen['train_command']}" in foveal("inspect", *words[2:-1]).out
    result = foveal(*words[1:], "--epochs", 1, "--out", "run", "--json")
    assert json.loads(result.out)["data_fingerprint"] == seen["data_fingerprint"]
    assert json.loads(result.out)["model"] == seen["model"]["name"]
    config = json.loads(Path("run/config.json").read_text())
    assert config["data"]["split"] == seen["split"]
    assert config["data"]["counts"] == {part: sum(counts.values()) for part, counts in seen["parts"].items()}


def test_flags_show(foveal: Callable, flowers: Path) -> None:
    seen, others = facts(foveal, flowers), facts(foveal, flowers, "--validation", 0)
    assert list(others["parts"]) == ["train", "test"]
    assert others["parts"]["test"] == seen["parts"]["test"]
    assert facts(foveal, flowers, "--size", 20)["input_shape"] == [1, 20, 20]
    assert facts(foveal, flowers, "--seed", 1)["split"]["seed"] == 1


def test_groups_stay_together(foveal: Callable, flowers: Path) -> None:
    pattern = r"(\d|again|other)\D*$"
    seen = facts(foveal, flowers, "--group-by", pattern)
    assert seen["split"]["group_by"] == pattern
    assert shlex.split(seen["train_command"])[3:5] == ["--group-by", pattern]
    assert seen["parts"] != facts(foveal, flowers)["parts"]


def test_words(foveal: Callable, flowers: Path) -> None:
    result = foveal("inspect", flowers)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0].startswith("my-flowers: 56 images, 2 classes, 64×64 grey as the network sees them; fingerprint ")
    for line in (
        "sizes        smallest 8×8, median 8×8, largest 9×8",
        "kinds        30 JPEG, 26 PNG; 56 L",
        "unreadable   1 file is left out",
        "             light/broken.png: not an image that Pillow knows",
        "duplicates   2 images equal another; 1 of them with another label:",
        "             dark/other.png (dark) = light/4.png (light)",
        "split        test 10.0 %, validation 10.0 %, drawn from train by class with seed 0",
    ):
        assert line in lines
    assert "balance      uneven: dark has " in result.out
    assert "model        --model lenet: there are fewer than 1,000 images" in result.out
    assert lines[-1] == f"train with   foveal train '{flowers}' --skip-bad"


def test_what_needs_no_files(foveal: Callable) -> None:
    seen = facts(foveal, "digits")
    data = load_dataset("digits")
    assert seen["data_fingerprint"] == data.fingerprint
    assert seen["parts"]["train"] == dict(zip(data.class_names, data.train.counts, strict=True))
    assert (seen["files"], seen["unreadable"], seen["duplicates"]["count"]) == (None, [], 0)
    assert seen["train_command"] == "foveal train digits"
    out = foveal("inspect", "digits").out
    assert "duplicates   none" in out
    assert "balance      even: 140 to 147 images a class to train on" in out


def test_a_given_split_and_what_leaks(foveal: Callable, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures, tmp_path / "set" / "train")
    for label in ("dark", "light"):
        (tmp_path / "set" / "test" / label).mkdir(parents=True)
        shutil.copy(pictures / label / "0.png", tmp_path / "set" / "test" / label)
    out = foveal("inspect", "set").out
    assert "split        train, test as given; validation 10.0 %, drawn from train by class with seed 0" in out
    assert "duplicates   2 images equal another; 2 of test also in train:" in out
    assert facts(foveal, "set")["duplicates"]["across_parts"] == {"test in train": 2}


def test_it_writes_nothing(foveal: Callable, flowers: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    foveal("inspect", flowers)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_cannot_be_trained_on_is_said(foveal: Callable, tmp_path: Path) -> None:
    (tmp_path / "one" / "a").mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "one" / "a" / "a.png")
    x, y = np.zeros((8, 8, 8), np.uint8), np.arange(8) % 2
    np.savez(tmp_path / "other.npz", x_train=x, y_train=y, x_test=x, y_test=y + 1)
    np.savez(tmp_path / "given.npz", x_train=x, y_train=y, x_val=x, y_val=y)
    for arguments, code, words in (
        (("missing",), 1, "there is no missing"),
        (("one",), 1, "at least 2 classes are needed"),
        (("other.npz",), 1, "other: the train part has no images of class 2"),
        (("given.npz", "--validation", 0.3), 2, "--validation would change nothing"),
        (("digits", "--size", 9), 2, "size: digits holds arrays"),
        (("digits", "--epochs", 9), 2, "foveal inspect has no flag --epochs; --epochs belongs to foveal train"),
    ):
        result = foveal("inspect", *arguments)
        assert (result.code, result.out) == (code, "")
        assert result.err.startswith("foveal: ")
        assert words in result.err
