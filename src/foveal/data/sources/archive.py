"""Class folders in a .zip or .tar archive (.tar.gz, .tar.bz2, .tar.xz too): read once from beginning to end, decoded as
it is read; nothing is unpacked to disk. The images are the same, in the same order, as in the unpacked folder."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from foveal.data.pipeline import File, decode_files
from foveal.data.sources import cifar
from foveal.data.sources.base import ReadOptions, Source, SourceData, first_few, short_name
from foveal.data.sources.files import Decoded, cached, source_data
from foveal.data.sources.layout import Contents, Listing, Tree, in_bytes, is_hidden, is_image, list_images
from foveal.data.sources.tar import Tar
from foveal.data.sources.zip import Zip
from foveal.errors import DataError

_SUFFIXES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tbz2", ".tar.xz", ".txz")


def recognises(path: Path) -> bool:
    return path.is_file() and _suffix(path) != ""


def read(path: Path, options: ReadOptions) -> SourceData:
    """Class folders, optionally under train/, val/, test/, optionally below one top folder. Raises DataError, naming
    the archive, if it is damaged, holds links, devices or paths that lead out of it, or not what a folder must hold."""

    name = short_name(path.name[: -len(_suffix(path))])
    batches: dict[str, bytes] = {}  # of CIFAR: arrays, which need no cache

    def decode() -> tuple[Decoded, dict[str, Any]]:
        listing, decoded = _decode(path, options, batches)
        return decoded, {"files": listing.files, "ignored": listing.ignored, "hidden": listing.hidden}

    decoded, record = cached(path.parent, [path.name], {"source": "archive"}, options, decode)
    if batches:
        return cifar.read_batches(name, str(path), batches, batches.__getitem__, options)
    listing = Listing("", [(*file,) for file in record["files"]], record["ignored"], record["hidden"])
    return source_data(name, str(path), listing, decoded, options)


def _suffix(path: Path) -> str:
    return next((suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix)), "")


def _decode(path: Path, options: ReadOptions, batches: dict[str, bytes]) -> tuple[Listing, Decoded]:
    """Every image is decoded as it comes by: only at the end of a tar is it known which lie in class folders.

    Where the archive holds CIFAR's batches instead, they are put into `batches`, and there are no images.
    """
    with Zip(path) if _suffix(path) == ".zip" else Tar(path) as archive:
        names, images, kept = dict[str, bool](), list[str](), dict[str, bytes]()
        wanted = None
        if archive.names is not None and _batches_folder(archive.names) is None:
            listing = list_images(_tree(path, archive.names))
            wanted = {_join(listing.folder, name) for name in listing.names}

        def files() -> Iterator[File]:
            for member in archive.members():
                names[member.name] = member.is_folder
                visible = not any(is_hidden(part) for part in member.name.split("/"))
                asked = is_image(member.name) if wanted is None else member.name in wanted
                if asked and visible and not member.is_folder:
                    images.append(member.name)
                    yield member.read()
                elif member.name.split("/")[-1] in cifar.FILES and not member.is_folder:
                    content = member.read()
                    if isinstance(content, bytes):
                        kept[member.name] = content

        results = decode_files(
            files(), options.wanted, options.thread_count, lambda done: options.tell(done, archive.share)
        )
    folder = _batches_folder(kept)
    if folder is not None:
        batches |= {name.split("/")[-1]: data for name, data in kept.items() if _folder_of(name) == folder}
        return Listing(), Decoded.of([], options.wanted)
    listing = list_images(_tree(path, names))
    found = dict(zip(images, results, strict=True))  # of two files with one name the last counts, as when unpacked
    del results
    return listing, Decoded.of((found.pop(_join(listing.folder, name)) for name in listing.names), options.wanted)


def _batches_folder(names: Iterable[str]) -> str | None:
    """The folder of an archive that holds CIFAR's batches, if one does."""
    inside: dict[str, list[str]] = {}
    for name in names:
        inside.setdefault(_folder_of(name), []).append(name.split("/")[-1])
    return next((folder for folder, files in inside.items() if cifar.form_of(files)), None)


def _folder_of(name: str) -> str:
    return name.rpartition("/")[0]


class _Folder:
    """A folder within an archive, as a Tree: see layout.py."""

    def __init__(self, archive: Path, path: str) -> None:
        self.path = self.identity = path
        self.place = f"{archive}: {path}" if path else str(archive)
        self.folders: dict[str, _Folder] = {}
        self.files: set[str] = set()
        self.hidden: set[str] = set()

    def contents(self) -> Contents:
        folders: dict[str, Tree] = {name: self.folders[name] for name in sorted(self.folders, key=in_bytes)}
        return Contents(folders, sorted(self.files, key=in_bytes), [], sorted(self.hidden, key=in_bytes))


def _tree(archive: Path, names: Mapping[str, bool]) -> _Folder:
    """names: of all members, and whether they are folders."""
    top = _Folder(archive, "")
    for name, is_folder in names.items():
        parts = [part for part in name.split("/") if part]
        folder = top
        for i, part in enumerate(parts):
            if is_hidden(part):
                folder.hidden.add(part)
                break
            if i == len(parts) - 1 and not is_folder:
                folder.files.add(part)
            else:
                folder = folder.folders.setdefault(part, _Folder(archive, _join(folder.path, part)))
    _check_names(archive, top)
    return top


def _check_names(archive: Path, top: _Folder) -> None:
    folders = [top]
    while folders:
        folder = folders.pop()
        if both := folder.files & folder.folders.keys():
            name = _join(folder.path, min(both))
            raise DataError(f"{archive} holds {first_few([name])!r} both as a file and as a folder")
        folders += folder.folders.values()


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


SOURCE: Final = Source("the same in a .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz archive", recognises, read)
