"""The loop alone: what it keeps, when it stops, what it says and what it writes."""

import csv
import math
import os
import signal
import threading
from pathlib import Path

import pytest
from fake_session import FakeSession, run_loop

from foveal.errors import DivergedError, RunError
from foveal.run.checkpoint import read_checkpoint
from foveal.train.events import BatchDone, EpochDone, Finished, Improved, Started, Stopped, Warned
from foveal.train.interrupt import Interrupted, stop_request
from foveal.train.loop import stuck


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_events_tell_the_story_in_order(tmp_path: Path) -> None:
    heard, _, _ = run_loop(FakeSession(validation=(3.0, 2.0, 2.5)), tmp_path)
    kinds = [type(event) for event in heard]
    epoch = [BatchDone] * 4 + [EpochDone]
    assert kinds == [Started, *epoch, Improved, *epoch, Improved, *epoch, Finished]
    batches = [event for event in heard if isinstance(event, BatchDone)]
    assert [event.updates for event in batches] == list(range(1, 13))
    assert [event.step for event in batches] == [1, 2, 3, 4] * 3


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    heard, progress, folder = run_loop(FakeSession(validation=(3.0, 2.0, 2.5)), tmp_path)
    assert folder.model.read_bytes() == b"weights after 8 updates"
    assert (progress.best_epoch, progress.best_loss) == (2, 2.0)
    assert progress.model_sha256 == folder.model_sha256()
    assert heard[-1] == Finished(12, 2, progress.seconds)


def test_an_equal_loss_is_no_improvement(tmp_path: Path) -> None:
    _, progress, folder = run_loop(FakeSession(validation=(2.0, 2.0, 2.0)), tmp_path)
    assert folder.model.read_bytes() == b"weights after 4 updates"
    assert progress.best_epoch == 1


def test_without_validation_the_last_epoch_is_kept(tmp_path: Path) -> None:
    _, progress, folder = run_loop(FakeSession(), tmp_path)
    assert folder.model.read_bytes() == b"weights after 12 updates"
    assert progress.best_epoch == 3
    assert rows_of(folder.metrics)[0]["val_loss"] == ""


def test_patience_stops(tmp_path: Path) -> None:
    session = FakeSession(validation=(3.0, 1.0, 2.0, 2.0, 0.5), total_steps=20, patience=2)
    heard, progress, folder = run_loop(session, tmp_path)
    assert len(progress.rows) == 4
    assert [event for event in heard if isinstance(event, Stopped)] == [
        Stopped(4, "no better validation loss in 2 epochs")
    ]
    assert folder.model.read_bytes() == b"weights after 8 updates"


def test_patience_begins_anew_with_each_improvement(tmp_path: Path) -> None:
    session = FakeSession(validation=(3.0, 4.0, 2.0, 4.0, 1.0), total_steps=20, patience=2)
    heard, progress, _ = run_loop(session, tmp_path)
    assert len(progress.rows) == 5
    assert not [event for event in heard if isinstance(event, Stopped)]


def test_a_validation_loss_that_is_nan_is_never_best(tmp_path: Path) -> None:
    _, progress, folder = run_loop(FakeSession(validation=(math.nan, 2.0, math.inf)), tmp_path)
    assert progress.best_epoch == 2
    assert rows_of(folder.metrics)[2]["val_loss"] == "inf"
    assert math.isnan(read_checkpoint(folder.checkpoint)[1].rows[0].val_loss or 0.0)


def test_a_run_without_a_finite_validation_loss_leaves_no_model(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"no epoch had a finite validation loss.*--lr 0.05"):
        run_loop(FakeSession(validation=(math.nan,) * 3), tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_ends_training(tmp_path: Path, loss: float) -> None:
    with pytest.raises(
        DivergedError, match=rf"the loss became {loss} at step 3.*rate was 0.5, try --lr 0.05 or --lr auto"
    ) as caught:
        run_loop(FakeSession(validation=(1.0,), training=(1.0, 1.0, loss)), tmp_path)
    assert caught.value.exit_code == 1
    assert not (tmp_path / "model.safetensors").exists()


def test_a_model_from_before_the_divergence_stays(tmp_path: Path) -> None:
    with pytest.raises(DivergedError):
        run_loop(FakeSession(validation=(1.0,), training=(1.0,) * 5 + (math.nan,)), tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == b"weights after 4 updates"


@pytest.mark.parametrize(
    ("loss", "accuracy", "shares", "is_stuck"),
    [
        (math.log(10), 0.1, [0.1] * 10, True),
        (math.log(10) * 1.009, 0.12, [0.1] * 10, True),
        (math.log(10) * 0.98, 0.1, [0.1] * 10, False),
        (math.log(10), 0.3, [0.1] * 10, False),
        (math.log(10), 0.5, [0.5] + [0.5 / 9] * 9, True),
        (math.log(10), 0.0, [0.5] + [0.5 / 9] * 9, True),
        (math.log(2), 0.5, [0.5, 0.5], True),
        (math.log(2), 0.74, [0.5, 0.5], False),
        (0.0, 1.0, [1.0], False),
    ],
)
def test_stuck(loss: float, accuracy: float, shares: list[float], is_stuck: bool) -> None:
    assert stuck(loss, accuracy, shares) is is_stuck


@pytest.mark.parametrize(("loss", "is_stuck"), [(1.5, True), (1.49, True), (1.48, False), (math.log(10), False)])
def test_stuck_where_weights_and_smoothing_move_the_loss_of_a_guess(loss: float, is_stuck: bool) -> None:
    assert stuck(loss, 0.1, [0.1] * 10, uniform_loss=1.5) is is_stuck


def test_a_loss_stuck_at_ln_k_is_said_once_and_not_at_once(tmp_path: Path) -> None:
    session = FakeSession(validation=(3.0, 3.0, 3.0), training=(math.log(10),), accuracy=0.1)
    heard, _, _ = run_loop(session, tmp_path)
    warned = [i for i, event in enumerate(heard) if isinstance(event, Warned)]
    assert len(warned) == 1
    assert sum(isinstance(event, EpochDone) for event in heard[: warned[0]]) == 2
    assert "ln 10" in heard[warned[0]].message  # type: ignore[union-attr]


def test_a_loss_at_ln_k_while_the_rate_still_rises_is_no_reason_to_worry(tmp_path: Path) -> None:
    session = FakeSession(training=(math.log(10),) * 12 + (1.0,), accuracy=0.1, total_steps=24)
    session.rate = lambda update: 0.1 * min(update, 12)  # type: ignore[method-assign]
    assert not any(isinstance(event, Warned) for event in run_loop(session, tmp_path)[0])


def test_one_epoch_at_ln_k_is_no_reason_to_worry(tmp_path: Path) -> None:
    session = FakeSession(training=(math.log(10),) * 4 + (1.0,), accuracy=0.1)
    assert not any(isinstance(event, Warned) for event in run_loop(session, tmp_path)[0])


def test_a_long_first_epoch_is_enough_to_be_stuck(tmp_path: Path) -> None:
    session = FakeSession(training=(math.log(10),), accuracy=0.1, steps_per_epoch=100, total_steps=100)
    assert any(isinstance(event, Warned) for event in run_loop(session, tmp_path)[0])


@pytest.mark.parametrize(("total", "steps"), [(1, [1]), (4, [4]), (5, [4, 5]), (12, [4, 8, 12])])
def test_exactly_as_many_updates_as_asked(tmp_path: Path, total: int, steps: list[int]) -> None:
    session = FakeSession(total_steps=total)
    _, progress, folder = run_loop(session, tmp_path)
    assert len(session.made) == progress.updates == total
    assert [int(row["step"]) for row in rows_of(folder.metrics)] == steps


def test_metrics_hold_means_over_images_and_the_rate_of_the_last_step(tmp_path: Path) -> None:
    session = FakeSession(training=(1.0, 2.0, 3.0, 6.0), total_steps=4, accuracy=0.4)
    _, _, folder = run_loop(session, tmp_path)
    (row,) = rows_of(folder.metrics)
    assert (float(row["train_loss"]), float(row["train_accuracy"])) == (3.0, 0.4)
    assert float(row["lr"]) == session.rate(3)
    assert ",".join(row) == ("epoch,step,lr,train_loss,train_accuracy,val_loss,val_accuracy,seconds,images_per_second")


def test_checkpoints_within_an_epoch_follow_the_clock(tmp_path: Path) -> None:
    saved = []

    def look(update: int) -> None:
        path = tmp_path / "last.safetensors"
        saved.append(read_checkpoint(path)[1].updates if path.exists() else 0)

    run_loop(FakeSession(on_update=look), tmp_path, checkpoint_every=0)
    assert saved == list(range(12))
    saved.clear()
    (tmp_path / "last.safetensors").unlink()
    run_loop(FakeSession(on_update=look), tmp_path)
    assert saved == [0] * 4 + [4] * 4 + [8] * 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("update", [0, 2, 3, 6])
def test_an_interruption_saves_at_the_step_boundary(tmp_path: Path, number: int, update: int) -> None:
    def strike(made: int) -> None:
        if made == update:
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    with pytest.raises(
        Interrupted, match=rf"after step {update + 1} and saved; continue with foveal train --resume"
    ) as caught:
        run_loop(FakeSession(validation=(3.0, 2.0, 1.0), on_update=strike), tmp_path)
    assert caught.value.exit_code == 130
    state, progress = read_checkpoint(tmp_path / "last.safetensors")
    assert progress.updates == state["weight"][0] == update + 1
    assert signal.getsignal(number) == before


def test_an_interruption_in_the_last_epoch_still_finishes_it_when_no_step_is_left(tmp_path: Path) -> None:
    def strike(made: int) -> None:
        if made == 11:
            os.kill(os.getpid(), signal.SIGTERM)

    _, progress, _ = run_loop(FakeSession(on_update=strike), tmp_path)
    assert progress.finished


def test_a_second_ctrl_c_does_not_wait() -> None:
    with stop_request() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with stop_request() as request:
            signal.raise_signal(signal.SIGTERM)
            assert not request.requested
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_loop_runs_outside_the_main_thread(tmp_path: Path) -> None:
    done = []
    thread = threading.Thread(target=lambda: done.append(run_loop(FakeSession(), tmp_path)[1].updates))
    thread.start()
    thread.join()
    assert done == [12]


def test_a_checkpoint_that_cannot_be_written_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match=r"cannot write .*metrics.csv: No space left on device"):
        run_loop(FakeSession(), tmp_path)
    assert list(tmp_path.iterdir()) == []
