"""The built-in handwritten digits: 1,797 images of 8 × 8 grey pixels, 10 classes (see data/DIGITS-LICENSE.txt)."""

from importlib.resources import as_file, files
from typing import Final

from foveal.data.sources import npz
from foveal.data.sources.base import ReadOptions, SourceData

NAME: Final = "digits"


def read(options: ReadOptions) -> SourceData:
    """The digits, without a split."""
    with as_file(files("foveal.data").joinpath("digits.npz")) as path:
        return npz.read(path, options)
