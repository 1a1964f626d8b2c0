"""The cells of the search benchmark: a task, a network, an optimizer, and a full training of some seconds on one core.

Three are for development, five were first searched when the search was frozen (docs/search.md says what happened then),
the one with raw pixels later.
In one the best rate lies at the high end of the range, for gradients are clipped to a small norm; in one near the low
end, for pixels are left as they are, 0 to 255; in one a network is tuned that knows the task already.
"""

import dataclasses
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np

from foveal import fit
from foveal.data import Dataset, Images, load_dataset
from foveal.models import build
from foveal.optim import OPTIMIZERS
from foveal.run.model_file import image_shape
from foveal.train.initial import Initial, read_initial
from foveal.train.session import Session
from foveal.train.settings import TrainSettings

SOURCES: Final = {"fashion": "fashion-mnist", "cifar": "cifar10-jpeg.tar.xz"}


@dataclass(frozen=True)
class Cell:
    """settings: of TrainSettings; train, validation, test: numbers of images; begun: of other images, on which the
    network was trained beforehand (0: it was not); raw: whether pixels are not normalised."""

    name: str
    source: str
    train: int
    settings: dict[str, Any] = field(hash=False)
    validation: int = 1000
    test: int = 3000
    begun: int = 0
    raw: bool = False
    develop: bool = False

    def session(self, folder: Path, seed: int = 0, lr: float = 1.0) -> Session:
        """A session for its full training."""
        data = self.data(folder)
        settings = TrainSettings(**self.settings, lr=lr, seed=seed, threads=1).resolved(train_count=self.train)
        shape = image_shape(data.preprocess)
        net = build(settings.model, len(data.class_names), input_shape=shape, **settings.model_arguments())
        initial = self.initial(folder) if self.begun else None
        rule = OPTIMIZERS[settings.optimizer](**settings.optimizer_arguments())
        return Session(net, rule, settings, data, initial=initial)

    def initial(self, folder: Path) -> Initial:
        """The network, trained for one epoch on images that come nowhere else."""
        whole = _source(folder / SOURCES[self.source])
        others = np.random.default_rng(0).permutation(len(whole.train))[self.train + self.validation :][: self.begun]
        data = dataclasses.replace(whole, train=whole.train.subset(others), validation=None, test=None)
        with tempfile.TemporaryDirectory() as place:
            run = fit(self.settings["model"], data, lr=0.02, epochs=1, run_dir=Path(place, "run"), progress=False)
            return read_initial(str(run.path))

    def data(self, folder: Path) -> Dataset:
        whole = _source(folder / SOURCES[self.source])
        assert whole.test is not None
        random = np.random.default_rng(0)
        drawn = random.permutation(len(whole.train))[: self.train + self.validation]
        tested = random.permutation(len(whole.test))[: self.test]
        train, held_out = drawn[: self.train], drawn[self.train :]
        preprocess = whole.preprocess
        if self.raw:
            mean, deviation = (0.0,) * preprocess.channels, (1 / 255,) * preprocess.channels
            preprocess = dataclasses.replace(preprocess, mean=mean, deviation=deviation)
        return dataclasses.replace(
            whole, train=whole.train.subset(train), validation=whole.train.subset(held_out),
            test=whole.test.subset(tested), preprocess=preprocess,
        )  # fmt: skip


@cache
def _source(path: Path) -> Dataset:
    """All images, at 16 × 16 or 14 × 14 pixels: a full training must take no more than seconds."""
    if path.suffix == ".xz":
        return load_dataset(path, validation=0, size=16)
    whole = load_dataset(path, validation=0)
    assert whole.test is not None
    preprocess = dataclasses.replace(whole.preprocess, height=14, width=14)
    return dataclasses.replace(whole, train=_halved(whole.train), test=_halved(whole.test), preprocess=preprocess)


def _halved(images: Images) -> Images:
    count, high, wide, channels = images.pixels.shape
    squares = images.pixels.reshape(count, high // 2, 2, wide // 2, 2, channels).astype(np.uint16)
    return Images(((squares.sum(axis=(2, 4)) + 2) // 4).astype(np.uint8), images.labels, images.class_names)


def _cell(name: str, source: str, *, begun: int = 0, raw: bool = False, develop: bool = False, **settings: Any) -> Cell:
    settings = {"epochs": 5, "batch_size": 32, **settings}
    return Cell(name, source, 4000, settings, begun=begun, raw=raw, develop=develop)


CELLS: Final = {
    cell.name: cell
    for cell in (
        _cell("fashion-lenet-momentum", "fashion", model="lenet", develop=True),
        _cell("cifar-vggbn-adam", "cifar", model="vgg", width=0.25, optimizer="adam", develop=True),
        _cell("fashion-mlp-adagrad", "fashion", model="mlp", width=0.25, optimizer="adagrad", develop=True),
        _cell("fashion-lenet-adam-tuned", "fashion", model="lenet", optimizer="adam", begun=20000),
        _cell("fashion-mlp-sgd-clipped", "fashion", model="mlp", width=0.25, optimizer="sgd", clip_norm=0.05),
        _cell("fashion-vggbn-nesterov", "fashion", model="vgg", width=0.25, nesterov=True),
        _cell("cifar-lenet-sgd", "cifar", model="lenet", optimizer="sgd"),
        _cell("fashion-mlp-momentum-raw", "fashion", model="mlp", raw=True),
        _cell("cifar-vgg-adam", "cifar", model="vgg", width=0.25, batch_norm=False, optimizer="adam"),
    )
}
