"""--minutes: how many epochs it chooses, that it says and keeps the number, and that nothing else follows from it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_training import QUIET, SETTINGS

import foveal as fv
from foveal.errors import ShapeError, UsageError
from foveal.fitting import Watch, fit_settings, resume
from foveal.models import build
from foveal.optim import Momentum
from foveal.run import Run
from foveal.search.minutes import Chosen, epochs_within
from foveal.train.events import EpochDone, Event, Noted, SearchStarted
from foveal.train.session import Session
from foveal.train.settings import TrainSettings

GIVEN = {name: value for name, value in SETTINGS.items() if name != "epochs"}  # 8 updates an epoch, 7 of them whole
SEARCHED = {name: value for name, value in GIVEN.items() if name not in ("lr", "momentum")}
UPDATE, IMAGE = 0.1, 0.0002  # seconds of an update with 200 images, and of an image that is evaluated
EPOCH = 1439 / 200 * UPDATE + 179 * IMAGE


class WorkClock:
    """Seconds that pass with the images that go through a network, and with nothing else."""

    def __init__(self, slower: float = 1.0) -> None:
        self.now, self.slower = 0.0, slower

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> WorkClock:
    clock = WorkClock()
    update, validate, evaluate = Session.update, Session.validate, Run.evaluate

    def timed_update(self: Session, order: Any, epoch: int, step: int, rate: float) -> Any:
        done = update(self, order, epoch, step, rate)
        clock.now += clock.slower * UPDATE * done.count / 200
        return done

    def timed_validate(self: Session, index: Any = None) -> Any:
        clock.now += clock.slower * IMAGE * (len(index) if index is not None else self.validation_count)
        return validate(self, index)

    def timed_evaluate(self: Run, images: Any, **options: Any) -> Any:
        clock.now += clock.slower * IMAGE * len(images)
        return evaluate(self, images, **options)

    monkeypatch.setattr(Session, "update", timed_update)
    monkeypatch.setattr(Session, "validate", timed_validate)
    monkeypatch.setattr(Run, "evaluate", timed_evaluate)
    return clock


def chosen(clock: WorkClock, tmp_path: Path, **options: Any) -> Chosen:
    """What is chosen for the digits and the small network, of which nothing is trained."""
    data = fv.load_dataset("digits")
    settings = TrainSettings(**{**GIVEN, **options}).resolved(train_count=len(data.train))
    net = build("mlp", 10, input_shape=(1, 8, 8), **settings.model_arguments())
    return epochs_within(net, Momentum(), settings, data, None, since=clock.now, clock=clock, where=tmp_path)


def fit(clock: WorkClock, out: Path, *heard: Callable[[Event], None], **options: Any) -> Run:
    return fit_settings(TrainSettings(**options), "digits", run_dir=out, watch=Watch(False, heard, clock))


@pytest.mark.parametrize("minutes", [0.1, 0.5, 2.0, 60.0])
def test_the_most_epochs_that_fit_with_a_tenth_to_spare(clock: WorkClock, tmp_path: Path, minutes: float) -> None:
    found = chosen(clock, tmp_path, minutes=minutes)
    assert found.epoch == pytest.approx(EPOCH)
    measured = clock.now
    assert 0.2 <= measured <= min(2.0, 0.05 * 60 * minutes) + UPDATE + 200 * IMAGE  # calls may run past its end
    epochs = (0.9 * (60 * minutes - measured) - 179 * IMAGE) / EPOCH  # the test part is tested once
    assert found.epochs == int(epochs) >= 2
    assert (found.fits, found.search) == (True, 0.0)


@pytest.mark.parametrize("minutes", [0.1, 0.5])
def test_a_training_ends_in_time_and_uses_it(clock: WorkClock, tmp_path: Path, minutes: float) -> None:
    run = fit(clock, tmp_path / "a", **GIVEN, minutes=minutes)
    assert 0.9 * 60 * minutes - 2 * EPOCH <= clock.now <= 60 * minutes
    assert run.summary()["epochs"] == run.config["settings"]["epochs"] > 2


@pytest.mark.parametrize("minutes", [1.0, 3.0])
def test_the_search_is_counted(clock: WorkClock, tmp_path: Path, minutes: float) -> None:
    heard: list[Event] = []
    run = fit(clock, tmp_path / "a", heard.append, **SEARCHED, minutes=minutes, workers=1, threads=1)
    assert 0.5 * 60 * minutes <= clock.now <= 60 * minutes
    kept, search = run.config["minutes"]["seconds"], run.config["search"]["seconds"]
    assert kept["search"] * 0.6 <= search <= kept["search"] * 1.25  # some trials stop early, some lie beyond the range
    notes = [type(event) for event in heard if isinstance(event, Noted | SearchStarted)]
    assert notes[:2] == [Noted, SearchStarted]  # said before it begins


def test_trials_run_at_the_same_time(clock: WorkClock, tmp_path: Path) -> None:
    one, two, four = (
        chosen(clock, tmp_path, **{**SEARCHED, "lr": "auto"}, minutes=2, threads=4, workers=workers)
        for workers in (1, 2, 4)
    )
    # an update takes as long by this clock whatever the number of threads, so that more trials at a time are faster
    assert one.epochs < two.epochs < four.epochs
    crowded = chosen(clock, tmp_path, **{**SEARCHED, "lr": "auto"}, minutes=2, threads=1, workers=4)
    assert crowded.epochs == pytest.approx(one.epochs, abs=1)  # but not with one thread for all


def test_at_least_one_epoch(clock: WorkClock, tmp_path: Path) -> None:
    clock.slower = 100.0
    heard: list[Event] = []
    run = fit(clock, tmp_path / "a", heard.append, **GIVEN, minutes=1)
    assert (run.config["settings"]["epochs"], run.summary()["epochs"]) == (1, 1)
    (note,) = [event.message for event in heard if isinstance(event, Noted)]
    assert note == "--minutes 1: one epoch takes about 79 s, and 46 s are left: training 1 epoch"


def test_what_is_said_and_kept(clock: WorkClock, tmp_path: Path) -> None:
    heard: list[Event] = []
    run = fit(clock, tmp_path / "a", heard.append, **GIVEN, minutes=0.1)
    (note,) = [event.message for event in heard if isinstance(event, Noted)]
    assert note == "--minutes 0.1: 6 epochs, of about 0.76 s each; --epochs 6 repeats this training"
    settings, kept = run.config["settings"], run.config["minutes"]
    assert (settings["epochs"], settings["minutes"], settings["steps"]) == (6, None, None)
    assert (kept["minutes"], kept["epochs"]) == (0.1, 6)
    assert kept["seconds"]["epoch"] == pytest.approx(EPOCH)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]  # nothing stays of the measuring


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0523, "0.052 s"), (9.14, "9.1 s"), (88, "88 s"), (100, "1.7 min"), (725, "12 min"), (9000, "2.5 h")],
)
def test_times_are_written_with_two_digits(seconds: float, text: str) -> None:
    many, one = Chosen(5, 23, 1e6, seconds, seconds, seconds), Chosen(5, 1, seconds, 1e9, 1e9, 1e9)
    said = f"--minutes 5: 23 epochs, of about {text} each, after a search of about {text}; "
    assert str(many) == said + "--epochs 23 repeats this training"
    assert str(one).startswith(f"--minutes 5: one epoch with its search takes about 280000 h, and {text} are left")


def test_without_minutes_nothing_is_kept(small_run: Run) -> None:
    assert small_run.config["minutes"] is None
    assert small_run.config["settings"]["minutes"] is None


def test_the_same_bits_as_with_that_many_epochs(tmp_path: Path, result_of: Callable[[Path], Any]) -> None:
    given = {name: value for name, value in GIVEN.items() if name != "model"}
    run = fv.fit("mlp", "digits", run_dir=tmp_path / "a", progress=False, minutes=0.02, **given)
    epochs = run.config["settings"]["epochs"]
    again = fv.fit("mlp", "digits", run_dir=tmp_path / "b", progress=False, epochs=epochs, **given)
    assert len(again.metrics) == epochs
    assert result_of(again.path) == result_of(run.path)
    assert again.config["settings"] == run.config["settings"]
    assert run.metrics[0].train_loss > run.metrics[-1].train_loss or epochs == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_bits_with_a_search(
    clock: WorkClock, tmp_path: Path, result_of: Callable[[Path], Any], workers: int
) -> None:
    run = fit(clock, tmp_path / "a", **SEARCHED, minutes=0.6, workers=workers, threads=2)
    settings = run.config["settings"]
    assert settings["epochs"] >= 2
    again = fit(clock, tmp_path / "b", **SEARCHED, epochs=settings["epochs"], workers=workers, threads=2)
    assert again.config["settings"] == settings
    assert result_of(again.path) == result_of(run.path)
    assert [t["score"] for t in again.config["search"]["trials"]] == [
        t["score"] for t in run.config["search"]["trials"]
    ]


def test_the_same_bits_from_another_model(
    clock: WorkClock, tmp_path: Path, small_run: Run, result_of: Callable[[Path], Any]
) -> None:
    given = {"init_from": str(small_run.path), "lr": 0.01, "batch_size": 200}
    run = fit(clock, tmp_path / "a", **given, minutes=0.1)
    again = fit(clock, tmp_path / "b", **given, epochs=run.config["settings"]["epochs"])
    assert len(again.metrics) == 6
    assert result_of(again.path) == result_of(run.path)


class KilledError(Exception):
    pass


def test_a_killed_run_goes_on_to_the_number_that_was_chosen(
    clock: WorkClock, tmp_path: Path, result_of: Callable[[Path], Any]
) -> None:
    whole = fit(clock, tmp_path / "whole", **GIVEN, minutes=0.1)

    def kill(event: Event) -> None:
        if isinstance(event, EpochDone) and event.row.epoch == 2:
            raise KilledError

    with pytest.raises(KilledError):
        fit(clock, tmp_path / "a", kill, **GIVEN, minutes=0.1)
    clock.slower = 50.0  # the machine is slower now: that changes nothing
    run = resume(tmp_path / "a", watch=Watch(False, clock=clock))
    assert result_of(run.path) == result_of(whole.path)
    longer = resume(tmp_path / "a", more_epochs=2, watch=QUIET)
    assert longer.summary()["epochs"] == 8
    assert longer.config["minutes"] == run.config["minutes"]


def test_patience_that_would_change_nothing_is_refused(clock: WorkClock, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"0\.1 has time for 6 epochs, in which --patience 6 would change nothing"):
        fit(clock, tmp_path / "a", **GIVEN, minutes=0.1, patience=6)
    assert list(tmp_path.iterdir()) == []
    assert fit(clock, tmp_path / "a", **GIVEN, minutes=0.1, patience=5).config["settings"]["patience"] == 5


def test_a_network_that_does_not_fit_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ShapeError):
        fv.fit(fv.Sequential(fv.Dense(10)), "digits", run_dir=tmp_path / "a", minutes=1, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_tiny_data_and_no_other_parts(clock: WorkClock, tmp_path: Path) -> None:
    clock.slower = 20.0
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), np.uint8)
    data = fv.load_dataset((images, np.arange(6) % 2), validation=0, test=0)
    settings = TrainSettings(model="mlp", width=0.04, lr=0.1, minutes=0.05)
    run = fit_settings(settings, data, run_dir=tmp_path / "a", watch=Watch(False, clock=clock))
    epoch = 20 * UPDATE * 6 / 200  # one batch, of all six
    assert run.config["settings"]["epochs"] == int(0.9 * run.config["minutes"]["seconds"]["left"] / epoch) > 20


def test_unresolved_minutes_are_not_mistaken_for_no_epochs(tmp_path: Path) -> None:
    data = fv.load_dataset("digits")
    settings = TrainSettings(**GIVEN, minutes=1).resolved(train_count=len(data.train))
    assert settings.epochs is None
    with pytest.raises(UsageError, match="must be resolved"):
        Session(build("mlp", 10, input_shape=(1, 8, 8), **settings.model_arguments()), Momentum(), settings, data)
