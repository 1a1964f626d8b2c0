"""What the training loop tells its listeners, as it happens. A listener is any function that takes an event."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from foveal.lrsearch import Best, Result, Search, State, Trial
from foveal.run.checkpoint import EpochRow


@dataclass(frozen=True)
class Loaded:
    """The data are there, and nothing has been done with them. input_shape: (C, H, W), as the network takes them.
    notes: what is worth telling of them."""

    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]
    images: int
    validation_images: int
    test_images: int
    fingerprint: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Started:
    """The loop begins, or goes on after `updates` updates. epochs: the most that there will be."""

    run: Path
    epochs: int
    steps: int
    steps_per_epoch: int
    updates: int
    batch_size: int
    lr: float
    parameters: int
    threads: int
    isa: str


@dataclass(frozen=True)
class BatchDone:
    """One update is made. epoch and step (in it) count from 1; loss and accuracy are of the epoch so far."""

    epoch: int
    step: int
    updates: int
    images: int
    loss: float
    accuracy: float
    lr: float


@dataclass(frozen=True)
class EpochDone:
    """An epoch has ended and been validated, and a checkpoint is written."""

    row: EpochRow
    improved: bool


@dataclass(frozen=True)
class Improved:
    """The validation loss is the lowest so far and model.safetensors holds these weights. epoch counts from 1."""

    epoch: int
    loss: float


@dataclass(frozen=True)
class Noted:
    """Something that was decided for the user."""

    message: str


@dataclass(frozen=True)
class Warned:
    """Something that a user should know; training goes on."""

    message: str


@dataclass(frozen=True)
class Stopped:
    """Training ends before all epochs are done. epoch: the last one, from 1."""

    epoch: int
    reason: str


@dataclass(frozen=True)
class Finished:
    """All updates are made. kept_epoch: the epoch, from 1, whose weights are kept. seconds: of the whole run."""

    updates: int
    kept_epoch: int
    seconds: float


@dataclass(frozen=True)
class SearchStarted:
    """The search for a learning rate begins, or goes on. workers: trials at a time; threads: of each; steps: of the
    full training, of which a trial's horizon is a share."""

    search: Search
    workers: int
    threads: int
    steps: int


@dataclass(frozen=True)
class TrialBegun:
    """A worker has taken up half a trial. Not told where an executor's futures do not say that they run."""

    trial: Trial
    half: int


@dataclass(frozen=True)
class TrialDone:
    """Half a trial has ended. passes: images that went through the network in the whole search so far."""

    result: Result
    passes: int


@dataclass(frozen=True)
class RoundDone:
    """All trials of a round, the first or second half of a rung, have ended."""

    rung: int
    half: int
    state: State


@dataclass(frozen=True)
class SearchFinished:
    """The rate is found. cost: in full trainings; seconds: of the search."""

    best: Best
    cost: float
    seconds: float


SearchEvent = SearchStarted | TrialBegun | TrialDone | RoundDone | SearchFinished
Event = Loaded | Started | BatchDone | EpochDone | Improved | Noted | Warned | Stopped | Finished | SearchEvent
Listener = Callable[[Event], None]
