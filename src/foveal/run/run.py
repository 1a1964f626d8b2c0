"""`Run`: a trained model with what is known of its training; what `fit` returns and `load_run` opens."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foveal.checks import choice, integer
from foveal.data import Images
from foveal.data.augment import TTA
from foveal.errors import DataError, DivergedError, RunError
from foveal.metrics import Evaluation, evaluate_predictions
from foveal.plan import EvaluationResult, Plan
from foveal.run.checkpoint import EpochRow, Progress, read_checkpoint
from foveal.run.folder import RunFolder
from foveal.run.model_file import Model, read_model
from foveal.run.prediction import Picture, Prediction, Unread, cannot_be_read, decoded, softmax

_AT_ONCE: Final = 1024  # images that `predict` holds in memory


class Run:
    """A model and its history. folder is None, and config and metrics empty, for a model file on its own.

    threads, isa: never influence results.
    """

    def __init__(
        self,
        model: Model,
        model_path: Path,
        folder: RunFolder | None = None,
        *,
        threads: int | None = None,
        isa: str | None = None,
    ) -> None:
        self.model, self.model_path = model, model_path
        self._folder, self._threads, self._isa = folder, threads, isa

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The run folder, or the model file where there is no folder."""
        return self._folder.path if self._folder else self.model_path

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.model.class_names

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.json. Raises RunError if it is damaged."""
        return self._folder.read_config() if self._folder else {}

    @cached_property
    def progress(self) -> Progress:
        """Counters and rows of the training as of the last checkpoint."""
        if self._folder is None or not self._folder.checkpoint.is_file():
            return Progress()
        return read_checkpoint(self._folder.checkpoint)[1]

    @property
    def metrics(self) -> tuple[EpochRow, ...]:
        """A row per epoch."""
        return tuple(self.progress.rows)

    @cached_property
    def plan(self) -> Plan:
        """The plan that predictions are made with."""
        return self.model.plan(threads=self._threads, isa=self._isa)

    def evaluate(self, images: Images) -> Evaluation:
        """Judge labelled images, decoded to the model's size, whose labels count the model's classes.

        Raises DataError if they are none, of another size, or of other classes.
        """
        if not len(images):
            raise DataError("there are no images to evaluate")
        if images.class_names != self.class_names:
            raise DataError(
                f"the images have classes {_few(images.class_names)}; the model knows {_few(self.class_names)}"
            )
        result = self._evaluated(images.pixels, images.labels)
        return evaluate_predictions(result.logits, images.labels, self.class_names, loss=result.loss)

    def predict(self, images: Iterable[Picture] | Picture, *, top: int = 5) -> list[Prediction]:
        """One prediction for each image file or array, in order; `top` classes each (at most all).

        Raises DataError for files that cannot be read.
        """
        predictions, unread = self.predict_readable(images, top=top)
        if unread:
            raise DataError(cannot_be_read(unread, len(predictions)))
        return predictions

    def predict_readable(
        self, images: Iterable[Picture] | Picture, *, top: int = 5
    ) -> tuple[list[Prediction], list[Unread]]:
        """`predict` for those that can be read, and the files that cannot."""
        if isinstance(images, (str, os.PathLike)) or (isinstance(images, np.ndarray) and images.ndim < 4):
            images = [images]
        top = integer(top, "top", 1)
        pictures = list(images)
        predictions: list[Prediction] = []
        unread: list[Unread] = []
        for start in range(0, len(pictures), _AT_ONCE):
            part = pictures[start : start + _AT_ONCE]
            pixels, bad = decoded(part, self.model.preprocess, self.plan.threads)
            unread += bad.values()
            good = [i for i in range(len(part)) if i not in bad]
            if good:
                logits = self._evaluated(pixels[good], np.zeros(len(good), np.int32)).logits
                if not np.isfinite(logits).all():
                    raise DivergedError("the network's scores are not finite: its training has diverged")
                predictions += [
                    self._prediction(part[i], row, top) for i, row in zip(good, logits.tolist(), strict=True)
                ]
        return predictions, unread

    def summary(self) -> dict[str, Any]:
        """The result of the training as one JSON object (keys as in the documentation of `foveal train --json`)."""
        if self._folder is None:
            raise RunError(f"{self.model_path} is a model without a run folder: nothing is known of its training")
        settings, progress, kept = self.config["settings"], self.progress, self.progress.kept_row
        test = self._folder.read_evaluation() or {}
        return {
            "run": str(self.path),
            "model": settings["model"],
            "lr": settings["lr"],
            "epochs": len(progress.rows),
            "steps": progress.updates,
            "train_accuracy": kept.train_accuracy if kept else None,
            "validation_accuracy": kept.val_accuracy if kept else None,
            "test_accuracy": test.get("accuracy"),
            "test_loss": test.get("loss"),
            "seconds": progress.seconds,
            "search_cost": self.config.get("search", {}).get("cost", 0),
            "data_fingerprint": self.config["data"]["fingerprint"],
            "model_sha256": self._folder.model_sha256(),
        }

    def _evaluated(self, pixels: NDArray[np.uint8], labels: NDArray[np.int32]) -> EvaluationResult:
        preprocess = self.model.preprocess
        shape = preprocess.height, preprocess.width, preprocess.channels
        if pixels.shape[1:] != shape:
            raise DataError(f"the model takes images of (H, W, C) {shape}, not {pixels.shape[1:]}")
        source = self.plan.attach(pixels, labels, preprocess.scale, preprocess.shift)
        return self.plan.evaluate_on(source, tta=self.model.tta)

    def _prediction(self, picture: Picture, logits: Sequence[float], top: int) -> Prediction:
        probabilities = softmax(logits)
        order = sorted(range(len(logits)), key=lambda k: (-logits[k], k))[:top]
        best = tuple((self.class_names[k], probabilities[k]) for k in order)
        path = None if isinstance(picture, np.ndarray) else os.fspath(picture)
        return Prediction(path, *best[0], best)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def load_run(
    path: str | os.PathLike[str], *, tta: str | None = None, threads: int | None = None, isa: str | None = None
) -> Run:
    """Open a run folder or a model file. Raises RunError, naming it, if there is none or it cannot be used.

    tta: the views by which it judges images, "none" or "flip", instead of those that it was trained for.
    """
    where = Path(path).expanduser()
    folder = None if where.is_file() else RunFolder.open(where)
    file = folder.model if folder else where
    if not file.is_file():
        raise RunError(f"{where} has no {file.name}: no epoch of its training has ended, or it was removed")
    model = read_model(file)
    if tta is not None:
        model = replace(model, tta=choice(tta, "--tta", TTA))
    return Run(model, file, folder, threads=threads, isa=isa)
