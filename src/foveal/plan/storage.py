"""How parameters are stored: the orders that the compute kernels want, as index maps from logical to stored place."""

import numpy as np
from numpy.typing import NDArray

from foveal.params import Storage
from foveal.shapes import padded_channels

PANEL = 16  # outputs side by side, native/kernels/tile.inl.h


def panels(shape: tuple[int, ...], inputs: NDArray[np.int64], stored_inputs: int) -> Storage:
    """Weights (O, I, KH, KW) in panels [O/16][KH][KW][stored_inputs][16].

    `inputs` (I,): the stored place of each logical input among `stored_inputs`.
    """
    outputs, _, high, wide = shape
    stored_outputs, depth = padded_channels(outputs), high * wide * stored_inputs
    o = np.arange(outputs).reshape(-1, 1, 1, 1)
    tap = np.arange(high * wide).reshape(1, 1, high, wide)
    row = tap * stored_inputs + inputs.reshape(1, -1, 1, 1)
    return Storage(stored_outputs * depth, (o // PANEL * depth + row) * PANEL + o % PANEL, panels=1)


def grouped_panels(shape: tuple[int, ...], groups: int, blocks: int, stored_inputs: int) -> Storage:
    """Weights (O, I / groups, KH, KW) in `blocks` sets of panels, each of a convolution of its own with `stored_inputs`
    channels, in which no weight joins channels and filters of different groups."""
    outputs, inputs, high, wide = shape
    filters, channels = outputs // blocks, inputs * groups // blocks  # of a block
    block = panels((filters, channels, high, wide), np.arange(channels), stored_inputs)
    o = np.arange(outputs).reshape(-1, 1)
    first = o % filters // (outputs // groups) * inputs  # of the filter's channels in its block
    index = block.index[o % filters, first + np.arange(inputs)]
    return Storage(blocks * block.size, index + o.reshape(-1, 1, 1, 1) // filters * block.size, panels=blocks)


def spread(places: NDArray[np.int64], size: int) -> Storage:
    """A vector whose element i lies at `places[i]` among `size` floats."""
    return Storage(size, places)
