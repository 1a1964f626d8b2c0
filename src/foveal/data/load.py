"""load_dataset: a source → a Dataset, ready to be trained on."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from foveal.checks import integer, real
from foveal.data.decode import Geometry
from foveal.data.duplicates import Duplicates, Index, equal_groups, find_duplicates
from foveal.data.groups import joined, path_groups, pattern_of, split_by_group
from foveal.data.images import Dataset, Images, Split, concatenated
from foveal.data.preprocess import Preprocess, measure
from foveal.data.sources import Progress, ReadOptions, SourceData, first_few, from_arrays, read_source
from foveal.data.split import check_fractions, part_of_each_class, split_by_class
from foveal.errors import DataError, UsageError

_LARGEST_SIZE: Final = 4096
Sourceish = str | Path | tuple[Any, Any]


def load_dataset(
    source: Sourceish,
    *,
    validation: float = 0.1,
    test: float = 0.1,
    size: int | None = None,
    seed: int = 0,
    fraction: float | None = None,
    group_by: str | None = None,
    skip_bad: bool = False,
    cache: bool = True,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Read images with labels, and split them unless they come with a split.

    source: a path (a folder of class folders, the same in a zip or tar archive, IDX, .npz), "digits" (built in), or
    arrays (x, y) with x uint8 (N, H, W) or (N, H, W, 1 or 3), y integers (N,).
    validation, test: fractions of each class to set apart, drawn by the seed; 0: none. What the source has split stays
    so; if it has test images but no validation images, these come out of its training images.
    fraction: of the training part, to train on that alone: a seeded part of each class. group_by: a regular expression;
    images in whose paths it matches the same (its first group in parentheses, or all of it) stay on one side of a split
    that is drawn.
    size: the shorter side of image files in pixels; by default their own if all agree on at most 64, else 64.
    skip_bad: leave out unreadable files. cache: keep decoded files on disk.
    threads: that decode image files (None: all there are). progress: is called now and then while they do, with the
    number of images that are decoded and the part of the source that is read, from 0 to 1.

    Raises DataError for data that cannot be read or make no sense, UsageError for arguments that do not.
    """
    check_fractions([("validation", validation), ("test", test)])
    if fraction is not None:
        fraction = real(fraction, "fraction", above=0, below=1)
    if group_by is not None:
        pattern_of(group_by)
    if size is not None:
        size = integer(size, "size", 1, _LARGEST_SIZE)
    data = _read(source, ReadOptions(size, None, skip_bad, cache, threads, progress))
    _check_classes(data)
    groups = equal_groups(*(part.pixels for part in data.parts.values()))
    duplicates = find_duplicates(data.parts, groups)
    parts, split, notes = _split(data, groups, validation, test, seed, group_by)
    if fraction is not None:
        parts["train"] = _part(parts["train"], fraction, seed)
        split = replace(split, fraction=fraction)
    mean, deviation = measure(parts["train"].pixels)
    height, width, channels = parts["train"].pixels.shape[1:]
    return Dataset(
        name=data.name,
        train=parts["train"],
        validation=parts.get("validation"),
        test=parts.get("test"),
        class_names=parts["train"].class_names,
        preprocess=Preprocess(height, width, channels, mean, deviation, data.resample),
        fingerprint=_fingerprint(data.parts),
        split=split,
        notes=(*data.notes, *_duplicate_notes(duplicates), *notes),
        duplicates=duplicates,
        unreadable=data.unreadable,
        originals=data.originals,
    )


def load_images(
    source: Sourceish,
    preprocess: Preprocess,
    class_names: Sequence[str],
    *,
    skip_bad: bool = False,
    cache: bool = True,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[Images, str]:
    """(images, fingerprint of all that was read) for a network that exists, to evaluate it.

    The images are those of the test part, or all if there is none. Labels are positions in `class_names`. Raises
    DataError if the source has another class, or arrays of another shape.
    """
    geometry = Geometry(preprocess.height, preprocess.width, preprocess.channels)
    data = _read(source, ReadOptions(None, geometry, skip_bad, cache, threads, progress))
    images = data.parts.get("test") or concatenated(list(data.parts.values()))
    unknown = [name for name, count in zip(images.class_names, images.counts, strict=True) if count]
    unknown = [name for name in unknown if name not in class_names]
    if unknown:
        known = first_few(class_names, 10)
        raise DataError(f"{data.name}: the network has no class {first_few(unknown)}; it has {known}")
    to = np.array([class_names.index(n) if n in class_names else -1 for n in images.class_names], np.int32)
    return replace(images, labels=to[images.labels], class_names=tuple(class_names)), _fingerprint(data.parts)


def _read(source: Sourceish, options: ReadOptions) -> SourceData:
    if isinstance(source, tuple):
        if len(source) != 2:
            raise UsageError(f"arrays must be given as (x, y), not {len(source)} of them")
        return from_arrays("arrays", {"train": source}, options)
    return read_source(source, options)


def _check_classes(data: SourceData) -> None:
    if "train" not in data.parts:
        raise DataError(f"{data.name} has nothing to train on, only a part for {' and '.join(data.parts)}")
    class_names = data.parts["train"].class_names
    if len(class_names) < 2:
        raise DataError(f"{data.name}: at least 2 classes are needed, there is {first_few(class_names) or 'none'}")
    missing = _without_images(data.parts["train"])
    if missing:
        skipped = f" ({len(data.unreadable)} files were left out as unreadable)" if data.unreadable else ""
        raise DataError(f"{data.name}: the train part has no images of class {first_few(missing)}{skipped}")


def _without_images(images: Images) -> list[str]:
    return [name for name, count in zip(images.class_names, images.counts, strict=True) if not count]


def _part(train: Images, fraction: float, seed: int) -> Images:
    chosen = part_of_each_class(train, fraction, seed)
    if len(chosen) == len(train):
        raise UsageError(f"fraction {fraction:g} of {len(train)} images is all of them: it would change nothing")
    return train.subset(chosen)


def _split(
    data: SourceData, groups: Index, validation: float, test: float, seed: int, group_by: str | None
) -> tuple[dict[str, Images], Split, list[str]]:
    """The parts to use, how they were made, and what to say about it."""
    given = data.parts
    parts = dict(given)
    missing = {part: _without_images(images) for part, images in parts.items()}
    notes = [f"the {part} part has no images of class {first_few(names)}" for part, names in missing.items() if names]
    if "validation" in parts and validation == 0:
        notes.append(f"validation 0: the {len(parts.pop('validation'))} given validation images are not used")
    wanted = []
    if len(given) == 1:
        wanted.append(("test", test))  # first, so that the test part does not depend on the validation fraction
    if "validation" not in given:
        wanted.append(("validation", validation))
    wanted = [(part, fraction) for part, fraction in wanted if fraction > 0]
    if wanted:
        train = parts["train"]
        drawn = _draw(data.name, train, groups[: len(train)], wanted, seed, group_by)
        parts |= {part: train.subset(index) for part, index in drawn.items()}
    elif group_by is not None:
        raise UsageError(f"--group-by would change nothing: no part of {data.name} is drawn")
    fractions = dict(wanted)
    split = Split(tuple(given), tuple(fractions), fractions.get("validation"), fractions.get("test"), seed, group_by)
    return parts, split, notes


def _draw(
    name: str, train: Images, equal: Index, wanted: list[tuple[str, float]], seed: int, group_by: str | None
) -> dict[str, Index]:
    if group_by is None:
        return split_by_class(train, equal, wanted, seed)
    if train.paths is None:
        raise UsageError(f"--group-by would change nothing: {name} holds arrays, which have no paths")
    groups = joined(equal, path_groups(train.paths, group_by))
    if np.array_equal(groups, equal):
        raise UsageError(f"--group-by {group_by!r} would change nothing: it puts each image into a group of its own")
    return split_by_group(train, groups, wanted, seed)


def _duplicate_notes(duplicates: Duplicates) -> Iterable[str]:
    if not duplicates.count:
        return
    contradicting = f"; {duplicates.contradicting} of them with another label" if duplicates.contradicting else ""
    named = [first_few((copy.path for copy in group), between=" = ") for group in duplicates.contradictions]
    yield f"exact duplicates: {duplicates.count}{contradicting}" + (f" ({first_few(named)})" if named else "")
    for which, count in duplicates.across_parts.items():
        later, earlier = which.split(" in ")
        yield f"{count} images of the {later} part are also in the {earlier} part"


def _fingerprint(parts: Mapping[str, Images]) -> str:
    """sha256 (hex) over the parts as they came."""
    text = "\n".join(f"{name} {images.fingerprint()}" for name, images in parts.items())
    return hashlib.sha256(text.encode()).hexdigest()
