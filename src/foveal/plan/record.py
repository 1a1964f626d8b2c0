"""Recorded programs: everything that `native/driver.cc` needs to run a program without Python.

A recording holds memory regions, native steps that point into them, and runs: data to copy in, then the numbers of one
run. After the last run the driver prints a hash of the output regions, and compares regions with expected contents.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foveal.kernels import KERNELS
from foveal.plan.inout import InputOutput
from foveal.plan.memory import Memory
from foveal.plan.program import Buffer, RunInfo, Step

Contiguous = np.ndarray
Place = tuple[int, int]  # region, offset in bytes


@dataclass
class Recording:
    """A program being recorded. Regions are contiguous arrays, recorded with the content they have when added."""

    regions: list[tuple[int, bytes]] = field(default_factory=list)  # size, content (empty: zeros)
    steps: list[bytes] = field(default_factory=list)
    runs: list[bytes] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    expected: list[tuple[int, bytes]] = field(default_factory=list)

    def region(self, array: Contiguous) -> int:
        """Add a region; returns its number."""
        content = array.tobytes() if array.any() else b""
        self.regions.append((array.nbytes, content))
        return len(self.regions) - 1

    def step(self, kernel: str, args: Mapping[str, int | float | Place]) -> None:
        """Add a native step. Buffers are given as (region, offset in bytes); 0: left out."""
        spec = KERNELS[kernel]
        plain = {name: 0 if isinstance(value, tuple) else value for name, value in args.items()}
        words = b""
        for spec_field, word in zip(spec.fields, spec.words(plain), strict=True):
            value = args[spec_field.name]
            words += struct.pack("<iQ", *value) if isinstance(value, tuple) else struct.pack("<iQ", -1, word)
        self.steps.append(_text(kernel) + struct.pack("<I", len(spec.fields)) + words)

    def run(self, run: RunInfo, patches: Sequence[tuple[int, Contiguous]] = ()) -> None:
        """Add a run, after copying each array of `patches` to the beginning of its region."""
        data = struct.pack("<I", len(patches))
        for number, array in patches:
            data += struct.pack("<IQ", number, array.nbytes) + array.tobytes()
        numbers = run.batch, run.update, run.seed, run.epoch, run.step, run.lr
        self.runs.append(data + struct.pack("<qqQIIf", *numbers))

    def save(self, path: Path) -> None:
        parts = [_text("foveal program 1"), struct.pack("<I", len(self.regions))]
        for size, content in self.regions:
            parts.append(struct.pack("<QB", size, bool(content)) + content)
        parts += [struct.pack("<I", len(self.steps)), *self.steps]
        parts += [struct.pack("<I", len(self.runs)), *self.runs]
        parts += [struct.pack("<I", len(self.outputs)), *(struct.pack("<I", number) for number in self.outputs)]
        parts.append(struct.pack("<I", len(self.expected)))
        parts += [struct.pack("<I", number) + content for number, content in self.expected]
        path.write_bytes(b"".join(parts))


def _text(value: str) -> bytes:
    return struct.pack("<I", len(value.encode())) + value.encode()


def record_program(
    path: Path,
    steps: Sequence[Step],
    memory: Memory,
    io: InputOutput,
    batches: Sequence[tuple[Any, Any]],
    runs: Sequence[RunInfo],
) -> None:
    """Write a plan's training program, and a run of it for each batch (index, moves), to a file for the driver."""
    recording, regions = Recording(), dict[str | Buffer, int]()

    def placed(buffer: Buffer) -> Place:
        """Its region and offset. What shares the arena here is a region of its own there, so that a sanitizer sees
        every step that leaves its buffer."""
        flat = buffer.region in ("params", "gradients", "state")
        key: str | Buffer = f"{buffer.region} {buffer.name if buffer.region == 'state' else ''}" if flat else buffer
        if key not in regions:
            regions[key] = recording.region(memory.whole(buffer))
        return regions[key], memory.offset(buffer) if flat else 0

    for step in steps:
        given = {name: 0 if value is None else value for name, value in step.args.items()}
        places = {name: placed(value) if isinstance(value, Buffer) else value for name, value in given.items()}
        recording.step(step.kernel, places)
    for run, (index, moves) in zip(runs, batches, strict=True):
        patches = [(regions[io.index], index.astype(np.int64)), (regions[io.moves], moves.astype(np.int32))]
        recording.run(run, patches)
    recording.outputs.append(regions["params "])
    recording.save(path)
