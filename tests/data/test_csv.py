"""CSV files: the same images as class folders give, and one line that names the line for what is wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from foveal.data import load_dataset
from foveal.errors import DataError

MakeFolder = Callable[..., Path]


@pytest.fixture
def pets(make_folder: MakeFolder) -> Path:
    """pets/cat and pets/dog with six images each."""
    return make_folder({"cat": 6, "dog": 6})


def rows(root: Path, split: str = "") -> list[tuple[str, ...]]:
    names = sorted(path.relative_to(root).as_posix() for path in root.glob("*/*.png"))
    return [(name, name.split("/")[0], *([split] if split else [])) for name in names]


def write(root: Path, lines: list[tuple[str, ...]], head: str = "path,label", between: str = ",") -> Path:
    path = root / "labels.csv"
    path.write_text("\n".join([head.replace(",", between), *(between.join(line) for line in lines)]) + "\n", "utf-8")
    return path


def test_as_the_folder(pets: Path) -> None:
    folder = load_dataset(pets)
    data = load_dataset(write(pets, rows(pets)[::-1]))  # the order of lines does not matter
    assert data.fingerprint == folder.fingerprint
    assert (data.class_names, data.train.paths, data.name) == (folder.class_names, folder.train.paths, "labels")
    assert data.split.given == ("train",)


@pytest.mark.parametrize("between", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_as_spreadsheets_write_it(pets: Path, between: str, encoding: str, end: str) -> None:
    path = pets / ("labels.tsv" if between == "\t" else "labels.csv")
    lines = [("Label", " path ", "note"), *((label, name, "") for name, label in rows(pets)), ("", "", "")]
    lines = [(label.replace("cat", '"große, ""Katze"""'), name, note) for label, name, note in lines]
    text = end.join(between.join(line) for line in lines) + end + end
    path.write_bytes(text.replace("cat/", "./cat/").encode(encoding))
    data = load_dataset(path, validation=0, test=0)
    assert data.class_names == ("dog", 'große, "Katze"')
    assert data.train.counts == (6, 6)
    assert "ignored, not images in a class folder (1): column note" in data.notes


def test_a_split(pets: Path) -> None:
    lines = [(*row, part) for row, part in zip(rows(pets), ["train", "Train", "val", "validation", "test", "TEST"] * 2)]  # noqa: B905
    data = load_dataset(write(pets, lines, "path,label,split"))
    assert {part: images.counts for part, images in data.parts.items()} == {
        "train": (2, 2), "validation": (2, 2), "test": (2, 2),
    }  # fmt: skip
    assert data.split.given == ("train", "validation", "test")


def test_paths_are_relative_to_the_csv_and_may_have_backslashes(pets: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    lines = [(f"..\\pets\\{name}".replace("/", "\\"), label) for name, label in rows(pets)]
    path = write(tmp_path / "lists", lines)
    assert load_dataset(path).fingerprint == load_dataset(pets).fingerprint
    absolute = write(tmp_path / "lists", [(str(pets / name), label) for name, label in rows(pets)])
    assert load_dataset(absolute).fingerprint == load_dataset(pets).fingerprint


def test_a_backslash_or_a_quote_in_a_name_is_itself(pets: Path) -> None:
    lines, odd = rows(pets)[1:], 'cat/a\\"b, c.png'
    shutil.copy(pets / "cat" / "000.png", pets / odd)
    quoted = '"' + odd.replace('"', '""') + '"'
    data = load_dataset(write(pets, [*lines, (quoted, "cat")]), validation=0, test=0)
    assert odd in (data.train.paths or ())


def test_missing_and_unreadable_files(pets: Path) -> None:
    (pets / "dog" / "003.png").write_bytes(b"no image")
    lines = [*rows(pets), ("dog/gone.png", "dog"), ("dog/gone too.png", "dog")]
    path = write(pets, lines)
    says = r"line 14: there is no file dog/gone\.png, line 15: there is no file dog/gone too\.png; .*--skip-bad"
    with pytest.raises(DataError, match=says):
        load_dataset(path)
    for _ in range(2):
        data = load_dataset(path, skip_bad=True, validation=0, test=0)
        assert data.unreadable == (
            ("dog/003.png", "not an image that Pillow knows"),
            ("dog/gone.png", "there is no such file"),
            ("dog/gone too.png", "there is no such file"),
        )
        assert data.train.counts == (6, 5)
        assert "left out, unreadable (3): dog/003.png, dog/gone.png, dog/gone too.png" in data.notes


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"its first line must name the columns, path,label or path,label,split; it is ''"),
        ("cat/000.png,cat\n", "its first line must name the columns, .*; it is 'cat/000.png,cat'"),
        ("file,class\ncat/000.png,cat\n", "it is 'file,class'"),
        ("path,label,path\n", "its first line must name the columns"),
        ("path,label\n", "labels.csv names no images"),
        ("path,label\ncat/000.png\n", "line 2 has 1 fields, but the first line names 2 columns"),
        ("path,label\n\ncat/000.png,cat,x\n", "line 3 has 3 fields"),
        ("path,label\ncat/000.png, \n", "line 2 has no label"),
        ("path,label\n,cat\n", "line 2 has no path"),
        ("path,label,split\ncat/000.png,cat,\n", "line 2 has no split"),
        ("path,label,split\ncat/000.png,cat,dev\n", "line 2: the split must be train, val or test, not 'dev'"),
        ("path,label\n\ncat/nothing.png,cat\n", "line 3: there is no file cat/nothing.png"),
        ("path,label\ncat,cat\n", "line 2: there is no file cat"),
        ('path,label\n"cat/000.png,cat\n', "line 2: unexpected end of data"),
        ('path,label\n"cat/000.png"x,cat\n', "line 2: ',' expected after"),
        ("path,label\ncat/000.png,cat\ncat/001.png,cat\n", "at least 2 classes are needed, there is cat"),
        ("path,label\ncat/000.png,a\x01b\n", "line 2: the class 'a\\\\x01b' has a name that is no text"),
        ("path,label,split\ncat/000.png,cat,test\n", "nothing to train on, only a part for test"),
    ],
)
def test_one_clear_line(pets: Path, text: str, says: str) -> None:
    (pets / "labels.csv").write_text(text, "utf-8")
    with pytest.raises(DataError, match=says) as raised:
        load_dataset(pets / "labels.csv")
    assert "\n" not in str(raised.value)
    assert "labels" in str(raised.value)


def test_what_is_no_text(pets: Path) -> None:
    (pets / "labels.csv").write_bytes(b"path,label\ncat/000.png,caf\xe9\n")
    with pytest.raises(DataError, match=r"labels\.csv, line 2 is not UTF-8 text: save the file as UTF-8"):
        load_dataset(pets / "labels.csv")
