"""The training loop: updates, validation, what to keep, when to stop, when to save.

Where a run may be killed, and why that is harmless. Everything after a checkpoint follows from it bit for bit, so a
resumed run makes the same updates again and writes the same files again. At the end of an epoch that improves, three
files are written, each atomically, in this order:

    model.safetensors    killed before: the checkpoint is older, and the epoch's end is repeated.
    last.safetensors     killed before: model.safetensors is ahead of the checkpoint; the same weights come out again
                         and are better again, so the same bytes are written again. (The other order would lose: a
                         checkpoint that says "epoch 7 was best" beside the weights of epoch 5.)
    metrics.csv          killed before: it is rebuilt from the checkpoint when the run is resumed.

The clock decides when to save, never what is computed.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from foveal.errors import DivergedError
from foveal.run.checkpoint import EpochRow, Progress, pack_checkpoint
from foveal.run.folder import RunFolder
from foveal.train.events import BatchDone, EpochDone, Event, Finished, Improved, Listener, Started, Stopped, Warned
from foveal.train.interrupt import Interrupted, StopRequest, stop_request
from foveal.train.session import Session

CHECKPOINT_SECONDS = 60.0


def train(
    session: Session,
    folder: RunFolder,
    progress: Progress,
    *,
    listeners: Sequence[Listener],
    clock: Callable[[], float],
    checkpoint_every: float = CHECKPOINT_SECONDS,
) -> None:
    """Go on from `progress` until the training is finished; the folder then holds all files but the evaluation.

    The folder must be locked. clock: seconds, from any start. checkpoint_every: seconds between checkpoints within an
    epoch (0: after every step); one is always written at an epoch's end. Raises Interrupted (saved) on Ctrl-C or
    SIGTERM, DivergedError when the loss is not finite, RunError when a file cannot be written.
    """
    folder.write_metrics(progress.rows)
    with stop_request() as stop:
        _Loop(session, folder, progress, listeners, clock, checkpoint_every, stop).run()


def stuck(loss: float, accuracy: float, shares: Sequence[float], uniform_loss: float | None = None) -> bool:
    """Whether a mean loss and accuracy are those of a network that gives all K classes the same score.

    shares (K,): the part of the training images that each class has. Its loss is `uniform_loss`, ln K when None (here:
    within 1 %), and it answers one class, so it is right as often as that class comes (here: no more than the
    commonest, plus 0.2 / K).
    """
    classes = len(shares)
    guess = math.log(classes) if uniform_loss is None else uniform_loss
    return classes > 1 and abs(loss - guess) <= 0.01 * guess and accuracy <= max(shares) + 0.2 / classes


class _Loop:
    """One stretch of training, from a start or a checkpoint to the end or an interruption."""

    def __init__(
        self,
        session: Session,
        folder: RunFolder,
        progress: Progress,
        listeners: Sequence[Listener],
        clock: Callable[[], float],
        checkpoint_every: float,
        stop: StopRequest,
    ) -> None:
        self.session, self.folder, self.progress = session, folder, progress
        self.listeners, self.clock, self.checkpoint_every, self.stop = listeners, clock, checkpoint_every, stop
        self.last_time = self.last_saved = clock()
        self.warned = False

    def run(self) -> None:
        s, p = self.session, self.progress
        self.emit(
            Started(
                run=self.folder.path, epochs=-(-s.total_steps // s.steps_per_epoch), steps=s.total_steps,
                steps_per_epoch=s.steps_per_epoch, updates=p.updates, batch_size=s.batch_size, lr=s.lr,
                parameters=s.plan.parameter_count, threads=s.plan.threads, isa=s.plan.isa,
            )
        )  # fmt: skip
        while not p.finished:
            self.epoch()
            self.end_epoch()
        if p.best_epoch is None:
            raise DivergedError(f"no epoch had a finite validation loss; {self.session.advice}")
        self.emit(Finished(p.updates, p.best_epoch, p.seconds))

    def epoch(self) -> None:
        """The updates left in the epoch under way."""
        s, p = self.session, self.progress
        order = s.epoch_order(p.epoch)
        while p.step < s.steps_per_epoch and p.updates < s.total_steps:
            if self.stop.requested:
                self.save()
                raise self.interrupted()
            if p.step and self.clock() - self.last_saved >= self.checkpoint_every:
                self.save()
            self.update(order)

    def update(self, order: NDArray[np.int64]) -> None:
        s, p = self.session, self.progress
        rate = s.rate(p.updates)
        result = s.update(order, p.epoch, p.step, rate)
        if not math.isfinite(result.loss):
            raise DivergedError(f"the loss became {result.loss} at step {p.updates + 1}; {self.session.advice}")
        p.add(result.loss, result.correct, result.count)
        if self.listeners:
            loss, accuracy = p.loss_sum / p.seen, p.correct / p.seen
            self.emit(BatchDone(p.epoch + 1, p.step, p.updates, p.seen, loss, accuracy, rate))

    def end_epoch(self) -> None:
        s, p = self.session, self.progress
        self.tick()
        seconds, seen = p.epoch_seconds, p.seen
        validation = s.validate()
        val_loss, val_accuracy = (validation.loss, validation.accuracy) if validation else (None, None)
        self.tick()
        rate = s.rate(p.updates - 1)
        row = EpochRow(
            p.epoch + 1, p.updates, rate, p.loss_sum / seen, p.correct / seen, val_loss, val_accuracy,
            p.epoch_seconds, seen / seconds if seconds > 0 else 0.0,
        )  # fmt: skip
        improved = val_loss is None or p.improves(val_loss)
        p.end_epoch(row)
        if improved:
            p.best_epoch, p.best_loss = row.epoch, row.val_loss
            p.model_sha256 = self.folder.write_model(s.pack_model())
        p.finished = self.verdict()
        self.save()
        self.folder.write_metrics(p.rows)
        self.tell(row, improved)
        if self.stop.requested and not p.finished:
            raise self.interrupted()

    def verdict(self) -> str:
        """Why training ends here, "" if it goes on."""
        p, patience = self.progress, self.session.patience
        if p.updates >= self.session.total_steps:
            return "all steps done"
        if patience is not None and p.epoch - max(p.best_epoch or 0, self.session.patient_from) >= patience:
            return f"no better validation loss in {patience} epoch{'s' if patience > 1 else ''}"
        return ""

    def tell(self, row: EpochRow, improved: bool) -> None:
        p = self.progress
        self.emit(EpochDone(row, improved))
        if improved and row.val_loss is not None:
            self.emit(Improved(row.epoch, row.val_loss))
        if not self.warned and self.is_stuck():
            self.warned = True
            self.emit(Warned(self.stuck_message(row.train_loss)))
        if p.finished and p.updates < self.session.total_steps:
            self.emit(Stopped(row.epoch, p.finished))

    def is_stuck(self) -> bool:
        """Whether guessing is all that came of the last two epochs (or of the first, if it is long), the rate no longer
        rising: while it is still small, nothing is learnt yet."""
        s, p = self.session, self.progress
        if p.updates < s.total_steps and s.rate(p.updates) > s.rate(p.updates - 1):
            return False
        recent = p.rows[-2:]
        if len(recent) < 2 and recent[0].step < 100:
            return False
        return all(stuck(row.train_loss, row.train_accuracy, s.class_shares, s.uniform_loss) for row in recent)

    def stuck_message(self, loss: float) -> str:
        k = len(self.session.class_shares)
        ln_k = math.isclose(self.session.uniform_loss, math.log(k))
        what = f"ln {k}" if ln_k else f"what equal scores for all {k} classes give"
        return (
            f"the loss stays at {loss:.3f}, which is {what}: the network answers as if it guessed among {k} classes; "
            f"{self.session.advice}, or another network (a ReLU before the last scores does this)"
        )

    def save(self) -> None:
        self.tick()
        self.folder.write_checkpoint(pack_checkpoint(self.session.plan.state_dict(), self.progress))
        self.last_saved = self.clock()

    def tick(self) -> None:
        """Add the time since the last call to the epoch's and the run's seconds."""
        now = self.clock()
        self.progress.epoch_seconds += now - self.last_time
        self.progress.seconds += now - self.last_time
        self.last_time = now

    def interrupted(self) -> Interrupted:
        p = self.progress
        return Interrupted(f"interrupted after step {p.updates} and saved; continue with {self.folder.resume_command}")

    def emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)
