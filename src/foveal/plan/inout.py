"""The buffers through which a plan's programs meet the outside, and the step that fills them from decoded images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.kernels import REFERENCE
from foveal.kernels.reference import MOVE, assemble
from foveal.plan.lower import store
from foveal.plan.program import Argument, Arrays, Buffer, RunInfo, Step, Value

Floats = NDArray[np.float32]


class InputOutput:
    """The buffers through which a plan's programs meet the outside."""

    def __init__(self, input_shape: tuple[int, int, int], batch_size: int, classes: int) -> None:
        channels, height, width = input_shape
        images = Buffer("input", channels * height * width, region="fixed")
        self.value = Value(images, input_shape, height, width, channels, channels, needs_gradient=False)
        self.labels = Buffer("labels", 1, dtype="int32", region="fixed")
        self.losses = Buffer("losses", 1, region="fixed")
        self.result = Buffer("result", 0, 2, region="fixed")
        self.index = Buffer("index", 1, dtype="int64", region="fixed")
        self.moves = Buffer("moves", len(MOVE), dtype="int32", region="fixed")

    def assemble_step(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.int32], scale: Floats, shift: Floats, isa: str
    ) -> Step:
        """The step that gathers, moves and normalises a batch straight into the input buffer."""
        x = self.value
        outputs = {"x": x.buffer, "y": self.labels, "index": self.index, "moves": self.moves}
        if isa != REFERENCE:
            given: dict[str, NDArray[Any]] = {"pixels": pixels, "labels": labels, "scale": scale, "shift": shift}
            inputs: dict[str, Argument] = {
                name: Buffer(name, 0, array.size, array.dtype.name, "external", content=array)
                for name, array in given.items()
            }
            sizes = {"height": x.height, "width": x.width, "channels": x.channels}
            return Step("assemble_batch", "input", {**outputs, **inputs, **sizes})

        def gather(at: Arrays, run: RunInfo) -> None:
            n = run.batch
            moves = at(self.moves)[: len(MOVE) * n].reshape(n, len(MOVE))
            images, classes = assemble(pixels, labels, at(self.index)[:n], moves, scale, shift)
            store(x, at(x.buffer), images)
            at(self.labels)[:n] = classes

        return Step("assemble", "input", dict(outputs), gather)
