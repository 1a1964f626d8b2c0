"""Classes that come more or less often: weights, and what is said of them."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_training import QUIET

import foveal as fv
from foveal.fitting import Watch, fit_settings, resume
from foveal.run.checkpoint import read_checkpoint
from foveal.train.balance import balanced_weights, remarks
from foveal.train.events import Event, Noted, Warned
from foveal.train.settings import TrainSettings

SMALL: dict[str, Any] = {
    "model": "mlp", "width": 0.04, "lr": 0.02, "batch_size": 50, "steps": 6, "schedule": "constant",
}  # fmt: skip


def test_balanced_weights_by_hand() -> None:
    assert balanced_weights((10, 30, 60)) == (100 / 30, 100 / 90, 100 / 180)
    assert balanced_weights((5, 5)) == (1, 1)
    assert balanced_weights((4, 0, 12)) == (2, 1, 16 / 24), "a class without images does not count"
    counts = np.array([3, 50, 7])
    np.testing.assert_allclose(balanced_weights(counts.tolist()) * counts, counts.sum() / 3)


@pytest.mark.parametrize(
    ("counts", "choice", "kind", "words"),
    [
        ((594, 137, 400), "none", Warned, "classes are unbalanced: paper 594, trash 137 images to train on; "
         "--class-weight balanced weighs them equally"),
        ((30, 10, 20), "none", Warned, "paper 30, trash 10"),
        ((29, 10, 20), "none", None, ""),
        ((594, 137, 400), "balanced", None, ""),
        ((50, 50, 50), "balanced", Noted, "--class-weight balanced changes nothing here: every class has 50 images"),
        ((50, 50, 50), "none", None, ""),
        ((50, 0, 50), "none", None, ""),
    ],
)  # fmt: skip
def test_what_is_said(counts: tuple[int, ...], choice: str, kind: type[Event] | None, words: str) -> None:
    said = remarks(("paper", "trash", "glass"), counts, choice)
    assert [type(event) for event in said] == ([kind] if kind else [])
    assert all(words in event.message for event in said)


def digits(counts: dict[int, int]) -> fv.Dataset:
    """Some of the digits 0 to 2, without validation and test parts."""
    train = fv.load_dataset("digits", validation=0, test=0).train
    index = np.concatenate([np.flatnonzero(train.labels == k)[:count] for k, count in counts.items()])
    return fv.load_dataset((train.pixels[index], train.labels[index]), validation=0, test=0)


UNBALANCED, EQUAL = {0: 100, 1: 20, 2: 40}, {0: 50, 1: 50, 2: 50}


def train(data: fv.Dataset, folder: Path, **more: Any) -> tuple[Any, list[Event]]:
    heard: list[Event] = []
    watch = Watch(progress=False, listeners=[heard.append])
    return fit_settings(TrainSettings(**{**SMALL, **more}), data, run_dir=folder, watch=watch), heard


def test_training_warns_once_of_unbalanced_classes(tmp_path: Path) -> None:
    _, heard = train(digits(UNBALANCED), tmp_path / "a")
    assert [event.message for event in heard if isinstance(event, Warned)] == [
        "classes are unbalanced: 0 100, 1 20 images to train on; --class-weight balanced weighs them equally"
    ]
    for data, choice in ((UNBALANCED, "balanced"), (EQUAL, "none")):
        _, heard = train(digits(data), tmp_path / choice, class_weight=choice)
        assert not any(isinstance(event, Warned) for event in heard)


def test_balanced_weights_reach_the_loss(tmp_path: Path) -> None:
    plain, weighted = (
        train(digits(UNBALANCED), tmp_path / choice, class_weight=choice, epochs=1, steps=None)[0]
        for choice in ("none", "balanced")
    )
    assert plain.metrics[0].train_loss != weighted.metrics[0].train_loss
    assert plain.summary()["model_sha256"] != weighted.summary()["model_sha256"]
    assert weighted.config["settings"]["class_weight"] == "balanced"


def test_balanced_classes_balanced_are_noted_and_the_bits_stay(tmp_path: Path) -> None:
    plain, _ = train(digits(EQUAL), tmp_path / "a")
    weighted, heard = train(digits(EQUAL), tmp_path / "b", class_weight="balanced")
    assert any(isinstance(event, Noted) and "changes nothing here" in event.message for event in heard)
    assert weighted.summary()["model_sha256"] == plain.summary()["model_sha256"]


class Killed(BaseException):
    """What a kill looks like from the inside: nothing catches it."""


def test_killed_and_resumed_with_weights_and_smoothing(tmp_path: Path) -> None:
    settings = {"class_weight": "balanced", "label_smoothing": 0.1, "steps": 7}
    data = digits(UNBALANCED)
    whole, _ = train(data, tmp_path / "whole", **settings)

    def strike(event: Event) -> None:
        if getattr(event, "updates", 0) == 5:
            raise Killed

    watch = Watch(progress=False, listeners=[strike], checkpoint_every=0)
    with pytest.raises(Killed):
        fit_settings(TrainSettings(**{**SMALL, **settings}), data, run_dir=tmp_path / "run", watch=watch)
    assert read_checkpoint(tmp_path / "run" / "last.safetensors")[1].updates == 4
    run = resume(tmp_path / "run", data=data, watch=QUIET)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == whole.model_path.read_bytes()
    assert [row.train_loss for row in run.metrics] == [row.train_loss for row in whole.metrics]


@pytest.mark.parametrize("settings", [{}, {"label_smoothing": 0.3}, {"class_weight": "balanced"},
                                      {"label_smoothing": 0.3, "class_weight": "balanced"}], ids=str)  # fmt: skip
def test_a_network_that_says_nothing_is_found_out(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Scores that are 0 whatever comes: a ReLU that never opens before the end."""
    net = fv.Sequential(fv.Flatten(), fv.Dense(3, bias=False), Shut())
    data = digits({0: 90, 1: 60, 2: 75})
    heard: list[Event] = []
    watch = Watch(progress=False, listeners=[heard.append])
    more = {**SMALL, "model": "custom", "width": None, "steps": None, "epochs": 3, **settings}
    run = fit_settings(TrainSettings(**more), data, net=net, run_dir=tmp_path / "a", watch=watch)
    (warning,) = [event.message for event in heard if isinstance(event, Warned)]
    assert "answers as if it guessed among 3 classes" in warning
    uniform = math.log(3)
    if len(settings) == 2:  # the rarest class's weight is above the mean over images, which is 1
        assert run.metrics[-1].train_loss > 1.005 * uniform
        assert "what equal scores for all 3 classes give" in warning
    else:
        assert run.metrics[-1].train_loss == pytest.approx(uniform, rel=1e-6)
        assert "which is ln 3" in warning


@fv.layer
class Shut(fv.Layer):
    """y = 0."""

    def forward(self, x: Any, params: Any, ctx: Any) -> Any:
        return 0 * x, None

    def backward(self, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
        return 0 * dy, {}
