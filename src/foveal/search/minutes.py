"""How many epochs fit into a number of minutes, the search for the learning rate included.

The number depends on this machine and its other work. What follows depends on the number alone: a training for as many
epochs, given by hand, is the same one.
"""

import bisect
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from foveal.data import Dataset
from foveal.errors import UsageError
from foveal.kernels import resolve_threads
from foveal.layers import Sequential
from foveal.lrsearch import Search, longer
from foveal.optim import Optimizer
from foveal.search.data import FEWEST_HELD_OUT
from foveal.search.run import search_of
from foveal.search.trials import scored_images, trial_steps
from foveal.train.initial import Initial
from foveal.train.pace import Clock, Pace, rehearsed
from foveal.train.session import Session
from foveal.train.settings import AUTO, TrainSettings

MOST_EPOCHS: Final = 1_000_000
MARGIN: Final = 0.1  # of the time that is left, which may go to what was not measured
_MEASURED: Final = 2.0, 0.05  # measuring takes at most so many seconds, and such a part of the time that is left


@dataclass(frozen=True)
class Chosen:
    """A number of epochs for so many minutes. In seconds: left, of them, when it was chosen; epoch, that one takes;
    search, that the search for a training of so many epochs takes (0 without one); total, that all of it takes."""

    minutes: float
    epochs: int
    left: float
    epoch: float
    search: float
    total: float

    @property
    def fits(self) -> bool:
        return self.total <= (1 - MARGIN) * self.left

    def __str__(self) -> str:
        if not self.fits:
            one = "one epoch with its search" if self.search else "one epoch"
            needed, left = _about(self.total), _about(self.left)
            return f"--minutes {self.minutes:g}: {one} takes about {needed}, and {left} are left: training 1 epoch"
        many = f"{self.epochs:,} epochs, of about {_about(self.epoch)} each"
        one = f"1 epoch, of about {_about(self.epoch)}"
        search = f", after a search of about {_about(self.search)}" if self.search else ""
        return (
            f"--minutes {self.minutes:g}: {one if self.epochs == 1 else many}{search}; "
            f"--epochs {self.epochs} repeats this training"
        )

    def to_json(self) -> dict[str, Any]:
        """As config.json keeps it; no result depends on it."""
        seconds = {"left": self.left, "epoch": self.epoch, "search": self.search, "total": self.total}
        return {"minutes": self.minutes, "epochs": self.epochs, "seconds": {k: round(v, 6) for k, v in seconds.items()}}


def epochs_within(
    net: Sequential,
    optimizer: Optimizer,
    settings: TrainSettings,
    data: Dataset,
    initial: Initial | None,
    *,
    since: float,
    clock: Clock,
    where: Path,
) -> Chosen:
    """The most epochs for which search, training and test end `settings.minutes` after `since`, but at least one.

    settings: resolved. since: when the command began, by the clock. where: the run's folder, or one above it. Measured
    on sessions that are thrown away. Raises what `Session` does, and UsageError where patience is no shorter.
    """
    minutes = settings.minutes or 0.0
    seconds = min(_MEASURED[0], _MEASURED[1] * max(60 * minutes - (clock() - since), 0.0))
    threads = resolve_threads(settings.threads)
    workers = settings.workers or threads
    apiece = max(1, threads // workers)
    searched = settings.lr == AUTO
    twice = searched and apiece != threads
    session, pace = rehearsed(
        net, optimizer, settings, data, initial, threads=threads, seconds=seconds / (1 + twice), clock=clock,
        where=where,
    )  # fmt: skip
    trial_pace = pace
    if twice:
        _, trial_pace = rehearsed(
            net, optimizer, settings, data, initial, threads=apiece, seconds=seconds / 2, clock=clock, where=where
        )
    held_out, tested = len(data.validation or ()), len(data.test or ())
    steps = session.steps_per_epoch
    epoch = session.train_count / session.batch_size * pace.update + held_out * pace.image + pace.end
    rest = pace.session + tested * pace.image  # the kept model is loaded and tested

    def search_seconds(epochs: int) -> float:
        if not searched:
            return 0.0
        crowd = _Crowd(workers, apiece, threads)
        return _search_seconds(search_of(session), session, epochs * steps, trial_pace, crowd, held_out)

    def total(epochs: int) -> float:
        return search_seconds(epochs) + epochs * epoch + rest

    left = 60 * minutes - (clock() - since)
    fitting = bisect.bisect_right(range(1, MOST_EPOCHS + 1), (1 - MARGIN) * left, key=total)
    epochs = max(fitting, 1)
    if settings.patience is not None and settings.patience >= epochs:
        raise UsageError(
            f"--minutes {minutes:g} has time for {epochs} epoch{'s' * (epochs > 1)}, in which --patience "
            f"{settings.patience} would change nothing"
        )
    return Chosen(minutes, epochs, max(left, 0.0), epoch, search_seconds(epochs), total(epochs))


@dataclass(frozen=True)
class _Crowd:
    """Trials at a time, the threads of each, and how many threads there are."""

    workers: int
    apiece: int
    threads: int

    def waves(self, trials: int) -> float:
        """How long so many trials take, in times of one alone: in waves, in each of which all threads are busy or one
        trial's share of them is enough for it."""
        full, rest = divmod(trials, self.workers)
        return full * self._slower(self.workers) + self._slower(rest) * (rest > 0)

    def _slower(self, trials: int) -> float:
        return max(1.0, trials * self.apiece / self.threads)


def _search_seconds(
    search: Search, session: Session, total_steps: int, pace: Pace, crowd: _Crowd, held_out: int
) -> float:
    """Of a search whose trials all go to their end, and whose range holds the best rate."""
    seconds = []
    for rung in longer(search, trial_steps(0.0, total_steps) / total_steps).rungs:
        steps = trial_steps(rung.horizon, total_steps)
        scored = min(max(held_out, FEWEST_HELD_OUT), scored_images(steps * session.batch_size))
        trial = steps * pace.update + scored * pace.image + 2 * pace.session  # one for each half
        kept = rung.trials * 2 * pace.end  # each half is saved as it ends, hardly as much as an epoch
        seconds.append(crowd.waves(rung.trials) * trial + kept)
    return math.fsum(seconds)


def _about(seconds: float) -> str:
    """Two digits: "0.052 s", "9.1 s", "1.7 min", "12 min", "2.5 h"."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 1.5 * size:
            return f"{_two_digits(seconds / size)} {unit}"
    return f"{_two_digits(seconds)} s"


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):g}"
