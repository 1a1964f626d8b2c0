"""Steps, buffers and the builder that lowering writes them with.

A plan's program is a list of steps over buffers. A step is a compute kernel with its arguments, or a Python function (a
user's NumPy layer, or every layer under `isa="reference"`). Buffers of the arena live from the first to the last step
that names them; `foveal.plan.arena` gives them their places.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from foveal.errors import ShapeError
from foveal.kernels import REFERENCE
from foveal.layers.base import Layer, Shape
from foveal.params import Entry, ParamSlot, Storage

Region = Literal["arena", "fixed", "external", "params", "gradients", "state"]
Phase = Literal["prepare", "forward", "loss", "backward", "update"]


@dataclass(eq=False)
class Buffer:
    """A stretch of memory: `per_image` items for each image of the batch and `constant` more, of `dtype`.

    region "arena": shared over time by lifetime. "fixed": kept for the program's whole life. "external": an array that
    the caller owns (`content`). "params", "gradients", "state": a parameter's stretch (`slot` is its full name) of the
    flat buffers; the state's name is in `name`.
    """

    name: str
    per_image: int = 0
    constant: int = 0
    dtype: str = "float32"
    region: Region = "arena"
    slot: str = ""
    content: np.ndarray | None = None  # what a fixed buffer starts with; the memory of an external one
    offset: int = -1  # bytes, in the arena

    def nbytes(self, batch: int) -> int:
        return (self.per_image * batch + self.constant) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class RunInfo:
    """What a Python step may know of the run at hand."""

    batch: int
    lr: float
    update: int
    epoch: int
    step: int
    seed: int


Arrays = Callable[[Buffer], np.ndarray]  # a buffer → its memory
PythonFunction = Callable[[Arrays, RunInfo], None]
Argument = Buffer | int | float | None


@dataclass(eq=False)
class Step:
    """One step: a compute kernel by name with its arguments, or a Python function with the buffers it touches."""

    kernel: str
    layer: str
    args: dict[str, Argument] = field(default_factory=dict)
    function: PythonFunction | None = None
    flops: int = 0  # for one image
    phase: Phase = "forward"

    @property
    def buffers(self) -> list[Buffer]:
        return [value for value in self.args.values() if isinstance(value, Buffer)]


@dataclass(frozen=True, eq=False)
class Norm:
    """Batch norm that is still to be applied, by whoever reads the value: its buffer holds what came in.

    affine (2, channels): scale and shift; saved (2, channels): what the backward pass needs, the mean first; relu:
    whether a ReLU follows; plain: has the value made after all.
    """

    affine: Buffer
    saved: Buffer
    relu: bool
    plain: Callable[[], "Value"]


@dataclass(frozen=True, eq=False)
class NormGradient:
    """What is left of batch norm's backward pass, for whoever reads the gradient: batch norm's input and `affine`, its
    coefficients (2, channels), and whether a ReLU followed whose mask is still to be applied."""

    x: Buffer
    affine: Buffer
    coefficients: Buffer
    relu: bool


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor on its way through the network: its buffer, logical shape, and how it is stored.

    Stored (N, height, width, stored) with channels innermost, `channels` of them used, the others zero. A flattened
    image keeps that order and has a logical shape (F,). `rectified`: the values come from a ReLU, so whoever computes
    their gradient may set it to 0 where the value is not positive, and say so (`Gradient.masked`).
    `defers`: the step that makes the gradient's way down from this value can finish a batch norm's part of it
    (`Gradient.norm`). `pool`: has the step that makes this value do max pooling in windows of 2×2 as well, and gives
    the pooled value.
    """

    buffer: Buffer
    shape: Shape
    height: int
    width: int
    channels: int
    stored: int
    needs_gradient: bool = True
    rectified: bool = False
    defers: bool = False
    norm: Norm | None = None
    pool: "Callable[[], Value] | None" = None

    @property
    def pixels(self) -> int:
        return self.height * self.width

    @property
    def floats(self) -> int:
        return self.pixels * self.stored

    def places(self) -> np.ndarray:
        """Where each logical element (C, H, W), row by row, is stored within one image."""
        c, p = np.arange(self.channels)[:, None], np.arange(self.pixels)[None, :]
        return (p * self.stored + c).reshape(-1)


@dataclass(frozen=True, eq=False)
class Gradient:
    """The gradient of a value, stored as the value is. `masked`: already 0 where the (rectified) value is not > 0.

    `shared`: another branch of the network reads it too, so whoever would change it in place writes elsewhere.
    `moments`: the sums over each image that batch norm's backward pass begins with, where the step that made the
    gradient made them too (batch size, 2, channels).
    """

    buffer: Buffer
    masked: bool = False
    shared: bool = False
    norm: NormGradient | None = None
    moments: Buffer | None = None


class Builder:
    """Collects steps, buffers and parameters while layers are lowered."""

    def __init__(
        self, *, training: bool, batch: int, threads: int, isa: str, fuse: bool = True, keep: bool = False
    ) -> None:
        self.training, self.batch, self.threads, self.isa, self.keep = training, batch, threads, isa, keep
        self.fuse = fuse and isa != REFERENCE  # definitions run one by one
        self.least_batch = 1  # images that the program needs
        self.steps: list[Step] = []
        self.entries: list[Entry] = []
        self.phase: Phase = "forward"
        self.placed: list[tuple[str, Layer, Shape]] = []  # (place, layer, its input shape) as they were lowered
        self._scope: list[str] = []
        self._layer = ""
        self._slots: dict[str, ParamSlot] = {}
        self._counts: dict[str, int] = {}
        self._k = 0

    @contextmanager
    def scope(self, name: str, layer: Layer, in_shape: Shape) -> Iterator[None]:
        """Lower `layer` under `name`: its parameters get that prefix, its steps that label."""
        before = self._layer, self._slots, self._k
        self._scope.append(name)
        self._layer = f"{self.prefix} {layer.kind}"
        self.placed.append((self.prefix, layer, in_shape))
        self._slots = {slot.name: slot for slot in layer.param_slots(in_shape)}
        self._k = self._counts.get(layer.kind, 0)
        self._counts[layer.kind] = self._k + 1
        yield
        self._scope.pop()
        self._layer, self._slots, self._k = before

    @contextmanager
    def backward_of(self, label: str) -> Iterator[None]:
        """Steps emitted inside belong to the backward pass of the layer that was labelled so."""
        before, self._layer = self._layer, label
        yield
        self._layer = before

    @property
    def label(self) -> str:
        """Place and kind of the layer at hand: "0 Conv2d"."""
        return self._layer

    @property
    def prefix(self) -> str:
        return ".".join(self._scope)

    @property
    def k(self) -> int:
        """The layer at hand is the k-th of its kind, from 0."""
        return self._k

    def buffer(self, name: str, per_image: int = 0, constant: int = 0, dtype: str = "float32") -> Buffer:
        return Buffer(f"{self.prefix}.{name}", per_image, constant, dtype)

    def fixed(self, name: str, content: np.ndarray) -> Buffer:
        return Buffer(name, 0, content.size, content.dtype.name, "fixed", content=content)

    def parameter(self, name: str, storage: Storage) -> Buffer:
        """The layer's parameter `name`, stored in the given order."""
        slot = self._slots[name]
        full = f"{self.prefix}.{name}"
        if storage.index.size != int(np.prod(slot.shape)):
            raise ShapeError(f"{full}: storage for {storage.index.size} values, but the shape is {slot.shape}")
        storage = replace(storage, index=storage.index.reshape(slot.shape))
        self.entries.append(Entry(full, slot, storage, (self._layer.split(" ")[1], self._k)))
        return Buffer(full, 0, storage.size, region="params", slot=full)

    def gradient_of(self, parameter: Buffer) -> Buffer:
        return Buffer(f"d {parameter.name}", 0, parameter.constant, region="gradients", slot=parameter.slot)

    def emit(self, kernel: str, flops: int = 0, /, **args: Argument) -> None:
        """A native step; `flops` for one image."""
        self.steps.append(Step(kernel, self._layer, args, flops=flops, phase=self.phase))

    def prepared(self, kernel: str, name: str, floats: int, /, **args: Argument) -> Buffer:
        """A native step that fills a buffer, its argument `name`, from parameters alone: where the program keeps such
        buffers (`keep`), it is run only after parameters have changed."""
        buffer = (
            Buffer(f"{self.prefix}.{name}", 0, floats, region="fixed") if self.keep else self.buffer(name, 0, floats)
        )
        phase: Phase = "prepare" if self.keep else self.phase
        self.steps.append(Step(kernel, self._layer, args | {name: buffer}, phase=phase))
        return buffer

    def python(self, name: str, function: PythonFunction, touches: list[Buffer], *, flops: int = 0) -> None:
        """A step in Python; `touches` are all buffers it reads or writes."""
        args: Mapping[str, Argument] = {str(i): buffer for i, buffer in enumerate(touches)}
        self.steps.append(Step(name, self._layer, dict(args), function, flops, self.phase))
