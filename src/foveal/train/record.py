"""What config.json says of a training, and the way back from it to a session."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

from foveal.data import Dataset
from foveal.errors import RunError, UsageError
from foveal.kernels import available_isas
from foveal.layers import Sequential
from foveal.layers.base import from_json, to_json
from foveal.optim import OPTIMIZERS, Optimizer
from foveal.run.checkpoint import Progress
from foveal.run.environment import environment, version
from foveal.run.folder import RunFolder
from foveal.train.initial import Initial
from foveal.train.session import Session
from foveal.train.settings import TrainSettings

INEXACT: Final = ("baseline", "reference")  # whose last bits differ from those of the other instruction sets


def config_of(session: Session, source: str | None, command: Sequence[str]) -> dict[str, Any]:
    """config.json of a session. source: where the data can be loaded from again, None if they were given as arrays.

    extended_from: how many epochs were done when the run was last extended; see `extended`.
    """
    data, plan = session.data, session.plan
    counts = {"train": len(data.train), "validation": session.validation_count, "test": len(data.test or ())}
    return {
        "command": list(command),
        "settings": session.settings.to_json(),
        "spec": to_json(plan.net),
        "optimizer": _optimizer_json(session.optimizer),
        "input_shape": list(plan.input_shape),
        "parameters": plan.parameter_count,
        "data": {
            "source": source,
            "fingerprint": data.fingerprint,
            "class_names": list(data.class_names),
            "split": data.split.to_json(),
            "counts": counts,
            "parts": _part_fingerprints(data),
        },
        "extended_from": 0,
        "init_from": session.initial.to_json() if session.initial else None,
        "threads": plan.threads,
        "isa": plan.isa,
        "environment": environment(),
    }


def settings_of(folder: RunFolder, config: Mapping[str, Any]) -> TrainSettings:
    """The settings in config.json. Raises RunError."""
    try:
        return TrainSettings.from_json(config["settings"])
    except (KeyError, TypeError, UsageError) as error:
        raise _unusable(folder, error) from None


def session_of(
    folder: RunFolder,
    config: Mapping[str, Any],
    data: Dataset,
    threads: int | None,
    isa: str | None,
    initial: Initial | None = None,
) -> Session:
    """The session that config.json describes. Raises RunError if the data are not those it was begun with.

    threads, isa: instead of what the run was begun with. initial: the model it begins with, if it has no checkpoint.
    """
    settings = settings_of(folder, config)
    threads = settings.threads if threads is None else threads
    settings = dataclasses.replace(settings, threads=threads, isa=isa or _begun_with(config, settings))
    try:
        net, optimizer = from_json(config["spec"]), optimizer_of(config["optimizer"])
    except (KeyError, TypeError, UsageError) as error:
        raise _unusable(folder, error) from None
    if not isinstance(net, Sequential):
        raise RunError(f"{folder.config} is damaged: its spec is not a Sequential")
    check_data(folder, config, data)
    return Session(net, optimizer, settings, data, config["extended_from"], initial, searched="search" in config)


def _begun_with(config: Mapping[str, Any], settings: TrainSettings) -> str | None:
    """The instruction set that was asked for, or that the bits depend on, if this processor has it."""
    isa = settings.isa or (config["isa"] if config["isa"] in INEXACT else None)
    return isa if isa in available_isas() else None


def changes(config: Mapping[str, Any], session: Session) -> list[str]:
    """What is no longer as when the run was begun and may show in the bits: a warning each."""
    begun, here, warnings = config["environment"].get("foveal"), version(), []
    if begun != here:
        warnings.append(f"the run was begun with foveal {begun}, this is {here}: the bits may differ")
    isa = session.plan.isa
    if config["isa"] != isa and {config["isa"], isa} & set(INEXACT):
        warnings.append(f"the run was begun with isa {config['isa']} and goes on with {isa}: the last bits will differ")
    return warnings


def check_data(folder: RunFolder, config: Mapping[str, Any], data: Dataset) -> None:
    """Raise RunError unless the data are those the run was begun with, image for image, split as they were."""
    begun, now = config["data"], list(data.class_names)
    if data.fingerprint != begun["fingerprint"]:
        raise RunError(f"the data of {folder.path} are no longer those it was begun with: pixels or labels differ")
    if now != begun["class_names"]:
        raise RunError(
            f"the classes of {folder.path} were {', '.join(begun['class_names'])} when it was begun, and are "
            f"{', '.join(now)} now; train anew"
        )
    if _part_fingerprints(data) != begun["parts"]:
        raise RunError(f"the data of {folder.path} were split differently when it was begun; load them as then")


def _part_fingerprints(data: Dataset) -> dict[str, str]:
    return {name: images.fingerprint() for name, images in data.parts.items()}


def take_over(session: Session, folder: RunFolder, state: Mapping[str, Any], updates: int) -> None:
    """Put a checkpoint's state into the session's plan. Raises RunError if it is another network's."""
    expected = {name: value.shape for name, value in session.plan.state_dict().items()}
    if {name: value.shape for name, value in state.items()} != expected:
        raise RunError(f"{folder.checkpoint} does not fit the network in {folder.config}")
    session.plan.load_state_dict(state)
    session.plan.updates = updates


def extended(folder: RunFolder, config: Mapping[str, Any], progress: Progress, more_epochs: int) -> dict[str, Any]:
    """config.json for `more_epochs` more than were planned, or than were done where training had ended.

    That alone extends the run: a checkpoint of no more than `extended_from` epochs is not the end, whatever it says.
    Raises UsageError for a training that counts steps, RunError where model.safetensors is newer than the checkpoint:
    the run was killed between the two, and under another schedule the weights in it would not come out again.
    """
    if more_epochs < 1:
        raise UsageError(f"--epochs +N needs N of at least 1, not {more_epochs}")
    settings = settings_of(folder, config)
    if settings.epochs is None:
        raise UsageError(f"{folder.path} counts --steps, so --epochs cannot extend it")
    if progress.model_sha256 != folder.model_sha256():
        raise RunError(
            f"{folder.path} was killed while saving: finish it first with {folder.resume_command}, then extend"
        )
    base = progress.epoch if progress.finished else settings.epochs
    longer = dataclasses.replace(settings, epochs=base + more_epochs)
    begins = progress.epoch if progress.finished else config["extended_from"]
    return {**config, "settings": longer.to_json(), "extended_from": begins}


def _optimizer_json(optimizer: Optimizer) -> dict[str, Any]:
    return {"name": optimizer.name, **dataclasses.asdict(optimizer)}  # type: ignore[call-overload]


def optimizer_of(values: Mapping[str, Any]) -> Optimizer:
    """The optimizer that config.json describes."""
    return OPTIMIZERS[values["name"]](**{name: value for name, value in values.items() if name != "name"})


def _unusable(folder: RunFolder, error: Exception) -> RunError:
    reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    return RunError(f"{folder.config} does not fit this version of foveal: {reason}")
