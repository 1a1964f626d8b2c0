"""Parameters: what a layer asks for (`ParamSlot`) and where it lies in the flat buffer (`ParamLayout`).

All parameters of a network lie in one flat float32 buffer, ordered

    [ decayed | not decayed | frozen | running statistics ]

so that an optimizer runs over a prefix, with weight decay on a shorter prefix, and can never touch a running
statistic. A slot has a logical shape (what users, model files and definitions see) and a storage order (what the
compute kernels want); `storage.index[...]` is the position in the slot's own stretch of each logical element.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from foveal import rng
from foveal.errors import ShapeError

Array = NDArray[np.float32]
Kind = Literal["trainable", "running"]
DRAWS = 1 << 15  # at a time: drawing takes twenty times their memory
ALIGNMENT = 16  # floats: every slot starts on a 64-byte line


@dataclass(frozen=True)
class Init:
    """How a parameter starts: `constant`, or normal draws times `deviation` (one random number an element)."""

    constant: float = 0.0
    deviation: float = 0.0

    def draw(self, shape: tuple[int, ...], key: tuple[int, int]) -> Array:
        if self.deviation == 0.0:
            return np.full(shape, self.constant, np.float32)
        values = np.empty(int(np.prod(shape)), np.float32)
        for start in range(0, values.size, DRAWS):
            part = values[start : start + DRAWS]
            part[:] = rng.normal(key, part.size, start) * self.deviation + self.constant
        return values.reshape(shape)


zeros, ones = Init(0.0), Init(1.0)


def he_normal(fan_in: int) -> Init:
    """Normal with deviation √(2 / fan_in) (He et al. 2015, arXiv 1502.01852, equation 10)."""
    return Init(deviation=float(np.sqrt(2.0 / fan_in)))


@dataclass(frozen=True)
class ParamSlot:
    """One array of parameters that a layer asks for."""

    name: str
    shape: tuple[int, ...]
    init: Init = zeros
    decays: bool = True
    kind: Kind = "trainable"
    trainable: bool = True

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


@dataclass(frozen=True, eq=False)
class Storage:
    """The order in which a slot is stored: `size` floats, `index` (logical shape) → position; the rest is zero.

    panels: so many equal sets of panels of outputs side by side, as the kernels of dense layers and convolutions have
    their weights.
    """

    size: int
    index: NDArray[np.int64]
    panels: int = 0


def plain_storage(shape: tuple[int, ...]) -> Storage:
    """Stored as the logical array is, row by row."""
    count = int(np.prod(shape))
    return Storage(count, np.arange(count).reshape(shape))


@dataclass(frozen=True, eq=False)
class Entry:
    """A slot of a network: its full name ("0.weight"), where it lies, and the key of its initial values."""

    name: str
    slot: ParamSlot
    storage: Storage
    init_key: tuple[str, int]  # kind of layer, k-th of its kind
    offset: int = 0

    @property
    def group(self) -> int:
        """Its stretch of the buffer: 0 decayed, 1 not decayed, 2 frozen, 3 running."""
        if self.slot.kind == "running":
            return 3
        if not self.slot.trainable:
            return 2
        return 0 if self.slot.decays else 1


@dataclass(frozen=True, eq=False)
class ParamLayout:
    """Where every parameter lies. `decayed` ≤ `trainable` ≤ `size` are the ends of the stretches, in floats."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    decayed: int = 0
    trainable: int = 0
    size: int = 0

    @classmethod
    def of(cls, entries: list[Entry]) -> "ParamLayout":
        placed, offset, ends = {}, 0, [0, 0, 0, 0]
        for group in range(4):
            for entry in entries:
                if entry.group == group:
                    placed[entry.name] = replace(entry, offset=offset)
                    offset += -(-entry.storage.size // ALIGNMENT) * ALIGNMENT
            ends[group] = offset
        in_order = {entry.name: placed[entry.name] for entry in entries}
        return cls(in_order, ends[0], ends[1], offset)

    def initialise(self, buffer: Array, seed: int) -> None:
        """Write the initial values, each keyed by (seed, kind of layer, k-th of its kind, slot), logical order."""
        for entry in self.entries.values():
            self.write(buffer, entry.name, entry.slot.init.draw(entry.slot.shape, _init_stream(seed, entry)))

    def read(self, buffer: Array, name: str) -> Array:
        """A copy of one parameter in its logical shape."""
        entry = self.entries[name]
        return buffer[entry.offset : entry.offset + entry.storage.size][entry.storage.index]

    def write(self, buffer: Array, name: str, value: NDArray[np.floating]) -> None:
        """Write one parameter from its logical shape, zeros where it is padded. Raises ShapeError as `check` does."""
        self.check(name, value)
        entry = self.entries[name]
        stretch = buffer[entry.offset : entry.offset + entry.storage.size]
        stretch[:] = 0.0  # what was there may be NaN
        stretch[entry.storage.index] = value

    def check(self, name: str, value: NDArray[Any]) -> None:
        """Raise ShapeError if an array has not the parameter's shape, or is not real."""
        shape = self.entries[name].slot.shape
        if value.shape != shape or value.dtype.kind not in "fiub":
            raise ShapeError(
                f"{name} is real and has shape {shape}, but the array given has {value.shape} {value.dtype}"
            )


def _init_stream(seed: int, entry: Entry) -> tuple[int, int]:
    kind, k = entry.init_key
    return rng.stream_key(seed, "init", rng.word_of(f"{kind}.{entry.slot.name}"), k)


class Parameters(Mapping[str, Array]):
    """The parameters of a plan by name: reading copies out in logical shape, assignment writes back.

    changes: how often anything may have been written to them.
    """

    def __init__(self, layout: ParamLayout, buffer: Array) -> None:
        self._layout, self._buffer = layout, buffer
        self.changes = 0

    def __getitem__(self, name: str) -> Array:
        return self._layout.read(self._buffer, self._known(name))

    def __setitem__(self, name: str, value: NDArray[np.floating]) -> None:
        self._layout.write(self._buffer, self._known(name), np.asarray(value))
        self.changes += 1

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout.entries)

    def __len__(self) -> int:
        return len(self._layout.entries)

    def _known(self, name: str) -> str:
        if name not in self._layout.entries:
            raise KeyError(f"no parameter {name!r}; there are {', '.join(self._layout.entries)}")
        return name
