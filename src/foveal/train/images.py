"""The images of a training: loaded for it, loaded again later, and those that a trained model is to be judged by."""

import os
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from foveal.data import Dataset, Images, load_dataset, load_images
from foveal.data.sources import digits
from foveal.data.sources.base import NothingToSkipError, NotResizedError
from foveal.errors import RunError, UsageError
from foveal.run.folder import RunFolder
from foveal.run.run import Run
from foveal.train.initial import Initial, normalised_as
from foveal.train.reading import reading_shown
from foveal.train.record import check_data, settings_of
from foveal.train.settings import DEFAULT_VALIDATION, TrainSettings, flag

Source = str | os.PathLike[str] | Dataset | tuple[Any, Any]  # the last: arrays (x, y)


def held_out_images(
    run: Run, source: str | None = None, *, skip_bad: bool = False, progress: bool = False
) -> Images | None:
    """The test part of what a run was trained on, loaded again; None if there is none.

    source: where the data are now, when they have moved. skip_bad: leave out unreadable files also where the run did
    not. progress: show on stderr how far reading has come. Raises RunError if nobody knows, or the data have changed.
    """
    if not run.config:
        raise RunError(f"{run.path} is a model without a run folder: it has no test part")
    folder = RunFolder.open(run.path)
    settings = settings_of(folder, run.config)
    settings = replace(settings, skip_bad=settings.skip_bad or skip_bad)
    data = load_again(folder, run.config, settings, source, progress)
    check_data(folder, run.config, data)
    return data.test


def images_to_judge(run: Run, source: str, *, skip_bad: bool = False, progress: bool = False) -> tuple[Images, str]:
    """Images for `Run.evaluate` from a source: its test part if it comes with one, else all; and a remark, or "".

    Where the source is what the run was trained on and a test part was drawn from, only that part is given.
    """
    preprocess, names = run.model.preprocess, run.class_names
    with reading_shown(sys.stderr if progress else None) as told:
        images, fingerprint = load_images(source, preprocess, names, skip_bad=skip_bad, progress=told)
    begun: dict[str, Any] = run.config.get("data", {})
    if fingerprint != begun.get("fingerprint") or "test" in begun["split"]["given"]:
        return images, ""
    drawn = "test" in begun["split"]["drawn"]
    try:
        own = held_out_images(run, source, skip_bad=skip_bad, progress=progress) if drawn else None
    except UsageError as error:  # of --group-by, which the run was given, not this command
        raise RunError(
            f"{source} holds the images of {run.path}, whose test part cannot be drawn from these paths again: {error}"
        ) from None
    if own is None:
        return images, "the model was trained on these images: this says little of others"
    return own, f"the model was trained on images of {source}: judged on its test part alone"


def data_to_inspect(settings: TrainSettings, source: str) -> Dataset:
    """The images as a training with these settings would be given them, without the files that cannot be read."""
    try:
        dataset = _load(replace(settings, skip_bad=True), source, True)
    except NothingToSkipError:
        dataset = _load(settings, source, True)
    _check_validation(settings, dataset)
    return dataset


def load_to_train(
    settings: TrainSettings, data: Source, initial: Initial | None, progress: bool
) -> tuple[Dataset, str | None]:
    """The data and where they can be loaded from again. Raises UsageError for a setting that would change nothing."""
    if not isinstance(data, Dataset):
        dataset = _load_as(initial.size, settings, data, progress) if initial else _load(settings, data, progress)
        _check_validation(settings, dataset)
        if isinstance(data, tuple):
            return dataset, None
        return dataset, digits.NAME if data == digits.NAME else str(Path(data).expanduser().absolute())
    for name in ("size", "validation", "skip_bad", "fraction", "group_by"):
        if getattr(settings, name) not in (None, False):
            raise UsageError(f"{flag(name)} would change nothing: the data are loaded already; give it to load_dataset")
    return data, None


def _check_validation(settings: TrainSettings, dataset: Dataset) -> None:
    if settings.validation and "validation" in dataset.split.given:
        raise UsageError("--validation would change nothing: the data come with a validation part")


def as_begun_from(
    initial: Initial, settings: TrainSettings, dataset: Dataset, data: Source
) -> tuple[TrainSettings, Dataset]:
    """Settings and data as they are with another model's weights: its normalisation, and its size of image files."""
    dataset = normalised_as(dataset, initial.to_json())
    if dataset.preprocess.resample == "none" or isinstance(data, Dataset):
        return settings, dataset
    return replace(settings, size=dataset.preprocess.height), dataset  # so that the images are loaded so again


def _load_as(
    size: int | None, settings: TrainSettings, source: str | os.PathLike[str] | tuple[Any, Any], progress: bool
) -> Dataset:
    """Image files at another model's size unless a size is given; arrays as they are."""
    if settings.size is None and size is not None:
        with suppress(NotResizedError):
            return _load(replace(settings, size=size), source, progress)
    return _load(settings, source, progress)


def _load(settings: TrainSettings, source: str | os.PathLike[str] | tuple[Any, Any], progress: bool) -> Dataset:
    validation = DEFAULT_VALIDATION if settings.validation is None else settings.validation
    where = source if isinstance(source, (tuple, str)) else Path(source)
    with reading_shown(sys.stderr if progress else None) as told:
        return load_dataset(
            where, validation=validation, size=settings.size, seed=settings.seed, fraction=settings.fraction,
            group_by=settings.group_by, skip_bad=settings.skip_bad, threads=settings.threads, progress=told,
        )  # fmt: skip


def load_again(
    folder: RunFolder, config: dict[str, Any], settings: TrainSettings, given: Source | None, progress: bool
) -> Dataset:
    """The data of a run, from where they are said to be now, or else were then, normalised as then."""
    data = _loaded_again(folder, config, settings, given, progress)
    return normalised_as(data, config["init_from"]) if config.get("init_from") else data


def _loaded_again(
    folder: RunFolder, config: dict[str, Any], settings: TrainSettings, given: Source | None, progress: bool
) -> Dataset:
    if isinstance(given, Dataset):
        return given
    source = config["data"]["source"]
    if given is None and source is None:
        raise RunError(f"{folder.path} was given its data from Python and cannot load them again: give them anew")
    if given is None and source != digits.NAME and not Path(source).exists():
        raise RunError(f"the data of {folder.path} are no longer at {source}: put them back, or say where they are now")
    return _load(settings, source if given is None else given, progress)
