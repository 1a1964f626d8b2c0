"""A session whose losses are written down in advance, to test the loop alone."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from foveal.run.checkpoint import Progress
from foveal.run.folder import RunFolder
from foveal.train.events import Event
from foveal.train.loop import train
from foveal.train.session import Validation


@dataclass
class FakePlan:
    """Counts updates in its one weight."""

    weight: float = 0.0
    parameter_count: int = 1
    input_shape: tuple[int, int, int] = (1, 8, 8)
    threads: int = 1
    isa: str = "none"

    def state_dict(self) -> dict[str, np.ndarray]:
        return {"weight": np.array([self.weight], np.float32)}


@dataclass
class FakeSession:
    """validation: the loss after each epoch, () for none. training: the loss of each update, the last one repeated."""

    validation: Sequence[float] = ()
    training: Sequence[float] = (1.0,)
    accuracy: float = 0.5
    steps_per_epoch: int = 4
    total_steps: int = 12
    patience: int | None = None
    patient_from: int = 0
    class_shares: Sequence[float] = (0.1,) * 10
    lr: float = 0.5
    batch_size: int = 2
    on_update: Callable[[int], None] = lambda update: None
    plan: FakePlan = field(default_factory=FakePlan)
    made: list[tuple[int, int]] = field(default_factory=list)
    data: Any = field(
        default_factory=lambda: SimpleNamespace(
            notes=(), class_names=tuple("abcdefghij"), test=None, fingerprint="f" * 64
        )
    )
    train_count: int = 8
    uniform: float | None = None

    @property
    def uniform_loss(self) -> float:
        return self.uniform or math.log(len(self.class_shares))

    @property
    def advice(self) -> str:
        return f"the learning rate was {self.lr:g}, try --lr {self.lr / 10:.2g} or --lr auto"

    @property
    def validation_count(self) -> int:
        return 5 if self.validation else 0

    def rate(self, update: int) -> float:
        return self.lr * (1 - update / self.total_steps)

    def epoch_order(self, epoch: int) -> np.ndarray:
        return np.arange(8)

    def update(self, order: np.ndarray, epoch: int, step: int, rate: float) -> Any:
        number = len(self.made)
        self.made.append((epoch, step))
        self.plan.weight += 1
        self.on_update(number)
        loss = self.training[min(number, len(self.training) - 1)]
        return SimpleNamespace(loss=loss, correct=round(self.accuracy * 10), count=10)

    def validate(self) -> Validation | None:
        done = len(self.made) // self.steps_per_epoch if len(self.made) % self.steps_per_epoch == 0 else -1
        return Validation(self.validation[done - 1], 0.25) if self.validation else None

    def pack_model(self) -> bytes:
        return f"weights after {self.plan.weight:g} updates".encode()


class Clock:
    """Seconds that pass only when somebody looks."""

    def __init__(self, tick: float = 1.0) -> None:
        self.now, self.tick = 0.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


def run_loop(
    session: FakeSession, path: Path, *, progress: Progress | None = None, checkpoint_every: float = 1e9
) -> tuple[list[Event], Progress, RunFolder]:
    """Train in a new folder (or an old one with `progress`); returns what was heard and written."""
    path.mkdir(exist_ok=True)
    folder, heard, progress = RunFolder(path), [], progress or Progress()
    train(
        session,
        folder,
        progress,
        listeners=[heard.append],
        clock=Clock(),
        checkpoint_every=checkpoint_every,  # type: ignore[arg-type]
    )
    return heard, progress, folder
