"""foveal predict: which files it takes, what it prints of them, and what happens when some cannot be read."""

import csv
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(pictures: Path, tmp_path: Path) -> Path:
    """A folder with a few images in folders, a text file, a dot-file, and one image that cannot be read."""
    root = tmp_path / "photos"
    (root / "inner").mkdir(parents=True)
    shutil.copy(pictures / "dark" / "0.png", root / "b.png")
    shutil.copy(pictures / "light" / "0.png", root / "inner" / "a.PNG")
    shutil.copy(pictures / "light" / "1.png", root / "日本 語.png")
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.png").write_bytes(b"no image")
    return root


@pytest.fixture
def model(foveal: Callable, pictures: Path, tmp_path: Path) -> Path:
    small = ("--model", "mlp", "--width", "0.1", "--lr", "0.02", "--epochs", "2")
    assert foveal("train", pictures, *small, "--out", tmp_path / "model").code == 0
    return tmp_path / "model"


def predictions(result: object) -> list[dict]:
    assert result.code == 0, result  # type: ignore[attr-defined]
    return list(json.loads(result.out)["predictions"])  # type: ignore[attr-defined]


def test_a_folder_stands_for_the_images_below_it(foveal: Callable, model: Path, photos: Path) -> None:
    found = predictions(foveal("predict", model, "photos", "--json"))
    assert [p["path"] for p in found] == ["photos/b.png", "photos/inner/a.PNG", "photos/日本 語.png"]
    assert [p["label"] for p in found] == ["dark", "light", "light"]


def test_a_pattern_that_the_shell_left_alone(foveal: Callable, model: Path, photos: Path) -> None:
    assert len(predictions(foveal("predict", model, "photos/*.png", "--json"))) == 2
    assert len(predictions(foveal("predict", model, "photos/**/*.PNG", "--json"))) == 1
    shutil.copy(photos / "b.png", photos / "[x]*.png")
    assert [p["path"] for p in predictions(foveal("predict", model, "photos/[x]*.png", "--json"))] == [
        "photos/[x]*.png"
    ]


def test_probabilities_are_those_of_all_classes(foveal: Callable, trained: Path, pictures: Path) -> None:
    found = predictions(foveal("predict", trained, pictures, "--top", 10, "--json"))
    assert len(found) == 24
    for prediction in found:
        labels, shares = zip(*prediction["top"], strict=True)
        assert sum(shares) == pytest.approx(1, abs=1e-12)
        assert sorted(labels) == list("0123456789")
        assert list(shares) == sorted(shares, reverse=True)
        assert (prediction["label"], prediction["probability"]) == (labels[0], shares[0])


def test_top_is_at_most_all_classes(foveal: Callable, trained: Path, pictures: Path) -> None:
    files = [pictures / "dark" / "0.png", pictures / "dark" / "1.png"]
    for given, named in (((), 3), (("--top", 1), 1), (("--top", 99), 10)):
        found = predictions(foveal("predict", trained, *files, *given, "--json"))
        assert [len(p["top"]) for p in found] == [named, named]


def test_an_image_is_predicted_the_same_alone_and_among_others(foveal: Callable, trained: Path, pictures: Path) -> None:
    together = predictions(foveal("predict", trained, pictures, "--json"))
    alone = [predictions(foveal("predict", trained, p["path"], "--json"))[0] for p in together[:5]]
    assert alone == together[:5]


def test_csv_says_what_json_says(foveal: Callable, model: Path, photos: Path) -> None:
    found = predictions(foveal("predict", model, photos, "--json"))
    rows = list(csv.DictReader(io.StringIO(foveal("predict", model, photos, "--csv").out)))
    assert list(rows[0]) == ["path", "label", "probability"]
    assert [(row["path"], row["label"]) for row in rows] == [(p["path"], p["label"]) for p in found]
    assert [float(row["probability"]) for row in rows] == pytest.approx([p["probability"] for p in found], abs=1e-6)


def test_files_that_cannot_be_read_stop_everything_or_are_left_out(foveal: Callable, model: Path, photos: Path) -> None:
    (photos / "c.png").write_bytes(b"no image")
    for form in ((), ("--json",), ("--csv",)):
        result = foveal("predict", model, photos, *form)
        assert (result.code, result.out) == (1, "")
        assert result.err == (
            "foveal: 1 of 4 images cannot be read: "
            f"{photos / 'c.png'} (not an image that Pillow knows); --skip-bad leaves them out\n"
        )
    result = foveal("predict", model, photos, "--skip-bad", "--json")
    assert result.err == f"note: 1 of 4 images cannot be read: {photos / 'c.png'} (not an image that Pillow knows)\n"
    assert len(predictions(result)) == 3
    unreadable = [{"path": str(photos / "c.png"), "reason": "not an image that Pillow knows"}]
    assert json.loads(result.out)["unreadable"] == unreadable
    assert len(foveal("predict", model, photos, "--skip-bad", "--csv").out.splitlines()) == 4


def test_nothing_readable_is_a_failure_whatever_is_asked(foveal: Callable, model: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"no image")
    result = foveal("predict", model, "a.png", "b.png", "--skip-bad")
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("foveal: 2 of 2 images cannot be read: a.png (")


def test_names_of_any_bytes_stay_on_one_line(program: Callable, model: Path, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    names = sorted([b"caf\xe9.png", b"line\nbreak.png", b"\x1b[31mred.png", "грудь, \"'.png".encode(), b" .png"])
    for name in names:
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "odd" / os.fsdecode(name))
    texts = [os.fsdecode(b"odd/" + name) for name in names]
    found = predictions(program("predict", model, "odd", "--json", PYTHONUTF8="1"))
    assert [p["path"] for p in found] == texts
    plain = program("predict", model, "odd", PYTHONUTF8="1").out
    assert len(plain.splitlines()) == 1 + len(names)
    assert "\x1b" not in plain
    assert "line\\nbreak.png" in plain
    rows = list(csv.reader(io.StringIO(program("predict", model, "odd", "--csv", PYTHONUTF8="1").out, newline="")))
    assert [row[0] for row in rows[1:]] == [text.replace("\udce9", "\\udce9") for text in texts]


def test_a_reader_that_goes_away_is_no_failure(trained: Path, pictures: Path) -> None:
    import subprocess
    import sys

    files = " ".join(["dark/0.png"] * 3000)
    command = (
        f"cd {pictures} && {sys.executable} -m foveal predict {trained} {files} | head -1; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[1:] == ["0"]
    assert done.stderr == ""
