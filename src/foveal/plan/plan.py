"""`Plan`: a network bound to an input shape, a batch size and memory, ready to train and to predict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveal.checks import integer
from foveal.errors import ShapeError, UsageError
from foveal.kernels import REFERENCE, resolve_isa, resolve_threads
from foveal.layers import Sequential, SoftmaxCrossEntropy
from foveal.layers.base import Layer, Shape
from foveal.optim import Optimizer
from foveal.params import Parameters, ParamLayout
from foveal.plan import native as _native_lowerings  # noqa: F401  (registers them)
from foveal.plan.arena import place
from foveal.plan.bound import BoundProgram
from foveal.plan.inout import InputOutput
from foveal.plan.lower import logical, lower, store
from foveal.plan.memory import Memory
from foveal.plan.program import Buffer, Builder, Gradient, RunInfo, Step, Value
from foveal.plan.record import Recording
from foveal.plan.update import lower_update

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class BatchResult:
    """What one training step saw, before its update: mean loss, number of correct answers, number of images."""

    loss: float
    correct: int
    count: int


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What the network says of a set of images: mean loss, loss of each (N,), and logits (N, K)."""

    loss: float
    losses: Floats
    logits: Floats


@dataclass(frozen=True, eq=False)
class Source:
    """Images bound to a plan: uint8 pixels (M, H, W, C), labels (M,), and the programs that begin by gathering them."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int32]
    scale: Floats
    shift: Floats
    training: BoundProgram | None
    inference: BoundProgram


class Plan:
    """A network bound to memory.

    net: layers that end in class scores (K,). input_shape: (C, H, W). batch_size: the largest batch; smaller ones run
    as a prefix. optimizer: None for a plan that only predicts. seed: of the initial weights and of dropout. threads,
    isa: never influence results (but `isa="baseline"` and "reference" differ from the others in the last bits).
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
        fuse: bool = True,
    ) -> None:
        batch_size, seed = integer(batch_size, "batch_size", 1), integer(seed, "seed", 0, 2**64 - 1)
        self.net = net if isinstance(net, Sequential) else Sequential(net)
        self.input_shape, self.batch_size, self.optimizer, self.seed = input_shape, batch_size, optimizer, seed
        self.threads, self.isa = resolve_threads(threads), resolve_isa(isa)
        self.classes = _classes(self.net, input_shape)
        self.updates = 0
        self._fuse = fuse
        self._io = InputOutput(input_shape, batch_size, self.classes)
        self._build()
        self.layout.initialise(self._flat, seed)
        self.params = Parameters(self.layout, self._flat)

    # ---- building

    def _builder(self, *, training: bool) -> Builder:
        return Builder(training=training, batch=self.batch_size, threads=self.threads, isa=self.isa, fuse=self._fuse)

    def _build(self) -> None:
        inference = self._builder(training=False)
        logits, _ = lower(self.net, self._io.value, inference)
        self.layout = ParamLayout.of(inference.entries)
        inference.phase = "loss"
        scores = self._lower_loss(logits, None, inference)
        state: dict[str, Buffer] = {}
        training: list[Step] = []
        if self.optimizer is not None:
            training, state = self._lower_training(self.optimizer)
        arena = max(place(inference.steps, self.batch_size), place(training, self.batch_size))
        self._memory = Memory(self.layout, self.batch_size, arena, state, self.optimizer is not None)
        self._flat: Floats = self._memory.params.view(np.float32)
        self._state = {name: array.view(np.float32) for name, array in self._memory.states.items()}
        self._logits = scores
        self._inference = self._bind(inference.steps)
        self._training = self._bind(training) if training else None

    def _lower_training(self, optimizer: Optimizer) -> tuple[list[Step], dict[str, Buffer]]:
        b = self._builder(training=True)
        logits, backward = lower(self.net, self._io.value, b)
        dlogits = Gradient(Buffer("dlogits", logits.floats))
        b.phase = "loss"
        self._lower_loss(logits, dlogits.buffer, b)
        b.phase = "backward"
        backward(dlogits)
        b.phase = "update"
        return b.steps, lower_update(optimizer, self.layout, b)

    def _lower_loss(self, logits: Value, dlogits: Buffer | None, b: Builder) -> Value:
        """Emit the loss; where nobody needs their gradient, the logits outlive the arena to be read."""
        io, classes = self._io, self.classes
        if logits.pixels != 1:
            raise ShapeError("the network must end in class scores: put GlobalAvgPool() or Dense(classes) at its end")
        if dlogits is None:
            logits.buffer.region = "fixed"
        if b.isa != REFERENCE:
            b.emit(
                "softmax_cross_entropy", logits=logits.buffer, labels=io.labels, losses=io.losses, dlogits=dlogits,
                result=io.result, classes=classes, stride=logits.stored,
            )  # fmt: skip
            return logits

        def loss(at: Any, run: RunInfo) -> None:
            scores, labels = logical(logits, at(logits.buffer), run.batch), at(io.labels)[: run.batch]
            mean, saved = SoftmaxCrossEntropy().forward(scores, labels)
            at(io.losses)[: run.batch] = -saved[np.arange(run.batch), labels]
            at(io.result)[:] = mean, np.count_nonzero(scores.argmax(axis=1) == labels)
            if dlogits is not None:
                store(logits, at(dlogits), SoftmaxCrossEntropy().backward(saved, labels))

        touched = [logits.buffer, io.labels, io.losses, io.result, *([dlogits] if dlogits else [])]
        b.python("SoftmaxCrossEntropy", loss, touched)
        return logits

    def _bind(self, steps: list[Step]) -> BoundProgram:
        return BoundProgram(steps, self._memory, self.isa, self.threads)

    # ---- arrays in, arrays out

    def train_step(self, x: ArrayLike, y: ArrayLike, lr: float, *, epoch: int = 0, step: int | None = None) -> float:
        """One update from x (N, C, H, W) float32 and y (N,) labels; returns the mean loss before the update.

        epoch and step are the keys of dropout's random numbers; step defaults to the number of updates so far.
        """
        if self._training is None:
            raise UsageError("this plan has no optimizer; give Plan(optimizer=...) to train")
        images = self._checked(x)
        labels = np.asarray(y)
        if labels.shape != (len(images),) or not 1 <= len(images) <= self.batch_size:
            raise ShapeError(f"train_step takes 1 to {self.batch_size} images and as many labels, not {labels.shape}")
        if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= self.classes:
            raise UsageError(f"labels must be integers from 0 to {self.classes - 1}")
        self._put(images, labels)
        return self._update(self._training, len(images), lr, epoch, self.updates if step is None else step).loss

    def predict(self, x: ArrayLike) -> Floats:
        """Logits (N, K) of images (N, C, H, W) float32, any N. An image's logits do not depend on its batch."""
        images = self._checked(x)
        logits = np.empty((len(images), self.classes), np.float32)
        for start in range(0, len(images), self.batch_size):
            part = images[start : start + self.batch_size]
            self._put(part, np.zeros(len(part), np.int32))
            self._inference.run(self._info(len(part)))
            logits[start : start + len(part)] = self._read_logits(len(part))
        return logits

    # ---- images as decoded: one native call a step

    def attach(self, pixels: NDArray[np.uint8], labels: NDArray[np.int32], scale: Floats, shift: Floats) -> Source:
        """Bind images (M, H, W, C) uint8 and labels (M,), normalised as pixel · scale + shift (C,) each."""
        channels, height, width = self.input_shape
        if pixels.dtype != np.uint8 or pixels.shape[1:] != (height, width, channels):
            raise ShapeError(
                f"the plan takes uint8 images {(height, width, channels)}, not {pixels.dtype} {pixels.shape}"
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.classes:
            raise UsageError(f"labels must be from 0 to {self.classes - 1}")
        pixels, labels = np.ascontiguousarray(pixels), np.ascontiguousarray(labels, np.int32)
        scale, shift = np.ascontiguousarray(scale, np.float32), np.ascontiguousarray(shift, np.float32)
        step = self._io.assemble_step(pixels, labels, scale, shift, self.isa)
        training = self._bind([step, *self._training.steps]) if self._training else None
        return Source(pixels, labels, scale, shift, training, self._bind([step, *self._inference.steps]))

    def train_on(
        self, source: Source, index: NDArray[np.int64], moves: NDArray[np.int32], lr: float, *, epoch: int, step: int
    ) -> BatchResult:
        """One update from the images at `index` (N,), moved by `moves` (N, 3); one native call."""
        if source.training is None:
            raise UsageError("this plan has no optimizer; give Plan(optimizer=...) to train")
        self._gather(index, moves)
        return self._update(source.training, len(index), lr, epoch, step)

    def evaluate_on(self, source: Source, index: NDArray[np.int64] | None = None) -> EvaluationResult:
        """Loss and logits of the images at `index` (all when None), with running statistics and without dropout."""
        index = np.arange(len(source.pixels)) if index is None else index
        losses, logits = np.empty(len(index), np.float32), np.empty((len(index), self.classes), np.float32)
        still = np.zeros((self.batch_size, 3), np.int32)
        for start in range(0, len(index), self.batch_size):
            part = index[start : start + self.batch_size]
            self._gather(part, still[: len(part)])
            source.inference.run(self._info(len(part)))
            logits[start : start + len(part)] = self._read_logits(len(part))
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
        """Take over what `state_dict` gave; optimizer state may be left out. Raises KeyError, ShapeError."""
        for name in self.layout.entries:
            self.layout.write(self._flat, name, state[name])
        for kind, buffer in self._state.items():
            for name in self._trainable():
                if f"optimizer.{kind}.{name}" in state:
                    self.layout.write(buffer, name, state[f"optimizer.{kind}.{name}"])

    def time_steps(self, runs: int) -> list[tuple[Step, list[float]]]:
        """Seconds of each native step of the training program, over `runs` runs; for profiling: weights change."""
        if self._training is None:
            raise UsageError("this plan has no optimizer; give Plan(optimizer=...) to train")
        self.updates += 1
        return self._training.time_steps(self._info(self.batch_size), runs)

    def record(self, path: Path, source: Source, batches: Sequence[tuple[Any, Any]], lr: float) -> None:
        """Save the training program and its runs over `batches` of (index, moves) for `native/driver.cc`.

        The plan itself is left as it is. The driver's hash is that of the parameters after the last run, as stored.
        """
        if source.training is None or self.isa == REFERENCE:
            raise UsageError("only a native training program can be recorded")
        recording, regions = Recording(), dict[str | Buffer, int]()

        def placed(buffer: Buffer) -> tuple[int, int]:
            """Its region and offset. What shares the arena here is a region of its own there, so that a sanitizer
            sees every step that leaves its buffer."""
            flat = buffer.region in ("params", "gradients", "state")
            key: str | Buffer = f"{buffer.region} {buffer.name if buffer.region == 'state' else ''}" if flat else buffer
            if key not in regions:
                regions[key] = recording.region(self._memory.whole(buffer))
            return regions[key], self._memory.offset(buffer) if flat else 0

        for step in source.training.steps:
            given = {name: 0 if value is None else value for name, value in step.args.items()}
            places = {name: placed(value) if isinstance(value, Buffer) else value for name, value in given.items()}
            recording.step(step.kernel, places)
        for number, (part, shifted) in enumerate(batches):
            run = RunInfo(len(part), lr, self.updates + number + 1, 0, number, self.seed)
            index, moves = regions[self._io.index], regions[self._io.moves]
            recording.run(run, [(index, part.astype(np.int64)), (moves, shifted.astype(np.int32))])
        recording.outputs.append(regions["params "])
        recording.save(path)

    def __str__(self) -> str:
        rows = (self._training or self._inference).table(self.isa, self.batch_size)
        head = ("phase", "layer", "step", "provenance", "bytes", "FLOPs")
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
        memory = self._memory.arena.nbytes / 2**20
        title = f"Plan: batch {self.batch_size}, {self.isa}, {self.threads} threads, arena {memory:.1f} MB"
        return "\n".join([title, *(line.rstrip() for line in lines)])

    # ---- helpers

    def _trainable(self) -> list[str]:
        return [name for name, entry in self.layout.entries.items() if entry.group < 2]

    def _info(self, batch: int, lr: float = 0.0, epoch: int = 0, step: int = 0) -> RunInfo:
        return RunInfo(batch, lr, self.updates, epoch, step, self.seed)

    def _update(self, program: BoundProgram, batch: int, lr: float, epoch: int, step: int) -> BatchResult:
        self.updates += 1
        program.run(self._info(batch, lr, epoch, step))
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

    def _gather(self, index: NDArray[np.int64], moves: NDArray[np.int32]) -> None:
        self._memory.array(self._io.index)[: len(index)] = index
        self._memory.array(self._io.moves)[: 3 * len(index)] = moves.reshape(-1)

    def _read_logits(self, batch: int) -> Floats:
        return logical(self._logits, self._memory.array(self._logits.buffer), batch)


def _classes(net: Sequential, input_shape: Shape) -> int:
    """Number of classes; raises ShapeError when layers do not fit or the network does not end in a vector."""
    if len(input_shape) != 3 or min(input_shape) < 1:
        raise ShapeError(f"input_shape must be (C, H, W), not {input_shape}")
    out = net.out_shape(input_shape)
    if len(out) != 1:
        raise ShapeError(f"the network must end in class scores (K,), but its output has shape {out}")
    return out[0]
