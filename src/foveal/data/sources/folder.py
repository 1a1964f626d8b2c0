"""A folder of class folders, optionally under train/, val/ and test/ (or training/, valid/, validation/, testing/)."""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveal.data import cache
from foveal.data.decode import Geometry, Unreadable, choose_geometry, decode_files, decoder
from foveal.data.images import Images
from foveal.data.sources.base import PARTS, ReadOptions, Source, SourceData, first_few, short_name
from foveal.errors import DataError

_PART_FOLDERS: Final = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
# What is taken for an image; anything else in a class folder is left alone, and said.
_SUFFIXES: Final = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".jpx", ".png", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".webp", ".avif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".dds", ".im", ".pcx", ".qoi", ".sgi", ".xpm"),
)


@dataclass
class _Listing:
    """Image files found: names below the root ("/" between parts), with the part and class of each."""

    files: list[tuple[str, str, str]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def recognises(path: Path) -> bool:
    return path.is_dir()


def read(path: Path, options: ReadOptions) -> SourceData:
    """Decode every image below the class folders. Raises DataError, naming what is wrong: no class folders, empty ones,
    two folders for one part, or unreadable files (unless options.skip_bad)."""
    listing = _list_images(path)
    class_names = tuple(sorted({label for _, _, label in listing.files}, key=os.fsencode))
    names = [name for name, _, _ in listing.files]
    pixels, bad = _decode(path, names, options)
    if bad:
        listed = [f"{names[i]} ({why.reason})" for i, why in sorted(bad.items())]
        if not options.skip_bad:
            raise DataError(
                f"{path}: {len(bad)} of {len(names)} image files cannot be read: {first_few(listed)}; "
                "remove them, or leave them out with --skip-bad"
            )
    keep = np.array([i for i in range(len(names)) if i not in bad], np.int64)
    labels = np.array([class_names.index(label) for _, _, label in listing.files], np.int32)
    everything = Images(pixels, labels, class_names, tuple(names)).subset(keep)
    parts = np.array([part for _, part, _ in listing.files])[keep]
    return SourceData(
        short_name(path.resolve().name),
        {part: everything.subset(np.flatnonzero(parts == part)) for part in PARTS if (parts == part).any()},
        "bilinear",
        _notes(listing, [names[i] for i in sorted(bad)]),
        tuple(names[i] for i in sorted(bad)),
    )


def _notes(listing: _Listing, dropped: list[str]) -> tuple[str, ...]:
    notes = []
    if listing.ignored:
        notes.append(f"ignored, not images in a class folder ({len(listing.ignored)}): {first_few(listing.ignored)}")
    if dropped:
        notes.append(f"left out, unreadable ({len(dropped)}): {first_few(dropped)}")
    return tuple(notes)


def _decode(root: Path, names: list[str], options: ReadOptions) -> tuple[NDArray[np.uint8], dict[int, Unreadable]]:
    """All images from the cache, or decoded and then kept there."""
    wanted = options.geometry
    request = {
        "size": options.size,
        "geometry": wanted and [wanted.height, wanted.width, wanted.channels],
        "decoder": decoder(),
    }
    folder, key = cache.cache_folder(), cache.cache_key(root, names, request) if options.cache else None
    if key and (found := cache.fetch(folder, key)) and len(found[1]) == len(names):
        return found[1], {int(i): Unreadable(reason) for i, reason in found[0]["bad"].items()}
    paths = [root / name for name in names]
    geometry = wanted or choose_geometry(paths, options.size)
    if geometry is None:
        geometry = Geometry(1, 1, 3)  # no file can be read: decoding says why
    pixels, bad = decode_files(paths, geometry)
    if len(bad) == len(names) and options.skip_bad:
        raise DataError(f"{root}: none of the {len(names)} image files can be read: {names[0]} ({bad[0].reason})")
    if key and (not bad or options.skip_bad) and not any(why.passing for why in bad.values()):
        pixels = cache.store(folder, key, {"bad": {i: why.reason for i, why in bad.items()}}, pixels)
    return pixels, bad


def _list_images(root: Path) -> _Listing:
    listing = _Listing()
    for part, folder in _part_folders(root, listing).items():
        entries = _visible(folder)
        classes = _image_folders(entries)
        named = {entry.name for entry in classes}
        listing.ignored += [_below(root, entry) for entry in entries if entry.name not in named]
        if not classes:
            raise DataError(f"{folder} has no class folders: put the images of each class into a folder of its name")
        for entry in classes:
            _check_text(entry)
            found = [(name, part, entry.name) for name in _images_below(root, entry, listing)]
            if not found:
                raise DataError(f"{entry.path} holds no images")
            listing.files += found
    listing.files.sort(key=lambda item: (PARTS.index(item[1]), os.fsencode(item[0])))
    return listing


def _part_folders(root: Path, listing: _Listing) -> dict[str, Path]:
    """{part: folder}: train/, val/, test/ if there is nothing else or train/ holds folders; or the root as "train"."""
    entries = _visible(root)
    folders = _image_folders(entries)
    parts = [entry for entry in folders if entry.name.lower() in _PART_FOLDERS]
    decisive = [entry for entry in parts if len(parts) == len(folders) or _PART_FOLDERS[entry.name.lower()] == "train"]
    if not any(inner.is_dir() for entry in decisive for inner in _visible(Path(entry.path))):
        return {"train": root}
    found: dict[str, Path] = {}
    for entry in parts:
        part = _PART_FOLDERS[entry.name.lower()]
        if part in found:
            raise DataError(f"{root} has both {found[part].name}/ and {entry.name}/; which is the {part} part?")
        found[part] = Path(entry.path)
    listing.ignored += [entry.name for entry in entries if entry not in parts]
    return {part: found[part] for part in PARTS if part in found}


def _image_folders(entries: "list[os.DirEntry[str]]") -> "list[os.DirEntry[str]]":
    """The folders among some entries, but for those that hold runs of foveal's: they may lie where the images are."""
    return [entry for entry in entries if entry.is_dir() and not _holds_runs(entry.path)]


def _holds_runs(folder: str) -> bool:
    """Whether a folder is a run, or holds nothing else. Looks no further than to the first file that speaks against."""
    if Path(folder, "config.json").is_file() and Path(folder, ".lock").is_file():
        return True
    runs = 0
    with suppress(OSError), os.scandir(folder) as inside:  # what cannot be read is said when its images are listed
        for entry in inside:
            if entry.name.startswith("."):
                continue
            if not (entry.is_dir() and _holds_runs(entry.path)):
                return False
            runs += 1
    return runs > 0


def _images_below(root: Path, top: "os.DirEntry[str]", listing: _Listing) -> Iterator[str]:
    """Names of the image files of a class, also in folders within it. A folder that contains itself ends there."""
    seen, folders = set(), [(Path(top.path), _below(root, top))]
    while folders:
        folder, name = folders.pop()
        if (real := folder.resolve()) in seen:
            continue
        seen.add(real)
        for entry in _visible(folder):
            below = f"{name}/{entry.name}"
            if entry.is_dir():
                folders.append((folder / entry.name, below))
            elif entry.is_file() and entry.name.lower().endswith(_SUFFIXES):
                yield below
            else:
                listing.ignored.append(below)


def _visible(folder: Path) -> list["os.DirEntry[str]"]:
    """Entries that are not dot-files, in the order of their names' bytes."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: os.fsencode(e.name))
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from None


def _below(root: Path, entry: "os.DirEntry[str]") -> str:
    return Path(entry.path).relative_to(root).as_posix()


def _check_text(entry: "os.DirEntry[str]") -> None:
    """A class name is printed, and written as UTF-8."""
    if any(c < " " or "\ud800" <= c <= "\udfff" for c in entry.name):
        raise DataError(f"the class folder {first_few([entry.name])!r} has a name that is no text; rename it")


SOURCE: Final = Source("a folder of class folders, perhaps under train/, val/, test/", recognises, read)
