"""The images of trials: what they are scored on is held out, and workers share what is decoded."""

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foveal.data import Dataset, Images
from foveal.data.duplicates import equal_groups
from foveal.data.images import concatenated
from foveal.data.split import split_by_class
from foveal.errors import DataError

FEWEST_HELD_OUT: Final = 200  # images to score trials on; where validation has fewer, training images are added
MOST_HELD_OUT: Final = 0.25  # but no more than this part of the images


class SharedData:
    """A dataset that the threads of a process share, and other processes map from a file that is written when the
    first of them is sent it; `close` removes it."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def __reduce__(self) -> tuple[Any, ...]:
        parts = self.dataset.parts
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="foveal-")
            for name, part in parts.items():
                np.save(Path(self._folder.name, f"{name}.npy"), part.pixels)
        labels = {name: part.labels for name, part in parts.items()}
        bare = dataclasses.replace(self.dataset, train=_EMPTY, validation=None, test=None)
        return _mapped, (self._folder.name, labels, bare)


_EMPTY: Final = Images(np.zeros((0, 1, 1, 1), np.uint8), np.zeros(0, np.int32), ())


def _mapped(folder: str, labels: Mapping[str, NDArray[np.int32]], bare: Dataset) -> SharedData:
    parts: dict[str, Any] = {
        name: Images(np.load(Path(folder, f"{name}.npy"), mmap_mode="r"), own, bare.class_names)
        for name, own in labels.items()
    }
    return SharedData(dataclasses.replace(bare, **parts))


def with_held_out(data: Dataset, seed: int) -> Dataset:
    """The data as trials have them: their validation part is large enough to judge by. Raises DataError."""
    images, validation = data.train, data.validation
    there = len(validation) if validation is not None else 0
    wanted = min(FEWEST_HELD_OUT, int(MOST_HELD_OUT * (len(images) + there)))
    if there >= wanted > 0:
        return dataclasses.replace(data, test=None)
    try:
        parts = split_by_class(
            images, equal_groups(images.pixels), [("validation", (wanted - there) / len(images))], seed
        )
    except DataError as error:
        raise DataError(f"there are too few images to search for a learning rate: {error}; or give --lr") from None
    held_out = images.subset(parts["validation"])
    if validation is not None and there:
        held_out = concatenated([validation, held_out])
    return dataclasses.replace(data, train=images.subset(parts["train"]), validation=held_out, test=None)
