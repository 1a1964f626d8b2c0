"""Class names and file names in any script, with spaces, quotes and commas, from the source to the last output."""

import csv
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CLASSES = ("猫", "собака", "🐟 fish", "oiseau, «blessé»", "طائر")
FILES = ("фото 1.png", "照片 二.png", "🙂.png", 'with "quotes", and commas.png', "#hash & %percent.png", "ñandú.png")
SMALL = ("--model", "mlp", "--width", "0.1", "--epochs", "2", "--batch-size", "4", "--lr", "0.02")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a class folder for each name, a picture for each file name."""
    root = tmp_path / "Мои 图片 🖼"
    random = np.random.default_rng(0)
    for k, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for file in FILES:
            pixels = np.clip(random.normal(40 + 40 * k, 5, (8, 8)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / file)
    return root


def as_tar(folder: Path) -> Path:
    path = folder.with_name(f"{folder.name}.tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        for name in CLASSES:
            archive.add(folder / name, name)
    return path


def as_zip(folder: Path) -> Path:
    path = folder.with_name(f"{folder.name}.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


def as_csv(folder: Path) -> Path:
    path = folder.with_name("список 列表.csv")
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label"])
        rows.writerows((image.relative_to(folder.parent), image.parent.name) for image in sorted(folder.rglob("*.png")))
    return path


SOURCES: dict[str, Callable[[Path], Path]] = {"folder": lambda f: f, "tar": as_tar, "zip": as_zip, "csv": as_csv}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_command_takes_them(kind: str, pictures: Path, foveal: Callable, tmp_path: Path) -> None:
    source = SOURCES[kind](pictures)
    summary = json.loads(foveal("train", source, *SMALL, "--out", "запуск 1", "--json").out)
    assert summary["epochs"] == 2
    evaluation = json.loads(foveal("evaluate", "запуск 1", source, "--json").out)
    assert set(evaluation["class_names"]) == set(CLASSES)
    words = foveal("evaluate", "запуск 1", source).out
    assert all(name in words for name in CLASSES)
    seen = json.loads(foveal("inspect", source, "--json").out)
    assert set(seen["classes"]) == set(CLASSES)
    words = foveal("inspect", source).out
    assert all(name in words for name in CLASSES)
    images = [pictures / CLASSES[0] / name for name in FILES]
    predictions = json.loads(foveal("predict", "запуск 1", *images, "--json").out)["predictions"]
    assert [row["path"] for row in predictions] == [str(image) for image in images]
    assert {row["label"] for row in predictions} <= set(CLASSES)
    rows = list(csv.DictReader(io.StringIO(foveal("predict", "запуск 1", *images, "--csv").out)))
    assert [(row["path"], row["label"]) for row in rows] == [(row["path"], row["label"]) for row in predictions]
    table = foveal("predict", "запуск 1", *images).out
    assert all(name in table for name in FILES)


def called(folder: Path, *arguments: object, **environment: str) -> tuple[int, bytes, bytes]:
    """A command as a process of its own: exit code and the bytes of both streams."""
    command = [sys.executable, "-m", "foveal", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, env={**os.environ, **environment}, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}],
    ids=["c", "utf8", "ascii", "latin1"],
)
def test_whatever_the_terminal_can_show(environment: dict[str, str], pictures: Path, tmp_path: Path) -> None:
    """A terminal that lacks the letters shows something in their place; nothing stops for it, and JSON is exact."""
    assert called(tmp_path, "train", pictures, *SMALL, "--out", "a", **environment)[0] == 0
    code, out, _ = called(tmp_path, "evaluate", "a", pictures, "--json", **environment)
    assert code == 0
    assert set(json.loads(out)["class_names"]) == set(CLASSES)
    image = pictures / CLASSES[0] / FILES[0]
    assert called(tmp_path, "predict", "a", image, **environment)[0] == 0
    out = called(tmp_path, "predict", "a", image, "--json", **environment)[1]
    assert json.loads(out)["predictions"][0]["path"] == str(image)
    code, _, err = called(tmp_path, "predict", "a", pictures / "нет такого 🙈.png", **environment)
    assert code == 1
    assert err.startswith(b"foveal: ")
    assert b"Traceback" not in err


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX alone")
def test_a_file_name_that_is_no_text(pictures: Path, program: Callable) -> None:
    """Bytes that are not UTF-8, as old disks and archives have them."""
    odd = os.fsencode(pictures / CLASSES[0]) + b"/caf\xe9.png"
    with open(odd, "wb") as file:  # noqa: PTH123
        file.write((pictures / CLASSES[0] / FILES[0]).read_bytes())
    assert program("train", pictures, *SMALL, "--out", "a").code == 0
    for form in ("--json", "--csv", "--threads=1"):
        result = program("predict", "a", os.fsdecode(odd), form)
        assert (result.code, result.err) == (0, "")
