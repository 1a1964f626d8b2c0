"""A CSV of image files: path,label[,split], a line each; paths are relative to the CSV's own folder.

Commas, semicolons or tabs between the columns, whichever the first line has; UTF-8, or UTF-16 with its mark. A quoted
field may hold any of them, a quote in it is doubled; a backslash means nothing special.
"""

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from foveal.data.sources.base import PARTS, ReadOptions, Source, SourceData, first_few, short_name
from foveal.data.sources.files import read_files
from foveal.data.sources.layout import PART_NAMES, Listing, check_class_name, in_bytes
from foveal.errors import DataError

_COLUMNS: Final = ("path", "label", "split")
_MARKS: Final = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def recognises(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in (".csv", ".tsv")


def read(path: Path, options: ReadOptions) -> SourceData:
    """The images of a CSV, in order of part and path, so that the order of lines does not matter. Raises DataError,
    naming the line, for one that lacks something, or a file that is not there (unless options.skip_bad)."""
    listing = Listing()
    missing: list[tuple[int, str]] = []
    folder = path.resolve().parent
    names, rows = _rows(path)
    listing.ignored += [f"column {name}" for name in names if name not in _COLUMNS]
    for line, row in rows:
        where = f"{path}, line {line}"
        if len(row) != len(names):
            raise DataError(f"{where} has {len(row)} fields, but the first line names {len(names)} columns")
        values = {name: value.strip() for name, value in zip(names, row, strict=True)}
        for name in _COLUMNS[: 2 + ("split" in names)]:
            if not values[name]:
                raise DataError(f"{where} has no {name}")
        part = PART_NAMES.get(values.get("split", "train").lower())
        if part is None:
            raise DataError(f"{where}: the split must be train, val or test, not {first_few([values['split']])!r}")
        check_class_name(values["label"], f"{where}: the class {first_few([values['label']])!r}")
        file = _existing(folder, values["path"])
        if file is None:
            missing.append((line, values["path"]))
        else:
            listing.files.append((file, part, values["label"]))
    if missing and not options.skip_bad:
        said = first_few(f"line {line}: there is no file {name}" for line, name in missing)
        raise DataError(f"{path}, {said}; paths are relative to {folder}; or leave them out with --skip-bad")
    if not listing.files:
        raise DataError(f"{path} names no images" + (" that exist" if missing else ""))
    listing.missing = [(name, "there is no such file") for _, name in missing]
    listing.files.sort(key=lambda file: (PARTS.index(file[1]), in_bytes(file[0]), in_bytes(file[2])))
    return read_files(short_name(path.stem), str(path), folder, listing, options)


def _rows(path: Path) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The columns' names, in lower case, and each further line that is not empty, with its number."""
    text = _text(path)
    first = text.split("\n", 1)[0]
    found = [[name.strip().lower() for name in _parsed(path, first, delimiter)[0][1]] for delimiter in ",;\t" if first]
    best = max(range(len(found)), key=lambda i: len(found[i]), default=0)
    names = found[best] if found else []
    if not {"path", "label"} <= set(names) or len(set(names)) < len(names):
        raise DataError(
            f"{path}: its first line must name the columns, path,label or path,label,split; it is "
            f"{first_few([first.strip()[:60]])!r}"
        )
    lines = _parsed(path, text, ",;\t"[best])
    return names, ((number, row) for number, row in lines[1:] if any(field.strip() for field in row))


def _parsed(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None


def _text(path: Path) -> str:
    data = path.read_bytes()
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line} is not UTF-8 text: save the file as UTF-8") from None


def _existing(folder: Path, name: str) -> str | None:
    """The name of a file, also where it was written with backslashes; None if there is none."""
    for candidate in (name, name.replace("\\", "/")):
        if os.path.isfile(os.path.join(folder, candidate)):  # noqa: PTH113, PTH118 (Paths are slow for many)
            return candidate
    return None


SOURCE: Final = Source("a .csv of path,label[,split]", recognises, read)
