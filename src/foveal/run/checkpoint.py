"""Where a training stands: its progress as numbers, and the file `last.safetensors` it can be resumed from.

Nothing random is kept: order, augmentation and dropout are computed from (seed, epoch, step). So the weights, the
optimizer's state, the running statistics and the counters here are all there is.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foveal.errors import RunError
from foveal.run.tensors import Arrays, pack, unpack


@dataclass(frozen=True)
class EpochRow:
    """One line of metrics.csv. epoch counts from 1; step: updates since the start; lr: rate of the last of them.

    Losses are means over images, accuracies fractions; the training ones are taken as the epoch went along. train_loss
    is what is minimised, with label smoothing and class weights; val_loss is always the plain cross-entropy, which can
    be compared between settings. val_ is None without validation images. seconds: of this epoch, validation included.
    """

    epoch: int
    step: int
    lr: float
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    seconds: float
    images_per_second: float


@dataclass
class Progress:
    """Counters of a training; the loop advances them, a checkpoint keeps them.

    epoch: epochs completed; step, loss_sum, correct, seen, epoch_seconds: of the epoch under way; updates, seconds: of
    the whole run. best_epoch (from 1), best_loss: of the weights in model.safetensors, whose hash is model_sha256.
    finished: why no step is left ("" while some are).
    """

    epoch: int = 0
    step: int = 0
    updates: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    epoch_seconds: float = 0.0
    seconds: float = 0.0
    best_epoch: int | None = None
    best_loss: float | None = None
    model_sha256: str | None = None
    finished: str = ""
    rows: list[EpochRow] = field(default_factory=list)

    def add(self, loss: float, correct: int, count: int) -> None:
        """Count one update that saw `count` images with mean loss `loss`."""
        self.step += 1
        self.updates += 1
        self.loss_sum += loss * count
        self.correct += correct
        self.seen += count

    def end_epoch(self, row: EpochRow) -> None:
        """Close the epoch under way."""
        self.rows.append(row)
        self.epoch += 1
        self.step, self.loss_sum, self.correct, self.seen, self.epoch_seconds = 0, 0.0, 0, 0, 0.0

    def improves(self, loss: float) -> bool:
        """Whether a validation loss is finite and strictly lower than the best so far."""
        return math.isfinite(loss) and (self.best_loss is None or loss < self.best_loss)

    @property
    def kept_row(self) -> EpochRow | None:
        """The row of the epoch whose weights are kept."""
        return self.rows[self.best_epoch - 1] if self.best_epoch else None


def pack_checkpoint(state: Arrays, progress: Progress) -> bytes:
    """The bytes of last.safetensors: the plan's state and the progress."""
    return pack("checkpoint", state, {"progress": dataclasses.asdict(progress)})


def read_checkpoint(path: Path) -> tuple[dict[str, Any], Progress]:
    """(plan state, progress) of last.safetensors. Raises RunError."""
    try:
        state, record = unpack("checkpoint", path)
    except RunError as error:
        raise RunError(f"{error}; without this file the run begins anew") from None
    return state, _progress(path, record.get("progress"))


def _progress(path: Path, values: Any) -> Progress:
    try:
        if not isinstance(values, Mapping):
            raise TypeError("no progress")
        return Progress(**{**values, "rows": [EpochRow(**row) for row in values["rows"]]})
    except (TypeError, KeyError) as error:
        raise RunError(f"{path} does not fit this version of foveal: {error}") from None
