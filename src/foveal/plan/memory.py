"""The memory of a plan: flat buffers for parameters, gradients and optimizer state, the arena, and fixed buffers."""

from collections.abc import Iterable

import numpy as np

from foveal.params import ParamLayout
from foveal.plan.arena import LINE
from foveal.plan.program import Buffer


def aligned_zeros(nbytes: int) -> np.ndarray:
    """uint8 zeros that start on a cache line."""
    raw = np.zeros(nbytes + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + nbytes]


class Memory:
    """Where every buffer of a plan's programs lies. Nothing is allocated after the programs are bound."""

    def __init__(
        self, layout: ParamLayout, batch: int, arena_bytes: int, states: Iterable[str], training: bool
    ) -> None:
        self._layout, self._batch = layout, batch
        self.params = aligned_zeros(4 * layout.size)
        self.gradients = aligned_zeros(4 * layout.trainable if training else 0)
        self.arena = aligned_zeros(arena_bytes)
        self.states = {name: aligned_zeros(4 * layout.trainable) for name in states}
        self._fixed: dict[Buffer, np.ndarray] = {}

    def array(self, buffer: Buffer) -> np.ndarray:
        """The buffer's memory, for the whole batch, as an array of its type."""
        home, start = self._home(buffer)
        return home[start : start + buffer.nbytes(self._batch)].view(buffer.dtype)

    def address(self, buffer: Buffer) -> int:
        home, start = self._home(buffer)
        return int(home.ctypes.data) + start

    def whole(self, buffer: Buffer) -> np.ndarray:
        """All of the flat buffer that it is a stretch of; otherwise its own memory."""
        home, _ = self._home(buffer)
        return home if buffer.region in ("params", "gradients", "state") else self.array(buffer)

    def offset(self, buffer: Buffer) -> int:
        """Bytes from the beginning of the flat buffer, or of the arena."""
        return self._home(buffer)[1]

    def _home(self, buffer: Buffer) -> tuple[np.ndarray, int]:
        if buffer.region == "arena":
            return self.arena, buffer.offset
        if buffer.region == "fixed":
            return self._fixed_home(buffer), 0
        if buffer.region == "external" and buffer.content is not None:
            return buffer.content.reshape(-1).view(np.uint8), 0
        start = 4 * self._layout.entries[buffer.slot].offset if buffer.slot else max(buffer.offset, 0)
        if buffer.region == "state":
            return self.states[buffer.name], start
        return (self.params if buffer.region == "params" else self.gradients), start

    def _fixed_home(self, buffer: Buffer) -> np.ndarray:
        if buffer not in self._fixed:
            self._fixed[buffer] = aligned_zeros(buffer.nbytes(self._batch))
            if buffer.content is not None:
                self._fixed[buffer].view(buffer.dtype)[:] = buffer.content
        return self._fixed[buffer]
