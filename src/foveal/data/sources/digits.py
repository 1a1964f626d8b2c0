"""The embedded data set: 1,797 handwritten digits, 8 × 8 pixels, grey (UCI; licence in DIGITS-LICENSE.txt)."""

from importlib import resources
from pathlib import Path

import numpy as np

from foveal.data.sources.arrays import array_preprocess, images_of, numbered
from foveal.data.sources.raw import Options, Raw


def matches(path: Path) -> bool:
    return str(path) == "digits" and not path.exists()


def read(path: Path, options: Options) -> Raw:
    with resources.files("foveal.data").joinpath("digits.npz").open("rb") as file, np.load(file) as archive:
        images = images_of("digits", archive["x"], archive["y"], numbered(9))
    return Raw("digits", images, None, None, array_preprocess("digits", images, options))
