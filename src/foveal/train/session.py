"""A session: one network, its data and its settings bound to a plan, ready for the loop to make updates with."""

import copy
import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.data import Dataset, batch_bounds, epoch_order, moves, parse_augment
from foveal.errors import DataError, DivergedError, UsageError
from foveal.layers import Sequential
from foveal.optim import Optimizer, Schedule
from foveal.plan import BatchResult, Plan
from foveal.run.model_file import Model, image_shape, pack_model, weights_of
from foveal.train.balance import balanced_weights
from foveal.train.initial import Initial, start_from
from foveal.train.settings import TrainSettings
from foveal.train.whitening import whiten


@dataclass(frozen=True)
class Validation:
    """Mean of the plain cross-entropy, and accuracy, a fraction, over the validation images."""

    loss: float
    accuracy: float


@dataclass(frozen=True, eq=False)
class Answers:
    """Of N images. loss: mean of the plain cross-entropy; logits: (N, K); labels: (N,)."""

    loss: float
    logits: NDArray[np.float32]
    labels: NDArray[np.int32]


class Session:
    """The state of a training is the plan's; everything else here is fixed.

    settings must be resolved. patient_from: the epochs before it do not count for patience. initial: a model whose
    weights are the first ones; beginning: what to tell of that. searched: whether a search found the learning rate.
    Raises ShapeError, UsageError or DataError when network, data and settings do not fit together.
    """

    def __init__(
        self,
        net: Sequential,
        optimizer: Optimizer,
        settings: TrainSettings,
        data: Dataset,
        patient_from: int = 0,
        initial: Initial | None = None,
        searched: bool = False,
    ) -> None:
        if settings.batch_size is None or settings.minutes is not None:
            raise UsageError("the settings must be resolved before a session begins")
        self.optimizer, self.settings, self.data = optimizer, settings, data
        self.lr = math.nan if isinstance(settings.lr, str) else settings.lr  # none yet
        self.searched = searched
        self.batch_size = settings.batch_size
        self.patience, self.patient_from = settings.patience, patient_from
        self.train_count = len(data.train)
        self.validation_count = len(data.validation) if data.validation is not None else 0
        if self.train_count == 0:
            raise DataError("there are no images to train on")
        shape = image_shape(data.preprocess)
        self.class_counts = data.train.counts
        weights = balanced_weights(self.class_counts) if settings.class_weight == "balanced" else None
        self.plan = Plan(
            net, shape, self.batch_size, optimizer, settings.seed, settings.threads, settings.isa,
            label_smoothing=settings.label_smoothing, class_weights=weights, clip_norm=settings.clip_norm,
            max_norm=settings.max_norm,
        )  # fmt: skip
        if self.plan.classes != len(data.class_names):
            raise UsageError(
                f"the network has {self.plan.classes} outputs, but the data {len(data.class_names)} classes"
            )
        whiten(self.plan, data.train.pixels, data.preprocess)
        self.initial = initial
        self.beginning = start_from(self.plan, initial, data.class_names) if initial is not None else ""
        self.class_shares = tuple(count / self.train_count for count in self.class_counts)
        scale, shift = data.preprocess.scale, data.preprocess.shift
        self._train = self.plan.attach(data.train.pixels, data.train.labels, scale, shift)
        self._validation = None
        if self.patience is not None and not self.validation_count:
            raise UsageError("--patience needs validation images, but the data have none")
        if data.validation is not None and self.validation_count:
            self._validation = self.plan.attach(data.validation.pixels, data.validation.labels, scale, shift)
        self._schedule = Schedule(settings.schedule, settings.warmup)
        self._augment = parse_augment(settings.augment)
        # batch normalisation needs 2 values to have a variance: after a dense layer an image has but one
        drop_single = self.plan.least_batch > 1
        if drop_single and self.batch_size == 1 < self.train_count:
            raise UsageError("BatchNorm after a dense layer needs at least 2 images in a batch: --batch-size 2 or more")
        self._bounds = batch_bounds(self.train_count, self.batch_size, drop_single=drop_single)
        if not self._bounds:
            raise DataError("BatchNorm after a dense layer needs at least 2 images to train on")
        epochs = -(-self.total_steps // self.steps_per_epoch)
        if self.patience is not None and self.patience >= epochs:
            raise UsageError(f"--patience {self.patience} would change nothing in {epochs} epoch{'s' * (epochs > 1)}")

    @property
    def advice(self) -> str:
        """What to try when the loss goes wrong."""
        if self.searched:  # short trainings went well with it, so it is not far from one that will do
            return f"the learning rate was {self.lr:g}, which a search found; try --lr {self.lr / 3:.2g}"
        return f"the learning rate was {self.lr:g}, try --lr {self.lr / 10:.2g} or --lr auto"

    @property
    def uniform_loss(self) -> float:
        """The training loss of a network that gives all K classes the same score: ln K, or with smoothing and weights
        Σₙ Σₖ q[n, k] ln K / Σₙ w[yₙ] (see `SoftmaxCrossEntropy`), over all training images."""
        classes, smooth = len(self.class_shares), self.settings.label_smoothing
        weights = self.plan.loss.class_weights or (1.0,) * classes
        mean = sum(share * weight for share, weight in zip(self.class_shares, weights, strict=True))
        return math.log(classes) * (1 - smooth + smooth * sum(weights) / classes / mean)

    @property
    def steps_per_epoch(self) -> int:
        return len(self._bounds)

    @property
    def total_steps(self) -> int:
        """Updates of the whole training."""
        if self.settings.steps is not None:
            return self.settings.steps
        return (self.settings.epochs or 0) * self.steps_per_epoch

    def rate(self, update: int) -> float:
        """Learning rate of an update, counted from 0 over the whole training."""
        return self._schedule.rate(self.lr, update, self.total_steps)

    def epoch_order(self, epoch: int) -> NDArray[np.int64]:
        """The order (N,) in which epoch 0, 1, … goes through the training images."""
        return epoch_order(self.settings.seed, epoch, self.train_count)

    def update(self, order: NDArray[np.int64], epoch: int, step: int, rate: float) -> BatchResult:
        """One update, with batch `step` of the epoch's order."""
        start, end = self._bounds[step]
        index = order[start:end]
        _, high, wide = self.plan.input_shape
        moved = moves(self._augment, self.settings.seed, epoch, index, high, wide)
        return self.plan.train_on(self._train, index, moved, rate, epoch=epoch, step=step)

    def validate(self, index: NDArray[np.int64] | None = None) -> Validation | None:
        """Loss and accuracy over the validation images, those at `index` or all, by the views that the model will be
        used with; None without any."""
        if (found := self.answers(index, self.settings.tta)) is None:
            return None
        correct = int(np.count_nonzero(found.logits.argmax(axis=1) == found.labels))
        return Validation(found.loss, correct / len(found.labels))

    def answers(self, index: NDArray[np.int64] | None = None, tta: str = "none") -> Answers | None:
        """What the network makes of the validation images, those at `index` or all; None without any. tta: by which
        views of them, see `Plan.evaluate_on`."""
        if self._validation is None:
            return None
        result = self.plan.evaluate_on(self._validation, index, tta=tta)
        labels = self._validation.labels
        return Answers(result.loss, result.logits, labels if index is None else labels[index])

    def at_rate(self, lr: float) -> "Session":
        """This session, its plan included, with the learning rate that a search found: to be used instead of it."""
        other = copy.copy(self)
        other.lr, other.settings, other.searched = lr, dataclasses.replace(self.settings, lr=lr, workers=None), True
        return other

    def pack_model(self) -> bytes:
        """model.safetensors with the weights as they are. Raises DivergedError if any is not finite."""
        weights = weights_of(self.plan.state_dict())
        for name, value in weights.items():
            if not np.isfinite(value).all():
                raise DivergedError(f"{name} is no longer finite; {self.advice}")
        data = self.data
        return pack_model(Model(self.plan.net, data.preprocess, data.class_names, weights, self.settings.tta))
