"""How training is shown: plain lines, the live bar, and nothing on stdout."""

import dataclasses
import io
from pathlib import Path

import pytest

import foveal
from foveal.errors import DivergedError
from foveal.run.checkpoint import EpochRow
from foveal.train.events import BatchDone, EpochDone, Finished, Loaded, Started, Stopped, Warned
from foveal.train.progress import LiveProgress, PlainProgress, duration, progress_listener

LOADED = Loaded(
    class_names=tuple("abcdefghijkl"), input_shape=(1, 8, 9), images=1439, validation_images=179, test_images=0,
    fingerprint="0123456789abcdef", notes=("2 exact duplicates",),
)  # fmt: skip
STARTED = Started(
    run=Path("runs/x-1"), epochs=3, steps=24, steps_per_epoch=8, updates=0, batch_size=200, lr=0.05, parameters=2890,
    threads=2, isa="avx2",
)  # fmt: skip
ROW = EpochRow(1, 8, 0.05, 1.5, 0.25, 1.25, 0.5, 0.1, 14390.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_stream_decides() -> None:
    assert type(progress_listener(io.StringIO())) is PlainProgress
    assert type(progress_listener(Terminal())) is LiveProgress


def test_plain_lines() -> None:
    stream = io.StringIO()
    shown = PlainProgress(stream)
    for event in (
        LOADED, STARTED, BatchDone(1, 1, 1, 200, 2.0, 0.1, 0.05), EpochDone(ROW, True), Warned("odd"),
        Stopped(1, "why not"), Finished(24, 1, 75.0),
    ):  # fmt: skip
        shown(event)
    shown.close()
    assert stream.getvalue().splitlines() == [
        "data: 12 classes (a, b, c, d, e, f, g, h, i, j, …); 9×8 grey; images: 1,439 to train on, 179 for validation; "
        "fingerprint 0123456789ab",
        "note: 2 exact duplicates",
        "runs/x-1: training: 2,890 parameters, batches of 200, 24 steps, learning rate 0.05; 2 threads, avx2",
        "epoch 1/3: loss 1.5000, accuracy 25.00%; validation loss 1.2500, accuracy 50.00% (best); 14,390 images/s",
        "warning: odd",
        "stopped after epoch 1: why not",
        "kept the weights of epoch 1; 1 min 15 s in all",
    ]


@pytest.mark.parametrize(
    ("updates", "words"), [(7, "going on at step 8: "), (24, "all steps are made: ")], ids=["some", "all"]
)
def test_a_run_that_goes_on_says_where(updates: int, words: str) -> None:
    stream = io.StringIO()
    PlainProgress(stream)(dataclasses.replace(STARTED, updates=updates))
    assert words in stream.getvalue()


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
@pytest.mark.parametrize("error", [BrokenPipeError, OSError, ValueError])
def test_a_display_that_cannot_write_falls_silent(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], error: type[Exception]
) -> None:
    def fail(text: str) -> int:
        raise error

    broken = stream()
    shown = progress_listener(broken)
    shown(STARTED)
    monkeypatch.setattr(broken, "write", fail)
    for event in (EpochDone(ROW, True), BatchDone(2, 1, 9, 200, 2.0, 0.1, 0.05), Finished(24, 1, 75.0)):
        shown(event)
    assert shown.silent
    shown.close()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.43, "0.4 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_live_bar_shows_and_leaves(tmp_path: Path) -> None:
    stream = Terminal()
    shown = LiveProgress(stream)
    shown.INTERVAL = 0.0
    shown(STARTED)
    shown(BatchDone(1, 1, 1, 200, 2.0, 0.1, 0.05))
    assert shown.bar is not None
    shown.bar.refresh()
    shown(EpochDone(ROW, True))
    shown(Finished(24, 1, 75.0))
    assert shown.bar is None
    text = stream.getvalue()
    assert "loss 2.0000, accuracy 10.00%" in text
    assert "epoch 1/3: loss 1.5000" in text
    shown.close()


def test_a_run_that_breaks_off_takes_its_bar_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    with pytest.raises(DivergedError):
        foveal.fit("mlp", "digits", width=0.02, lr=1e30, steps=20, run_dir=tmp_path / "a")
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h")  # the cursor is back


def test_stdout_stays_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foveal.fit("mlp", "digits", width=0.02, lr=0.02, epochs=2, run_dir=tmp_path / "a")
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split(":")[0] for line in err.splitlines() if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]
    foveal.fit("mlp", "digits", width=0.02, lr=0.02, epochs=2, run_dir=tmp_path / "b", progress=False)
    assert capsys.readouterr() == ("", "")
