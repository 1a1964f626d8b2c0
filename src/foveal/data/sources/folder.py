"""A folder of class folders: FOLDER/CLASS/image, or the same below train/, val[idation]/ or valid/, and test/."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from foveal.data.cache import cached
from foveal.data.decode import common_preprocess, decode_all, is_image_name
from foveal.data.images import Images
from foveal.data.preprocess import Preprocess
from foveal.data.sources.raw import Options, Raw
from foveal.errors import DataError

_PARTS: Final = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}


@dataclass(frozen=True)
class _Files:
    """The files of one part, in order, with the class of each."""

    paths: tuple[Path, ...]
    classes: tuple[str, ...]


def matches(path: Path) -> bool:
    return path.is_dir()


def read(path: Path, options: Options) -> Raw:
    parts, ignored = _list(path)
    names = tuple(sorted({name for files in parts.values() for name in files.classes}))
    if len(names) < 2:
        found = f"only the class {names[0]}" if names else "no class folders with images"
        raise DataError(f"{path} holds {found}; foveal expects {path}/CLASS/image.jpg with at least two classes")
    everything = [file for files in parts.values() for file in files.paths]
    preprocess, bad = common_preprocess(everything, options.size)
    notes = [f"{ignored} files that are no images were ignored"] if ignored else []
    images: dict[str, Images] = {}
    for part, files in parts.items():
        images[part], broken = _decode(path, files, names, preprocess, bad, options)
        bad |= broken
    if bad:
        notes.append(_unreadable(path, bad, len(everything), skip=options.skip_bad))
    train = images["train"]
    return Raw(path.resolve().name, train, images.get("validation"), images.get("test"), preprocess, tuple(notes))


def _list(root: Path) -> tuple[dict[str, _Files], int]:
    """({part: files}, number of files that are no images). Without a folder train/ everything is one part."""
    here = {entry.name: entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    folders = {part: here[name] for part, names in _PARTS.items() for name in names if name in here}
    if "train" not in folders:
        folders = {"train": root}
    parts, ignored = {}, 0
    for part, folder in folders.items():
        paths: list[Path] = []
        classes: list[str] = []
        for class_folder in sorted(folder.iterdir(), key=lambda entry: entry.name.encode()):
            if not class_folder.is_dir() or class_folder.name.startswith("."):
                continue
            files = [file for file in class_folder.rglob("*") if file.is_file() and not file.name.startswith(".")]
            good = sorted((f for f in files if is_image_name(f)), key=lambda f: f.relative_to(folder).as_posix().encode())
            ignored += len(files) - len(good)
            paths += good
            classes += [class_folder.name] * len(good)
        if paths:
            parts[part] = _Files(tuple(paths), tuple(classes))
    if "train" not in parts:
        raise DataError(f"{root} holds no images; foveal expects {root}/CLASS/image.jpg")
    return parts, ignored


def _decode(
    root: Path, files: _Files, names: tuple[str, ...], preprocess: Preprocess, bad: dict[Path, str], options: Options
) -> tuple[Images, dict[Path, str]]:
    """The readable images of a part, and what was wrong with the others."""
    kept = [(path, name) for path, name in zip(files.paths, files.classes, strict=True) if path not in bad]
    if bad and not options.skip_bad:
        raise DataError(_unreadable(root, bad, len(files.paths), skip=False))
    paths = [path for path, _ in kept]
    pixels, broken = cached(paths, preprocess, decode_all) if options.cache else decode_all(paths, preprocess)
    if broken and not options.skip_bad:
        raise DataError(_unreadable(root, broken, len(files.paths), skip=False))
    labels = [names.index(name) for path, name in kept if path not in broken]
    import numpy as np

    relative = tuple(path.relative_to(root).as_posix() for path in paths if path not in broken)
    return Images(pixels, np.array(labels, np.int32), names, relative), broken


def _unreadable(root: Path, bad: dict[Path, str], total: int, *, skip: bool) -> str:
    shown = ", ".join(f"{path.relative_to(root).as_posix()} ({reason})" for path, reason in list(bad.items())[:3])
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    if skip:
        return f"{len(bad)} of {total} images could not be read and were left out: {shown}{more}"
    return f"{len(bad)} of {total} images cannot be read: {shown}{more}; repair or remove them, or add --skip-bad"
