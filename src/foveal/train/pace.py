"""How fast this machine trains, measured on a session that is then thrown away: nothing of the training is touched."""

import dataclasses
import statistics
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from foveal.data import Dataset
from foveal.errors import RunError
from foveal.layers import Sequential
from foveal.optim import Optimizer
from foveal.run.checkpoint import Progress, pack_checkpoint
from foveal.run.folder import RunFolder
from foveal.train.initial import Initial
from foveal.train.session import Session
from foveal.train.settings import TrainSettings

Clock = Callable[[], float]

_MOST: Final = 50  # of one thing, timed
_WARM: Final = 3  # calls of one thing that are not counted, where there is time for them
_SHARES: Final = (0.6, 0.2, 0.2)  # of the time there is: for updates, evaluation, and an epoch's end


@dataclass(frozen=True)
class Pace:
    """Medians, in seconds: of an update with a whole batch; of evaluating one image; of an epoch's end, that is of
    saving it, with drawing the order of the next; of making a session."""

    update: float
    image: float
    end: float
    session: float


def rehearsed(
    net: Sequential,
    optimizer: Optimizer,
    settings: TrainSettings,
    data: Dataset,
    initial: Initial | None,
    *,
    threads: int | None,
    seconds: float,
    clock: Clock,
    where: Path,
) -> tuple[Session, Pace]:
    """A session of this training, to be thrown away, and its pace, which is measured in about so many seconds.

    settings: resolved but for the number of epochs. where: what is saved will lie there, or in a folder of it that is
    yet to be made. Raises what `Session` does.
    """
    begun = clock()
    settings = dataclasses.replace(settings, epochs=1, steps=None, minutes=None, patience=None, threads=threads)
    # evaluated on images that it is trained on, because there may be no others
    session = Session(net, optimizer, settings, dataclasses.replace(data, validation=data.train, test=None), 0, initial)
    made = clock() - begun
    order = session.epoch_order(0)
    full = max(session.train_count // session.batch_size, 1)  # batches, the last of an epoch may be smaller
    updates, evaluation, end = (seconds * share for share in _SHARES)

    def update(number: int) -> None:
        session.update(order, 0, number % min(full, session.steps_per_epoch), 0.0)

    some = np.arange(session.batch_size)

    def evaluate(number: int) -> None:
        session.validate(some)

    update_seconds, evaluate_seconds = _median(update, clock, updates), _median(evaluate, clock, evaluation)
    return session, Pace(update_seconds, evaluate_seconds / len(some), _end(session, clock, end, where), made)


def _end(session: Session, clock: Clock, limit: float, where: Path) -> float:
    """Seconds that an epoch's end takes beside validation."""
    where = next((folder for folder in (where, *where.absolute().parents) if folder.is_dir()), Path())
    with suppress(OSError, RunError), tempfile.TemporaryDirectory(prefix=".foveal-", dir=where) as path:
        folder = RunFolder(Path(path))

        def end(number: int) -> None:
            session.epoch_order(number)
            folder.write_model(session.pack_model())
            folder.write_checkpoint(pack_checkpoint(session.plan.state_dict(), Progress()))
            folder.write_metrics([])

        return _median(end, clock, limit)
    return 0.0  # nothing can be written there, which the run's own folder will say


def _median(act: Callable[[int], None], clock: Clock, limit: float) -> float:
    """Seconds of one call: the median of as many as the limit, in seconds, has time for. The first ones warm up and do
    not count, unless they are so slow that there is no time for others."""
    times: list[float] = []
    while not times or (len(times) < _MOST and sum(times) < limit):
        begun = clock()
        act(len(times))
        times.append(clock() - begun)
    return statistics.median(times[min(_WARM, len(times) // 3) :])
