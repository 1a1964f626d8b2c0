"""The list of compute kernels as the native core declares it, and programs made of them."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from foveal.kernels import _native

Direction = Literal["in", "out", "inout", "int", "real"]


@dataclass(frozen=True)
class Field:
    """One argument of a kernel: a buffer it reads or writes, or a constant."""

    name: str
    direction: Direction
    ctype: str

    @property
    def is_buffer(self) -> bool:
        return self.direction in ("in", "out", "inout")


@dataclass(frozen=True)
class KernelSpec:
    """A compute kernel: its number in the list, name, and arguments in order."""

    number: int
    name: str
    fields: tuple[Field, ...]

    def words(self, args: Mapping[str, int | float]) -> list[int]:
        """Arguments by name (buffers as addresses) → the 64-bit words of a step. Raises TypeError on a mismatch."""
        names = [field.name for field in self.fields]
        if set(names) != set(args):
            raise TypeError(f"{self.name} takes ({', '.join(names)}), not ({', '.join(args)})")
        return [_word(field, args[field.name]) for field in self.fields]


def _word(field: Field, value: int | float) -> int:
    if field.direction == "real":
        return int(struct.unpack("<Q", struct.pack("<d", value))[0])
    return int(value) & 0xFFFFFFFFFFFFFFFF


def _parse() -> dict[str, KernelSpec]:
    kernels = {}
    for number, (name, text) in enumerate(_native.kernel_list()):
        fields = []
        for part in text.rstrip("|").split("|"):
            direction, ctype, field = part.split(" ")
            fields.append(Field(field, direction, ctype))  # type: ignore[arg-type]
        kernels[name] = KernelSpec(number, name, tuple(fields))
    return kernels


KERNELS: Final = _parse()


def kernel_names() -> tuple[str, ...]:
    """Names of all compute kernels."""
    return tuple(KERNELS)


def native_program(isa: str, steps: Sequence[tuple[str, Mapping[str, int | float]]], owner: object) -> _native.Program:
    """A native program of (kernel, arguments by name) steps; `owner` keeps the buffers behind the addresses alive."""
    return _native.Program(isa, [(KERNELS[name].number, KERNELS[name].words(args)) for name, args in steps], owner)
