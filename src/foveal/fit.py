"""From images to a trained model: `fit` and `resume`. The command line calls the same functions."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Unpack

from foveal.data import Dataset, Images, load_dataset
from foveal.data.sources import digits
from foveal.errors import RunError, UsageError
from foveal.layers import Sequential
from foveal.models import advice, build
from foveal.optim import OPTIMIZERS, Optimizer
from foveal.run.checkpoint import Progress, read_checkpoint
from foveal.run.environment import version
from foveal.run.folder import RunFolder
from foveal.run.model_file import image_shape
from foveal.run.run import Run, load_run
from foveal.train.events import Listener, Warned
from foveal.train.loop import CHECKPOINT_SECONDS, train
from foveal.train.progress import progress_listener
from foveal.train.record import check_data, config_of, extended, session_of, settings_of, take_over
from foveal.train.session import Session
from foveal.train.settings import CUSTOM, DEFAULT_VALIDATION, Options, TrainSettings, flag

Source = str | os.PathLike[str] | Dataset | tuple[Any, Any]  # the last: arrays (x, y)


@dataclass(frozen=True, eq=False)
class Watch:
    """How a training is watched and saved; nothing here influences a result.

    progress: show it on stderr. listeners: functions that are given every event. clock: seconds, from any start.
    checkpoint_every: seconds between checkpoints within an epoch (0: after every step). command: as typed, for the
    record.
    """

    progress: bool = True
    listeners: Sequence[Listener] = ()
    clock: Callable[[], float] = time.monotonic
    checkpoint_every: float = CHECKPOINT_SECONDS
    command: Sequence[str] = ()


def fit(
    model: Sequential | str,
    data: Source,
    *,
    optimizer: Optimizer | str = "momentum",
    run_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
    listeners: Sequence[Listener] = (),
    **options: Unpack[Options],
) -> Run:
    """Train a network on labelled images and return it with its history.

    model: layers, or a name ("mlp", "lenet", "nin", "vgg"). data: a dataset, or anything that `load_dataset` takes.
    run_dir: the folder to make, which must not exist; runs/<name>-N when None. options: fields of `TrainSettings`.
    Raises UsageError for settings that cannot be, DataError for images that cannot be read, ShapeError where network
    and images do not fit, DivergedError when the loss is not finite, Interrupted (after saving) on Ctrl-C.
    """
    net, name = (None, model) if isinstance(model, str) else (model, CUSTOM)
    rule, rule_name = (None, optimizer) if isinstance(optimizer, str) else (optimizer, optimizer.name)
    settings = TrainSettings(model=name, optimizer=rule_name, **options)
    watch = Watch(progress, listeners)
    return fit_settings(settings, data, net=net, optimizer=rule, run_dir=run_dir, watch=watch)


def fit_settings(
    settings: TrainSettings,
    data: Source,
    *,
    net: Sequential | None = None,
    optimizer: Optimizer | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    watch: Watch | None = None,
) -> Run:
    """`fit` with the settings as one object; net and optimizer replace those that the settings name."""
    watch = watch or Watch()
    begun = watch.clock()
    if optimizer is None:
        optimizer = OPTIMIZERS[settings.optimizer](**settings.optimizer_arguments())
    elif given := [name for name, value in settings.optimizer_arguments().items() if value]:
        raise UsageError(f"{given[0]} would change nothing beside an optimizer object: give it to the object")
    dataset, source = _dataset(settings, data)
    if net is None:
        shape, arguments = image_shape(dataset.preprocess), settings.model_arguments()
        net = build(settings.model, len(dataset.class_names), input_shape=shape, **arguments)
    resolved = settings.resolved(train_count=len(dataset.train), default_lr=optimizer.default_lr)
    session = Session(net, optimizer, resolved, dataset)
    folder = RunFolder.create(dataset.name, run_dir)
    with folder.lock():
        folder.write_config(config_of(session, source, watch.command))
        return _run(session, folder, Progress(seconds=watch.clock() - begun), watch, advice(net))


def resume(
    run_dir: str | os.PathLike[str],
    *,
    data: Dataset | None = None,
    more_epochs: int = 0,
    threads: int | None = None,
    isa: str | None = None,
    watch: Watch | None = None,
) -> Run:
    """Go on with a run that was interrupted, to the same bits; everything comes from its folder.

    data: needed only where the run was given a dataset object. more_epochs: extend the training; the schedule then
    covers the new total. A run that is finished is returned as it is. Raises RunError if the folder cannot be used, or
    if the data are no longer the same.
    """
    watch = watch or Watch()
    begun = watch.clock()
    folder = RunFolder.open(run_dir)
    with folder.lock():
        config = folder.read_config()
        settings = settings_of(folder, config)
        state, progress = read_checkpoint(folder.checkpoint) if folder.checkpoint.is_file() else ({}, Progress())
        if more_epochs:
            config = extended(folder, config, progress, more_epochs)
        elif progress.finished and _judged(folder, config):
            return load_run(run_dir, threads=threads, isa=isa)
        session = session_of(folder, config, data or _reloaded(folder, config, settings), threads, isa)
        if state:
            take_over(session, folder, state, progress.updates)
        if more_epochs:
            folder.write_config(config)
        progress.seconds += watch.clock() - begun
        begun_with = config["environment"].get("foveal")
        warnings = (
            [f"the run was begun with foveal {begun_with}, so the bits may differ"] if begun_with != version() else []
        )
        return _run(session, folder, progress, watch, warnings)


def test_images(run: Run) -> Images | None:
    """The test part of what a run was trained on, loaded again; None if there is none or nobody knows where it is.

    Raises RunError if the data have changed since.
    """
    if not run.config or run.config["data"]["source"] is None:
        return None
    folder = RunFolder.open(run.path)
    data = _reloaded(folder, run.config, settings_of(folder, run.config))
    check_data(folder, run.config, data)
    return data.test


def _run(session: Session, folder: RunFolder, progress: Progress, watch: Watch, warnings: Sequence[str]) -> Run:
    """Train to the end, judge the kept weights on the test part, and return the run."""
    shown = [progress_listener(sys.stderr)] if watch.progress else []
    listeners: list[Listener] = [*shown, *watch.listeners]
    try:
        for message in warnings:
            for listener in listeners:
                listener(Warned(message))
        train(
            session, folder, progress, listeners=listeners, clock=watch.clock, checkpoint_every=watch.checkpoint_every
        )
    finally:
        for display in shown:
            display.close()
    run = load_run(folder.path, threads=session.plan.threads, isa=session.plan.isa)
    test = session.data.test
    if test is not None and len(test):
        folder.write_evaluation(run.evaluate(test).to_json())
    return run


def _dataset(settings: TrainSettings, data: Source) -> tuple[Dataset, str | None]:
    """The data and where they can be loaded from again. Raises UsageError for a setting that would change nothing."""
    if not isinstance(data, Dataset):
        dataset = _load(settings, data)
        if settings.validation and "validation" in dataset.split.given:
            raise UsageError("--validation would change nothing: the data come with a validation part")
        if isinstance(data, tuple):
            return dataset, None
        return dataset, digits.NAME if data == digits.NAME else str(Path(data).expanduser().absolute())
    for name in ("size", "validation", "skip_bad"):
        if getattr(settings, name) not in (None, False):
            raise UsageError(f"{flag(name)} would change nothing: the data are loaded already; give it to load_dataset")
    return data, None


def _load(settings: TrainSettings, source: str | os.PathLike[str] | tuple[Any, Any]) -> Dataset:
    validation = DEFAULT_VALIDATION if settings.validation is None else settings.validation
    where = source if isinstance(source, (tuple, str)) else Path(source)
    return load_dataset(
        where, validation=validation, size=settings.size, seed=settings.seed, skip_bad=settings.skip_bad
    )


def _reloaded(folder: RunFolder, config: dict[str, Any], settings: TrainSettings) -> Dataset:
    source = config["data"]["source"]
    if source is None:
        raise RunError(f"{folder.path} was given its data as arrays: resume it from Python with data=...")
    return _load(settings, source)


def _judged(folder: RunFolder, config: dict[str, Any]) -> bool:
    """Whether the test part, if there is any, has been evaluated."""
    return folder.evaluation.is_file() or not config["data"]["counts"]["test"]


class _Callable(ModuleType):
    """`foveal.fit` is the function; where this module was imported first, the name means the module: call that too."""

    __call__ = staticmethod(fit)


sys.modules[__name__].__class__ = _Callable
