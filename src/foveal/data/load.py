"""`load_dataset`: any source → a data set in parts, with its preprocessing fitted on the training part."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from foveal.data.images import Dataset, Images
from foveal.data.sources import read
from foveal.data.sources.arrays import array_preprocess, check_labels, images_of, numbered
from foveal.data.sources.raw import Options, Raw
from foveal.data.split import duplicate_note, overlap_notes, split_off
from foveal.errors import DataError, UsageError

ArrayPair = tuple[Any, Any]


def load_dataset(
    source: str | Path | ArrayPair,
    *,
    validation: float = 0.1,
    test: float = 0.1,
    size: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    cache: bool = True,
) -> Dataset:
    """Read images and split them.

    source: "digits", a path (folder of class folders, IDX files, .npz), or arrays (x (N, H, W[, C]) uint8, y (N,)).
    A source without a test part is split by `seed`, stratified: `test` and `validation` are fractions of all images. A
    given test part is kept; the validation part then is the fraction `validation` of the training part. 0 means none.
    size: side in pixels for image files. Raises DataError, UsageError.
    """
    for name, value in (("validation", validation), ("test", test)):
        if not 0 <= value < 1:
            raise UsageError(f"{name} must be at least 0 and below 1, not {value!r}")
    if validation + test >= 1:
        raise UsageError(f"validation {validation:g} and test {test:g} leave nothing to train on")
    options = Options(size, skip_bad, cache)
    raw = _from_arrays(source, options) if isinstance(source, tuple) else read(Path(source), options)
    _check(raw)
    return _split(raw, validation, test, seed)


def _from_arrays(source: ArrayPair, options: Options) -> Raw:
    if len(source) != 2:
        raise UsageError("give arrays as a pair (x, y)")
    pixels, labels = np.asarray(source[0]), np.asarray(source[1])
    flat = check_labels("y", labels, len(pixels))
    images = images_of("x", pixels, flat, numbered(int(flat.max(initial=0))))
    return Raw("arrays", images, None, None, array_preprocess("x", images, options))


def _check(raw: Raw) -> None:
    for part, images in raw.parts.items():
        if len(images) == 0:
            raise DataError(f"the {part} part of {raw.name} holds no images")
    present = np.unique(raw.train.labels)
    if len(present) < 2:
        raise DataError(f"{raw.name} has only one class, {raw.train.class_names[present[0]]}; a classifier needs two")
    names = raw.train.class_names
    absent = sorted(set(range(len(names))) - set(present.tolist()))
    if absent:
        raise DataError(f"class {names[absent[0]]} of {raw.name} has no training images")


def _split(raw: Raw, validation: float, test: float, seed: int) -> Dataset:
    train, valid, tested = raw.train, raw.validation, raw.test
    notes = [*raw.notes, *(overlap_notes(raw.parts) if len(raw.parts) > 1 else duplicate_note(train))]
    share = validation
    made: dict[str, Any] = {"seed": seed, "validation": "given", "test": "given"}
    if tested is None:
        made["test"] = test
        if test:
            stays, goes = split_off(train, test, seed, "test")
            train, tested = train.subset(stays), train.subset(goes)
            share = validation / (1 - test)  # of all images, as `test` is
    if valid is None or not validation:
        made["validation"] = validation
        if validation:
            stays, goes = split_off(train, share, seed, "validation")
            train, valid = train.subset(stays), train.subset(goes)
        else:
            valid = None
    return Dataset(
        raw.name, train, valid, tested, train.class_names, raw.preprocess.fitted(train.pixels), _fingerprint(raw), made,
        tuple(notes),
    )  # fmt: skip


def _fingerprint(raw: Raw) -> str:
    digest = hashlib.sha256()
    for part, images in raw.parts.items():
        digest.update(f"{part}|{images.fingerprint()}|{'|'.join(images.class_names)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def images_like(source: str | Path, class_names: tuple[str, ...], options: Options) -> Images:
    """All images of another source for a model with these classes: its test part if it has one, else everything."""
    raw = read(Path(source), options)
    images = raw.test or raw.train
    if images.class_names == class_names:
        return images
    unknown = [name for name in images.class_names if name not in class_names]
    if unknown:
        raise DataError(f"{source} has a class {unknown[0]} that the model does not know; it knows {', '.join(class_names)}")
    place = np.array([class_names.index(name) for name in images.class_names], np.int32)
    return Images(images.pixels, place[images.labels], class_names, images.paths)
