"""Which network `--model auto` picks: a rule over the size and the number of the training images, nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

SMALL_SIDE: Final = 16  # pixels: below it, poolings leave nothing for a deep network to look at
FEW_IMAGES: Final = 1000  # below it, running statistics and a deep network have too few steps to settle


@dataclass(frozen=True)
class Choice:
    """A model by name, the settings it is to be built with, and why, in words."""

    model: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""

    def __str__(self) -> str:
        extra = "".join(f" --{name.replace('_', '-')} {value:g}" for name, value in self.settings.items())
        return f"--model {self.model}{extra}: {self.reason}"


def choose(input_shape: tuple[int, int, int], images: int) -> Choice:
    """The network for images (C, H, W) of which there are so many to train on.

    lenet for images of less than 16 pixels a side; lenet for fewer than 1,000 images; else vgg at half width. The
    colours and the classes do not matter, so that leaving out a class changes nothing.
    """
    _, high, wide = input_shape
    if min(high, wide) < SMALL_SIDE:
        return Choice("lenet", reason=f"the images are smaller than {SMALL_SIDE} pixels ({wide}×{high})")
    if images < FEW_IMAGES:
        return Choice("lenet", reason=f"there are fewer than {FEW_IMAGES:,} images to train on ({images:,})")
    return Choice(
        "vgg",
        {"width": 0.5},
        f"{wide}×{high} pixels and {images:,} images are enough for six convolutions with batch normalization",
    )
