"""From images to a trained model: `fit` and `resume`. The command line calls the same functions."""

import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from foveal.errors import DivergedError, RunError, UsageError
from foveal.kernels import resolve_isa, resolve_threads
from foveal.layers import Sequential
from foveal.models import advice, build, choose
from foveal.optim import OPTIMIZERS, Optimizer
from foveal.run.checkpoint import Progress, read_checkpoint
from foveal.run.folder import RUNS, RunFolder
from foveal.run.model_file import image_shape
from foveal.run.run import Run, load_run
from foveal.search.display import search_listener
from foveal.search.minutes import epochs_within
from foveal.search.run import Found, MakeExecutor, find_rate
from foveal.train.balance import remarks
from foveal.train.early import refuse_early
from foveal.train.events import Event, Listener, Loaded, Noted, Warned
from foveal.train.images import Source, as_begun_from, load_again, load_to_train
from foveal.train.initial import initial_again, read_initial, with_classes
from foveal.train.interrupt import Interrupted
from foveal.train.loop import CHECKPOINT_SECONDS, train
from foveal.train.progress import PlainProgress, progress_listener
from foveal.train.record import changes, config_of, extended, session_of, settings_of, take_over
from foveal.train.session import Session
from foveal.train.settings import AUTO, CUSTOM, RULE, Options, TrainSettings


@dataclass(frozen=True, eq=False)
class Watch:
    """How a training is watched and saved; nothing here influences a result.

    progress: show it on stderr. listeners: functions that are given every event. clock: seconds, from any start.
    checkpoint_every: seconds between checkpoints within an epoch (0: after every step). command: as typed, for the
    record. executor: makes what the trials of a search run on, given the number of workers.
    """

    progress: bool = True
    listeners: Sequence[Listener] = ()
    clock: Callable[[], float] = time.monotonic
    checkpoint_every: float = CHECKPOINT_SECONDS
    command: Sequence[str] = ()
    executor: MakeExecutor = ThreadPoolExecutor


def fit(
    model: Sequential | str,
    data: Source,
    *,
    optimizer: Optimizer | str = "momentum",
    run_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
    listeners: Sequence[Listener] = (),
    executor: MakeExecutor = ThreadPoolExecutor,
    **options: Unpack[Options],
) -> Run:
    """Train a network on labelled images and return it with its history.

    model: layers, or a name ("mlp", "lenet", "nin", "vgg", "resnet", "airbench"; "auto" chooses by the images). data: a
    dataset, or anything that `load_dataset` takes.
    run_dir: the folder to make, which must not exist; runs/<name>-N when None. options: fields of `TrainSettings`.
    Raises UsageError for settings that cannot be, DataError for images that cannot be read, ShapeError where network
    and images do not fit, DivergedError when the loss is not finite, Interrupted (after saving) on Ctrl-C.
    """
    settings, net, rule = _settings(model, optimizer, options)
    watch = Watch(progress, listeners, executor=executor)
    return fit_settings(settings, data, net=net, optimizer=rule, run_dir=run_dir, watch=watch)


def _settings(
    model: Sequential | str, optimizer: Optimizer | str, options: Options
) -> tuple[TrainSettings, Sequential | None, Optimizer | None]:
    """The settings, and the network and the optimizer where they were given as objects, not by name."""
    net, name = (None, model) if isinstance(model, str) else (model, CUSTOM)
    rule, rule_name = (None, optimizer) if isinstance(optimizer, str) else (optimizer, optimizer.name)
    return TrainSettings(model=name, optimizer=rule_name, **options), net, rule


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
    with _begun(settings, data, net, optimizer, run_dir, watch) as (session, folder):
        session = _with_rate(session, folder, watch)
        return _run(session, folder, Progress(seconds=watch.clock() - begun), watch)


def search_rate(
    model: Sequential | str,
    data: Source,
    *,
    optimizer: Optimizer | str = "momentum",
    run_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
    listeners: Sequence[Listener] = (),
    executor: MakeExecutor = ThreadPoolExecutor,
    **options: Unpack[Options],
) -> tuple[Found, Path]:
    """Find the learning rate that `fit` would find, and stop there: what was found, and the folder of the run.

    All arguments are `fit`'s; they are those of the training too that `resume(folder)` then begins, with this rate.
    Raises what `fit` does, UsageError for a given lr, NothingTrainedError where no rate learnt anything.
    """
    settings, net, rule = _settings(model, optimizer, options)
    watch = Watch(progress, listeners, executor=executor)
    return search_settings(settings, data, net=net, optimizer=rule, run_dir=run_dir, watch=watch)


def search_settings(
    settings: TrainSettings,
    data: Source,
    *,
    net: Sequential | None = None,
    optimizer: Optimizer | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    watch: Watch | None = None,
) -> tuple[Found, Path]:
    """`search_rate` with the settings as one object."""
    if settings.lr != AUTO:
        raise UsageError("--lr would leave nothing to search for: leave it out")
    watch = watch or Watch()
    with _begun(settings, data, net, optimizer, run_dir, watch) as (session, folder):
        return _found(session, folder, watch, _search_again(folder)), folder.path


def resume_search(
    run_dir: str | os.PathLike[str],
    *,
    data: Source | None = None,
    threads: int | None = None,
    isa: str | None = None,
    workers: int | None = None,
    watch: Watch | None = None,
) -> tuple[Found, Path]:
    """Go on with a search that was interrupted, to the same rate. One that is finished is answered from its record.

    Arguments as for `resume`; workers: those that it was begun with when None. Raises RunError where there was none.
    """
    watch = watch or Watch()
    resolve_threads(threads)
    resolve_isa(isa)
    folder = RunFolder.open(run_dir)
    with folder.lock():
        config = folder.read_config()
        settings = settings_of(folder, config)
        if settings.lr != AUTO:
            return _recorded(folder, config), folder.path
        dataset = load_again(folder, config, settings, data, watch.progress)
        initial = initial_again(folder, config["init_from"]) if config.get("init_from") else None
        session = session_of(folder, config, dataset, threads, isa, initial)
        _say([_loaded(session), *map(Warned, [*changes(config, session), *advice(session.plan.net)])], watch)
        return _found(session, folder, watch, _search_again(folder), workers), folder.path


@contextmanager
def _begun(
    settings: TrainSettings,
    data: Source,
    net: Sequential | None,
    optimizer: Optimizer | None,
    run_dir: str | os.PathLike[str] | None,
    watch: Watch,
) -> Iterator[tuple[Session, RunFolder]]:
    """A session before its first step in a new run folder, which is locked while the block runs; whoever watches is
    told what was decided."""
    since = watch.clock()
    if optimizer is None:
        optimizer = OPTIMIZERS[settings.optimizer](**settings.optimizer_arguments())
    elif given := [name for name in RULE if getattr(settings, name) != getattr(TrainSettings, name)]:
        raise UsageError(f"{given[0]} would change nothing beside an optimizer object: give it to the object")
    initial = read_initial(settings.init_from) if settings.init_from is not None else None
    refuse_early(net, settings)
    dataset, source = load_to_train(settings, data, initial, watch.progress)
    said: list[Event] = []
    if initial is not None:
        settings, dataset = as_begun_from(initial, settings, dataset, data)
        if settings.model == AUTO:
            net = with_classes(initial.model.net, len(dataset.class_names))
            settings = replace(settings, model=initial.name or CUSTOM)
    if net is None:
        shape = image_shape(dataset.preprocess)
        if settings.model == AUTO:
            choice = choose(shape, len(dataset.train))
            settings = settings.with_model(choice)
            said.append(Noted(str(choice)))
        arguments = settings.model_arguments()
        net = build(settings.model, len(dataset.class_names), input_shape=shape, **arguments)
    resolved = settings.resolved(train_count=len(dataset.train))
    chosen = None
    if resolved.minutes is not None:
        chosen = epochs_within(
            net, optimizer, resolved, dataset, initial, since=since, clock=watch.clock, where=Path(run_dir or RUNS)
        )
        resolved = replace(resolved, epochs=chosen.epochs, minutes=None)
    session = Session(net, optimizer, resolved, dataset, initial=initial)
    said += [Noted(str(chosen))] if chosen else []
    said += [Noted(session.beginning)] if session.beginning else []
    said += remarks(dataset.class_names, session.class_counts, resolved.class_weight)
    folder = RunFolder.create(dataset.name, run_dir)
    with folder.lock():
        try:
            config = config_of(session, source, watch.command)
            folder.write_config({**config, "minutes": chosen.to_json() if chosen else None})
        except RunError:
            folder.discard()
            raise
        _say([_loaded(session), *said, *map(Warned, advice(net))], watch)
        yield session, folder


def resume(
    run_dir: str | os.PathLike[str],
    *,
    data: Source | None = None,
    more_epochs: int = 0,
    threads: int | None = None,
    isa: str | None = None,
    watch: Watch | None = None,
) -> Run:
    """Go on with a run that was interrupted, to the same bits; everything comes from its folder.

    data: needed only where the run was given a dataset object, which must be split as it was then, or where the data
    have moved. threads, isa: those that it was begun with when None. more_epochs: train so many more than were planned,
    or than were done where training has ended; the schedule then covers the new total. A run that is finished is
    returned as it is. Raises RunError if the folder cannot be used, or if the data are no longer the same.
    """
    watch = watch or Watch()
    begun = watch.clock()
    resolve_threads(threads)
    resolve_isa(isa)
    folder = RunFolder.open(run_dir)
    with folder.lock():
        config = folder.read_config()
        settings = settings_of(folder, config)
        state, progress = read_checkpoint(folder.checkpoint) if folder.checkpoint.is_file() else ({}, Progress())
        if progress.epoch <= config["extended_from"]:
            progress.finished = ""
        _check_model(folder, progress)
        if more_epochs:
            config = extended(folder, config, progress, more_epochs)
            progress.finished = ""
        elif progress.finished and _judged(folder, config):
            return load_run(run_dir, threads=threads, isa=isa)
        dataset = load_again(folder, config, settings, data, watch.progress)
        begun_with = config.get("init_from")
        initial = initial_again(folder, begun_with) if begun_with and not state else None
        session = session_of(folder, config, dataset, threads, isa, initial)
        if state:
            take_over(session, folder, state, progress.updates)
        if more_epochs:
            folder.write_config(config)
        _say([_loaded(session), *map(Warned, [*changes(config, session), *advice(session.plan.net)])], watch)
        session = _with_rate(session, folder, watch)
        progress.seconds += watch.clock() - begun
        return _run(session, folder, progress, watch)


def _with_rate(session: Session, folder: RunFolder, watch: Watch) -> Session:
    """The session with a number for a learning rate: what it has, or what a search finds and config.json then has."""
    if session.settings.lr != AUTO:
        return session
    return session.at_rate(_found(session, folder, watch, folder.resume_command).best.lr)


def _found(session: Session, folder: RunFolder, watch: Watch, resume_command: str, workers: int | None = None) -> Found:
    """What a search finds, once config.json has it. resume_command: to type if the search is interrupted."""
    with _shown(watch) as listeners:
        found = find_rate(
            session, folder, workers=workers or session.settings.workers, executor=watch.executor, listeners=listeners,
            clock=watch.clock, resume_command=resume_command,
        )  # fmt: skip
    config = folder.read_config()
    config["settings"] |= {"lr": found.best.lr, "workers": None}  # workers: with a rate they would change nothing
    config["search"] = found.to_json()
    folder.write_config(config)
    return found


def _recorded(folder: RunFolder, config: dict[str, Any]) -> Found:
    """What the search of a run found. Raises RunError."""
    if "search" not in config:
        raise RunError(f"{folder.path} was given its learning rate, so there is no search to go on with")
    try:
        return Found.from_json(config["search"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{folder.config} does not fit this version of foveal: its search has no usable {error}"
        ) from None


def _search_again(folder: RunFolder) -> str:
    return f"foveal search --resume {shlex.quote(str(folder.path))}"


def _loaded(session: Session) -> Loaded:
    data = session.data
    return Loaded(
        data.class_names, session.plan.input_shape, session.train_count, session.validation_count,
        len(data.test or ()), data.fingerprint, data.notes,
    )  # fmt: skip


def _say(said: Iterable[Event], watch: Watch) -> None:
    with _shown(watch) as listeners:
        for event in said:
            for listener in listeners:
                listener(event)


@contextmanager
def _shown(watch: Watch) -> Iterator[list[Listener]]:
    """The listeners, and while the block runs a display on stderr if one is wanted."""
    shown: list[PlainProgress] = []
    if watch.progress and sys.stderr is not None:
        shown = [progress_listener(sys.stderr), search_listener(sys.stderr)]
    try:
        yield [*shown, *watch.listeners]
    finally:
        for display in shown:
            display.close()


def _run(session: Session, folder: RunFolder, progress: Progress, watch: Watch) -> Run:
    """Train to the end, judge the kept weights on the test part, and return the run. Raises what `train` does."""
    with _shown(watch) as listeners:
        train(
            session, folder, progress, listeners=listeners, clock=watch.clock, checkpoint_every=watch.checkpoint_every
        )
    _check_model(folder, progress)
    run = load_run(folder.path, threads=session.plan.threads, isa=session.plan.isa)
    test = session.data.test
    if test is not None and len(test):
        try:
            evaluation = run.evaluate(test)
        except KeyboardInterrupt:
            raise Interrupted(f"trained and saved, but not yet tested; {folder.resume_command} does that") from None
        except DivergedError as error:
            raise DivergedError(f"{error}; {session.advice}") from None
        if evaluation.loss is None or not math.isfinite(evaluation.loss):
            raise DivergedError(f"the loss on the test part is {evaluation.loss}; {session.advice}")
        folder.write_evaluation(evaluation.to_json())
    return run


def _check_model(folder: RunFolder, progress: Progress) -> None:
    """Raise RunError if the kept weights are gone. Where training goes on they may be newer than the checkpoint."""
    found = folder.model_sha256()
    if progress.model_sha256 and (found is None or (progress.finished and found != progress.model_sha256)):
        what = "is missing" if found is None else "is not the file"
        raise RunError(f"{folder.model} {what} that this run wrote after epoch {progress.best_epoch}; train anew")


def _judged(folder: RunFolder, config: dict[str, Any]) -> bool:
    """Whether the test part, if there is any, has been evaluated with the weights that are kept."""
    return folder.read_evaluation() is not None or not config["data"]["counts"]["test"]
