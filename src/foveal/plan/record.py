"""Recorded programs: everything that `native/driver.cc` needs to run a program without Python.

A recording holds memory regions, native steps that point into them, and runs: data to copy in, then the numbers of one
run. After the last run the driver prints a hash of the output regions, and compares regions with expected contents.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foveal.errors import UsageError
from foveal.kernels import KERNELS
from foveal.plan.program import RunInfo

Memory = np.ndarray  # any contiguous array


@dataclass
class Recording:
    """A program being recorded. Regions are contiguous arrays, recorded with the content they have when added."""

    regions: list[tuple[int, int, bytes]] = field(default_factory=list)  # address, size, content (empty: zeros)
    steps: list[bytes] = field(default_factory=list)
    runs: list[bytes] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    expected: list[tuple[int, bytes]] = field(default_factory=list)

    def region(self, array: Memory) -> int:
        """Add a region; returns its number."""
        content = array.tobytes() if array.any() else b""
        self.regions.append((array.ctypes.data, array.nbytes, content))
        return len(self.regions) - 1

    def step(self, kernel: str, args: Mapping[str, int | float]) -> None:
        """Add a native step, its buffers given as addresses inside regions (0: left out)."""
        spec = KERNELS[kernel]
        words = b""
        for spec_field, word in zip(spec.fields, spec.words(args), strict=True):
            number, value = self._locate(kernel, word) if spec_field.is_buffer and word else (-1, word)
            words += struct.pack("<iQ", number, value)
        self.steps.append(_text(kernel) + struct.pack("<I", len(spec.fields)) + words)

    def _locate(self, kernel: str, address: int) -> tuple[int, int]:
        for number, (start, size, _) in enumerate(self.regions):
            if start <= address < start + max(size, 1):
                return number, address - start
        raise UsageError(f"{kernel}: a buffer lies in no region of the recording")

    def run(self, run: RunInfo, patches: Sequence[tuple[int, Memory]] = ()) -> None:
        """Add a run, after copying each array of `patches` to the beginning of its region."""
        data = struct.pack("<I", len(patches))
        for number, array in patches:
            data += struct.pack("<IQ", number, array.nbytes) + array.tobytes()
        numbers = run.batch, run.update, run.seed, run.epoch, run.step, run.lr
        self.runs.append(data + struct.pack("<qqQIIf", *numbers))

    def save(self, path: Path) -> None:
        parts = [_text("foveal program 1"), struct.pack("<I", len(self.regions))]
        for _, size, content in self.regions:
            parts.append(struct.pack("<QB", size, bool(content)) + content)
        parts += [struct.pack("<I", len(self.steps)), *self.steps]
        parts += [struct.pack("<I", len(self.runs)), *self.runs]
        parts += [struct.pack("<I", len(self.outputs)), *(struct.pack("<I", number) for number in self.outputs)]
        parts.append(struct.pack("<I", len(self.expected)))
        parts += [struct.pack("<I", number) + content for number, content in self.expected]
        path.write_bytes(b"".join(parts))


def _text(value: str) -> bytes:
    return struct.pack("<I", len(value.encode())) + value.encode()
