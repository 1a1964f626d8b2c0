"""One trial of a learning rate: a whole training in short, scored on images that it was not trained on.

A trial runs the training's own session: the same network, optimizer, augmentation and loss, its whole schedule
compressed into the trial's steps, from an initial state of the trial's own seed. It is run in two halves; between them
its state, arrays by name, travels back with the result, so that any worker can run the other half.
"""

import dataclasses
import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foveal.layers import BatchNorm, Layer, Residual, Sequential
from foveal.lrsearch import Result, Trial
from foveal.metrics import calibrated_loss
from foveal.optim import Optimizer
from foveal.plan import Plan
from foveal.rng import permutation, stream_key
from foveal.search.data import SharedData
from foveal.train.initial import Initial
from foveal.train.session import Session
from foveal.train.settings import TrainSettings

PlanState = Mapping[str, NDArray[np.float32]]

LEAST_STEPS: Final = 20  # of a trial: fewer say nothing
_SCORED: Final = 8  # a trial is scored on as many images as it trained on / 8,
_FEWEST_SCORED: Final = 250  # but at least on so many, if there are
_EXPLODED: Final = 5.0  # times the loss of a guess, or the first one: such a mean over _RECENT steps ends a trial
_RECENT: Final = 8


class TrialStoppedError(Exception):
    """The search was asked to stop; the trial is of no use."""


class Stop:
    """A request to the trials in this process to end; in other processes there is none."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ask(self) -> None:
        self._event.set()

    @property
    def asked(self) -> bool:
        return self._event.is_set()

    def __reduce__(self) -> tuple[type["Stop"], tuple[()]]:
        return Stop, ()


@dataclass(frozen=True, eq=False)
class Job:
    """What all trials of a search share.

    settings: resolved; its rate, seed and steps are each trial's own. total_steps: of the full training. data: what the
    trials train on, and as validation part what they are scored on. threads: native threads of one trial.
    """

    net: Sequential
    optimizer: Optimizer
    settings: TrainSettings
    data: SharedData
    total_steps: int
    guess: float
    threads: int
    isa: str
    initial: Initial | None = None
    stop: Stop = field(default_factory=Stop)

    def steps(self, horizon: float) -> int:
        """Updates of a trial."""
        return trial_steps(horizon, self.total_steps)

    def session(self, trial: Trial) -> Session:
        settings = dataclasses.replace(
            self.settings, lr=trial.lr, seed=trial.seed, epochs=None, steps=self.steps(trial.horizon), patience=None,
            workers=None, threads=self.threads, isa=self.isa,
        )  # fmt: skip
        return Session(self.net, self.optimizer, settings, self.data.dataset, initial=self.initial)


def trial_steps(horizon: float, total_steps: int) -> int:
    """Updates of a trial, of a full training of `total_steps`."""
    return max(min(LEAST_STEPS, total_steps), round(horizon * total_steps))


def scored_images(trained: int) -> int:
    """How many held-out images, if there are as many, score a trial that trained on so many."""
    return max(_FEWEST_SCORED, trained // _SCORED)


@dataclass(frozen=True, eq=False)
class Half:
    """What a worker sends back. passes: images that went through the network, trained on or scored; state: to go on
    from, after a first half."""

    result: Result
    passes: int
    state: PlanState | None = None


def run_half(job: Job, trial: Trial, half: int, begun: PlanState | None = None) -> Half:
    """The first or the second half of a trial. begun: the state after the first half, which is run again if None."""
    session = job.session(trial)
    total = session.total_steps
    middle = total // 2
    first = {name: value for name, value in session.plan.state_dict().items() if _is_statistic(name)}
    if half == 1 or begun is None:
        part = train_part(job, session, 0, middle)
        if part.loss is None or half == 1:
            state = None if part.loss is None else session.plan.state_dict()
            return Half(Result(trial, half, part.loss), part.images, state)
    else:
        session.plan.load_state_dict(begun)
        session.plan.updates = middle
    part = train_part(job, session, middle, total)
    if part.loss is None:
        return Half(Result(trial, 2, None), part.images)
    settle_statistics(session.plan, first, total)
    index = scoring(job, total * session.batch_size)
    return Half(Result(trial, 2, part.loss, scored(session, index)), part.images + len(index))


class Part(NamedTuple):
    """Some updates in a row. loss: mean over their last half, as if the loss of a guess were the job's; None if it
    exploded."""

    loss: float | None
    images: int


def train_part(job: Job, session: Session, start: int, end: int) -> Part:
    """The updates from start to end."""
    losses: list[float] = []
    images = 0
    scale = job.guess / session.uniform_loss  # class weights and smoothing change what a guess costs
    order = session.epoch_order(start // session.steps_per_epoch)
    for update in range(start, end):
        if job.stop.asked:
            raise TrialStoppedError
        epoch, step = divmod(update, session.steps_per_epoch)
        if step == 0 or update == start:
            order = session.epoch_order(epoch)
        done = session.update(order, epoch, step, session.rate(update))
        images += done.count
        losses.append(scale * done.loss)
        limit = _EXPLODED * max(job.guess, losses[0])
        recent = losses[-_RECENT:]
        if not math.fsum(recent) <= len(recent) * limit:  # so that NaN counts
            return Part(None, images)
    last = losses[len(losses) // 2 :]
    return Part(math.fsum(last) / max(len(last), 1), images)


def scoring(job: Job, trained: int) -> NDArray[np.int64]:
    """Which of the held-out images score a trial; the longer it is, the more, those of shorter ones among them."""
    held_out = job.data.dataset.validation
    assert held_out is not None
    order = permutation(stream_key(job.settings.seed, "trial"), len(held_out))
    return order[: scored_images(trained)]


def scored(session: Session, index: NDArray[np.int64]) -> float | None:
    """The score of a network: its cross-entropy over the held-out images at `index`, calibrated, for how sure of its
    answers a short training leaves it says little of how good they are. None where that is not finite."""
    if (found := session.answers(index)) is None or not np.isfinite(found.logits).all():
        return None
    return calibrated_loss(found.logits, found.labels, found.loss)


def settle_statistics(plan: Plan, first: PlanState, updates: int) -> None:
    """Free batch norm's running statistics of the values they began with, as Adam's moments are of their zeros.

    After t updates with momentum m they are (1 - m)ᵗ of what they were at first; in a short trial that shows.
    """
    for place, norm in _batch_norms(plan.net):
        left = (1.0 - norm.momentum) ** updates
        for name in (f"{place}.running_mean", f"{place}.running_var"):
            now = plan.params[name].astype(np.float64)
            settled = (now - left * first[name]) / (1.0 - left)
            plan.params[name] = np.maximum(settled, 0.0) if name.endswith("var") else settled


def _is_statistic(name: str) -> bool:
    return name.endswith((".running_mean", ".running_var"))


def _batch_norms(net: Sequential, prefix: str = "") -> Iterator[tuple[str, BatchNorm]]:
    """Each batch norm of a network and its place, "3.body.1"."""
    for position, item in enumerate(net.layers):
        yield from _in_layer(item, f"{prefix}{position}")


def _in_layer(item: Layer, place: str) -> Iterator[tuple[str, BatchNorm]]:
    if isinstance(item, BatchNorm):
        yield place, item
    elif isinstance(item, Sequential):
        yield from _batch_norms(item, f"{place}.")
    elif isinstance(item, Residual):
        for name, branch in item.branches.items():
            yield from _batch_norms(branch, f"{place}.{name}.")
