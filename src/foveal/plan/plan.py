"""`Plan`: a network bound to an input shape, a batch size and memory, ready to train and to predict."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.checks import LARGEST, integer, real
from foveal.errors import ShapeError, UsageError
from foveal.kernels import resolve_isa, resolve_threads
from foveal.kernels.reference import MOVE
from foveal.layers import Sequential, SoftmaxCrossEntropy
from foveal.layers.base import Layer, Shape
from foveal.optim import Optimizer
from foveal.params import Parameters, ParamLayout
from foveal.plan import conv as _conv_lowering  # noqa: F401  (registers it)
from foveal.plan import elementwise as _elementwise_lowerings  # noqa: F401
from foveal.plan import native as _native_lowerings  # noqa: F401
from foveal.plan import residual as _residual_lowering  # noqa: F401
from foveal.plan.arena import place
from foveal.plan.bound import BoundProgram
from foveal.plan.describe import LayerFacts, describe
from foveal.plan.inout import InputOutput
from foveal.plan.loss import lower_loss, lower_scores
from foveal.plan.lower import logical, lower, store
from foveal.plan.memory import Memory
from foveal.plan.program import Buffer, Builder, Gradient, Phase, RunInfo, Step
from foveal.plan.record import record_program
from foveal.plan.results import BatchResult, EvaluationResult
from foveal.plan.source import Source
from foveal.plan.update import Limits, lower_update

Floats = NDArray[np.float32]


class Plan:
    """A network bound to memory.

    net: layers that end in class scores (K,). input_shape: (C, H, W). batch_size: the largest batch; smaller ones run
    as a prefix. optimizer: None for a plan that only predicts. seed: of the initial weights and of dropout. threads,
    isa: never influence results (but `isa="baseline"` and "reference" differ from the others in the last bits).
    label_smoothing, class_weights (K,): of the loss that is trained on (`SoftmaxCrossEntropy`); evaluation always gives
    the plain cross-entropy, so that its numbers can be compared. clip_norm: scale the gradient of all parameters to at
    most this L2 norm before each update. max_norm: scale each unit's weights to at most this L2 norm after it
    (`foveal.optim.clipping`).
    One thread may use a plan at a time; several plans may be at work at once.
    Raises ShapeError when layers do not fit, UsageError for arguments that cannot be.
    """

    def __init__(
        self,
        net: Layer,
        input_shape: tuple[int, int, int],
        batch_size: int,
        optimizer: Optimizer | None = None,
        seed: int = 0,
        threads: int | None = None,
        isa: str | None = None,
        *,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        clip_norm: float | None = None,
        max_norm: float | None = None,
        fuse: bool = True,
    ) -> None:
        self.input_shape = _image_shape(input_shape)
        batch_size, seed = integer(batch_size, "batch_size", 1), integer(seed, "seed", 0, 2**64 - 1)
        self.net = net if isinstance(net, Sequential) else Sequential(net)
        self.batch_size, self.optimizer, self.seed = batch_size, optimizer, seed
        self.loss = SoftmaxCrossEntropy(label_smoothing, class_weights)  # type: ignore[arg-type]  # made a tuple
        self.limits = Limits(clip_norm, max_norm)
        if optimizer is None and not (self.loss.plain and self.limits == Limits()):
            raise UsageError("settings of loss and norms would change nothing in a plan without an optimizer")
        self.threads, self.isa = resolve_threads(threads), resolve_isa(isa)
        self.classes = classes_of(self.net, self.input_shape)
        self.updates = 0
        self._fuse = fuse
        self._in_use = threading.Lock()
        self.least_batch = 1  # images that a training step needs
        self._io = InputOutput(self.input_shape, batch_size, self.classes)
        self._build()
        self.layout.initialise(self._flat, seed)
        self.params = Parameters(self.layout, self._flat)

    # ---- building

    def _builder(self, *, training: bool) -> Builder:
        return Builder(
            training=training, batch=self.batch_size, threads=self.threads, isa=self.isa, fuse=self._fuse,
            keep=self.optimizer is None,
        )  # fmt: skip

    def _build(self) -> None:
        inference = self._builder(training=False)
        logits, _ = lower(self.net, self._io.value, inference)
        self.layout = ParamLayout.of(inference.entries)
        scores, _ = lower_scores(logits, inference)
        inference.phase = "loss"
        lower_loss(scores, None, self._io, inference)
        state: dict[str, Buffer] = {}
        training: list[Step] = []
        if self.optimizer is not None:
            training, state = self._lower_training(self.optimizer)
        prepare = [step for step in inference.steps if step.phase == "prepare"]
        predict = [step for step in inference.steps if step.phase != "prepare"]
        arena = max(place(inference.steps, self.batch_size), place(training, self.batch_size))
        self._memory = Memory(self.layout, self.batch_size, arena, state, self.optimizer is not None)
        self._flat: Floats = self._memory.params.view(np.float32)
        self._state = {name: array.view(np.float32) for name, array in self._memory.states.items()}
        self._logits = scores
        self._preparation = self._bind(prepare)
        self._prepared_at = -1  # the number of changes to parameters when it was last run
        self._inference = self._bind(predict)
        self._losses = self._bind([step for step in predict if step.phase == "loss"])
        self._training = self._bind(training) if training else None

    def _lower_training(self, optimizer: Optimizer) -> tuple[list[Step], dict[str, Buffer]]:
        b = self._builder(training=True)
        logits, backward = lower(self.net, self._io.value, b)
        scores, to_logits = lower_scores(logits, b)
        dscores = Gradient(Buffer("dscores", scores.floats))
        b.phase = "loss"
        lower_loss(scores, dscores.buffer, self._io, b, self.loss)
        b.phase = "backward"
        backward(to_logits(dscores))
        b.phase = "update"
        self.least_batch = b.least_batch
        return b.steps, lower_update(optimizer, self.layout, b, self.limits)

    def _bind(self, steps: list[Step]) -> BoundProgram:
        return BoundProgram(steps, self._memory, self.isa, self.threads)

    # ---- arrays in, arrays out

    def train_step(self, x: ArrayLike, y: ArrayLike, lr: float, *, epoch: int = 0, step: int | None = None) -> float:
        """One update from x (N, C, H, W) float32 and y (N,) labels; returns the loss before the update.

        epoch and step are the keys of dropout's random numbers; step defaults to the number of updates so far.
        """
        if self._training is None:
            raise UsageError("this plan has no optimizer; give Plan(optimizer=...) to train")
        images = self._checked(x)
        labels = np.asarray(y)
        if labels.shape != (len(images),) or not 1 <= len(images) <= self.batch_size:
            raise ShapeError(
                f"train_step takes 1 to {self.batch_size} images and a label for each, "
                f"not {len(images)} images and labels {labels.shape}"
            )
        self._check_labels(labels)
        with self._use():
            self._put(images, labels)
            return self._update(self._training, len(images), lr, epoch, self.updates if step is None else step).loss

    def predict(self, x: ArrayLike) -> Floats:
        """Logits (N, K) of images (N, C, H, W) float32, any N. An image's logits do not depend on its batch,
        unless the isa is "reference"."""
        images = self._checked(x)
        logits = np.empty((len(images), self.classes), np.float32)
        for start in range(0, len(images), self.batch_size):
            part = images[start : start + self.batch_size]
            with self._use():
                self._put(part, np.zeros(len(part), np.int32))
                self._infer(self._inference, len(part))
                logits[start : start + len(part)] = self._read_logits(len(part))
        return logits

    # ---- images as decoded: one native call a step

    def attach(self, pixels: NDArray[np.uint8], labels: NDArray[np.int32], scale: Floats, shift: Floats) -> Source:
        """Bind images (M, H, W, C) uint8 and labels (M,), normalised as pixel · scale + shift (C,) each.

        pixels are used where they lie, if they are contiguous: do not change them. The others are copied.
        """
        channels, height, width = self.input_shape
        pixels, labels = np.asarray(pixels), np.asarray(labels)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (height, width, channels):
            raise ShapeError(
                f"the plan takes uint8 images {(height, width, channels)}, not {pixels.dtype} {pixels.shape}"
            )
        if labels.shape != (len(pixels),):
            raise ShapeError(f"{len(pixels)} images need labels ({len(pixels)},), not {labels.shape}")
        self._check_labels(labels)
        pixels, labels = np.ascontiguousarray(pixels), np.array(labels, np.int32)
        scale, shift = np.array(scale, np.float32), np.array(shift, np.float32)
        if scale.shape != (channels,) or shift.shape != (channels,):
            raise ShapeError(f"scale and shift must be ({channels},), not {scale.shape} and {shift.shape}")
        step = self._io.assemble_step(pixels, labels, scale, shift, self.isa)
        training = self._bind([step, *self._training.steps]) if self._training else None
        inference = self._bind([step, *self._inference.steps])
        return Source(self._memory, pixels, labels, scale, shift, training, inference)

    def train_on(
        self, source: Source, index: NDArray[np.int64], moves: NDArray[np.int32], lr: float, *, epoch: int, step: int
    ) -> BatchResult:
        """One update from the images at `index` (N,), moved by `moves` (N, 7), see `assemble`; one native call."""
        if source.training is None:
            raise UsageError("this plan has no optimizer; give Plan(optimizer=...) to train")
        with self._use():
            self._gather(source, index, moves)
            return self._update(source.training, len(index), lr, epoch, step)

    def evaluate_on(
        self, source: Source, index: NDArray[np.int64] | None = None, *, tta: str = "none"
    ) -> EvaluationResult:
        """Loss and logits of the images at `index` (all when None), with running statistics and without dropout.

        tta, test-time augmentation: "none"; or "flip": the logits are the mean of an image's and its mirror image's,
        which stands for the geometric mean of their probabilities, and the losses are those of the mean. Krizhevsky et
        al. 2012 ("ImageNet Classification with Deep Convolutional Neural Networks", section 4.1) averaged so over five
        cuttings and their mirror images.
        """
        index = np.arange(len(source.pixels)) if index is None else index
        losses, logits = np.empty(len(index), np.float32), np.empty((len(index), self.classes), np.float32)
        for start in range(0, len(index), self.batch_size):
            part = index[start : start + self.batch_size]
            with self._use():
                logits[start : start + len(part)] = self._judge(source, part, tta)
                losses[start : start + len(part)] = self._memory.array(self._io.losses)[: len(part)]
        total = 0.0
        for loss in losses.tolist():  # one by one, in order: a pairwise sum is NumPy's choice, this order is ours
            total += loss
        return EvaluationResult(total / max(len(index), 1), losses, logits)

    # ---- state

    @property
    def parameter_count(self) -> int:
        """Number of trainable values."""
        return sum(entry.slot.size for entry in self.layout.entries.values() if entry.slot.kind == "trainable")

    def state_dict(self) -> dict[str, Floats]:
        """Everything that training changes but `updates`: parameters and "optimizer.<state>.<parameter>", logical."""
        state = {name: self.layout.read(self._flat, name) for name in self.layout.entries}
        for kind, buffer in self._state.items():
            state |= {f"optimizer.{kind}.{name}": self.layout.read(buffer, name) for name in self._trainable()}
        return state

    def load_state_dict(self, state: Mapping[str, Floats]) -> None:
        """Take over what `state_dict` gave; optimizer state may be left out.

        Raises KeyError, ShapeError; then nothing has changed.
        """
        writes = [(self._flat, name, state[name]) for name in self.layout.entries]
        for kind, buffer in self._state.items():
            full = {name: f"optimizer.{kind}.{name}" for name in self._trainable()}
            writes += [(buffer, name, state[key]) for name, key in full.items() if key in state]
        for _, name, value in writes:
            self.layout.check(name, value)
        for buffer, name, value in writes:
            self.layout.write(buffer, name, value)
        self.params.changes += 1

    @property
    def memory(self) -> dict[str, int]:
        """Bytes that the plan takes by purpose; activations: the arena, that is all values between layers, and their
        gradients when it trains, as far as they live at the same time."""
        m = self._memory
        return {
            "parameters": m.params.nbytes,
            "gradients": m.gradients.nbytes,
            "optimizer": sum(state.nbytes for state in m.states.values()),
            "activations": m.arena.nbytes,
        }

    def layers(self) -> list[LayerFacts]:
        """What is to be known of each layer, in order, containers before what is in them."""
        apart = Builder(training=False, batch=self.batch_size, threads=self.threads, isa=self.isa, fuse=False)
        lower(self.net, self._io.value, apart)
        programs = [self._preparation, self._inference, *([self._training] if self._training else [])]
        return describe(apart, self.layout, [step for program in programs for step in program.steps])

    @property
    def traffic(self) -> int:
        """Bytes that a step of training reads and writes, or one of predicting: each buffer once a native step."""
        return (self._training or self._inference).traffic(self.batch_size)

    def time_steps(self, runs: int) -> list[tuple[Step, list[float]]]:
        """Seconds of each native step of the training program, over `runs` runs; for profiling: weights change."""
        return self._profiled().time_steps(self._info(self.batch_size, update=self.updates + 1), runs)

    def part(self, layer: str, phase: Phase) -> Callable[[], None]:
        """Runs the native steps of one layer ("1 Conv2d", as printed) in one phase of the training program, over and
        over on what the last batch left; for profiling."""
        return self._profiled().part(self._info(self.batch_size, update=self.updates + 1), layer, phase)

    def record(self, path: Path, source: Source, batches: Sequence[tuple[Any, Any]], lr: float) -> None:
        """Save the training program and its runs over `batches` of (index, moves) for `native/driver.cc`.

        The plan itself is left as it is. The driver's hash is that of the parameters after the last run, as stored.
        """
        steps = source.training.steps if source.training else ()
        if not steps or any(step.function is not None for step in steps):
            raise UsageError("only a native training program can be recorded")
        info = [self._info(len(part), lr, 0, n, self.updates + n + 1) for n, (part, _) in enumerate(batches)]
        record_program(path, steps, self._memory, self._io, batches, info)

    def __str__(self) -> str:
        programs = [self._training] if self._training else [self._preparation, self._inference]
        rows = [row for program in programs for row in program.table(self.isa, self.batch_size)]
        head = ("phase", "layer", "step", "provenance", "bytes", "FLOPs")
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
        memory = self._memory.arena.nbytes / 2**20
        title = f"Plan: batch {self.batch_size}, {self.isa}, {self.threads} threads, arena {memory:.1f} MB"
        return "\n".join([title, *(line.rstrip() for line in lines)])

    # ---- helpers

    def _trainable(self) -> list[str]:
        return [name for name, entry in self.layout.entries.items() if entry.group < 2]

    def _info(self, batch: int, lr: float = 0.0, epoch: int = 0, step: int = 0, update: int = 1) -> RunInfo:
        return RunInfo(batch, lr, update, epoch, step, self.seed)

    @contextmanager
    def _use(self) -> Iterator[None]:
        """The plan's memory is one caller's at a time."""
        if not self._in_use.acquire(blocking=False):
            raise UsageError("this plan is at work already, in another thread or further up: make one for each")
        try:
            yield
        finally:
            self._in_use.release()

    def _profiled(self) -> BoundProgram:
        if self._training is None:
            raise UsageError("this plan has no optimizer; give Plan(optimizer=...) to train")
        return self._training

    def _infer(self, program: BoundProgram, batch: int) -> None:
        """Run an inference program, after what depends on parameters alone where they have changed."""
        if self._prepared_at != self.params.changes:
            self._preparation.run(self._info(batch))
            self._prepared_at = self.params.changes
        program.run(self._info(batch))

    def _judge(self, source: Source, index: NDArray[np.int64], tta: str) -> Floats:
        """Logits of a batch of images, whose losses then lie in memory."""
        views = []
        for flipped in (0, 1) if tta == "flip" else (0,):
            moves = np.zeros((len(index), len(MOVE)), np.int32)
            moves[:, MOVE.index("flip")] = flipped
            self._gather(source, index, moves)
            self._infer(source.inference, len(index))
            views.append(self._read_logits(len(index)))
        if len(views) == 1:
            return views[0]
        mean = (views[0] + views[1]) * np.float32(0.5)
        store(self._logits, self._memory.array(self._logits.buffer), mean)
        self._losses.run(self._info(len(index)))
        return mean

    def _update(self, program: BoundProgram, batch: int, lr: float, epoch: int, step: int) -> BatchResult:
        lr = real(lr, "lr", 0, high=LARGEST)
        if not (0 <= epoch < 2**32 and 0 <= step < 2**32):
            raise UsageError(f"epoch and step must be from 0 to {2**32 - 1}, not {epoch} and {step}")
        if batch < self.least_batch:
            raise ShapeError("BatchNorm needs at least 2 values per channel to train; give it a larger batch")
        program.run(self._info(batch, lr, epoch, step, self.updates + 1))
        self.updates += 1
        loss, correct = self._memory.array(self._io.result).tolist()
        return BatchResult(loss, int(correct), batch)

    def _checked(self, x: ArrayLike) -> Floats:
        images = np.asarray(x, np.float32)
        if images.shape[1:] != self.input_shape:
            raise ShapeError(f"the plan takes images (N, C, H, W) = (N, {self.input_shape}), not {images.shape}")
        return images

    def _put(self, images: Floats, labels: NDArray[Any]) -> None:
        store(self._io.value, self._memory.array(self._io.value.buffer), images)
        self._memory.array(self._io.labels)[: len(labels)] = labels

    def _check_labels(self, labels: NDArray[Any]) -> None:
        known = labels.dtype.kind in "iu" and (not len(labels) or 0 <= labels.min() <= labels.max() < self.classes)
        if not known:
            raise UsageError(f"labels must be integers from 0 to {self.classes - 1}")

    def _gather(self, source: Source, index: NDArray[np.int64], moves: NDArray[np.int32]) -> None:
        """Say which images come next."""
        if source.memory is not self._memory:
            raise UsageError("these images are attached to another plan")
        source.check(index, moves, self.batch_size)
        self._memory.array(self._io.index)[: len(index)] = index
        self._memory.array(self._io.moves)[: moves.size] = moves.reshape(-1)

    def _read_logits(self, batch: int) -> Floats:
        return logical(self._logits, self._memory.array(self._logits.buffer), batch)


def _image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    if len(shape) != 3 or min(shape) < 1:
        raise ShapeError(f"input_shape must be (C, H, W), not {shape}")
    channels, height, width = (int(side) for side in shape)
    return channels, height, width


def classes_of(net: Sequential, input_shape: Shape) -> int:
    """Number of classes; raises ShapeError when layers do not fit or the network does not end in a vector."""
    out = net.out_shape(input_shape)
    if len(out) != 1:
        last = f"layer {len(net.layers) - 1} ({net.layers[-1].kind}), the last, gives" if net.layers else "it leaves"
        raise ShapeError(
            f"the network must end in class scores (K,), but {last} images (C, H, W) of shape {out}; "
            f"put GlobalAvgPool() or Flatten() and then Dense(classes) at its end"
        )
    return out[0]
