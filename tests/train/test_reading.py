"""The bar while images are read: on a terminal only, after a moment only, and never in the way."""

import io

import pytest

from foveal.data import load_dataset
from foveal.train import reading
from foveal.train.reading import reading_shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that pass only when a test says so; a terminal that knows colours."""
    now = [0.0]
    monkeypatch.setattr(reading, "monotonic", lambda: now[0])
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return now


def test_nothing_where_nobody_watches() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (io.StringIO(), None, closed):
        with reading_shown(stream) as told:
            assert told is None


def test_nothing_for_a_moment(clock: list[float]) -> None:
    stream = Terminal()
    with reading_shown(stream) as told:
        assert told is not None
        for clock[0] in (0.0, 0.2, 0.49):
            told(10, 0.1)
    assert stream.getvalue() == ""


def test_a_bar_after_that(clock: list[float]) -> None:
    stream = Terminal()
    with reading_shown(stream) as told:
        assert told is not None
        for clock[0], images in ((0.6, 1000), (0.61, 1001), (0.8, 1234)):
            told(images, 0.5)
    shown = stream.getvalue()
    assert "reading" in shown
    assert "1,000 images" in shown
    assert "1,234 images" in shown
    assert "1,001" not in shown
    assert "50%" in shown
    assert "\x1b[3" in shown


def test_no_colour_where_none_is_wanted(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    with reading_shown(stream) as told:
        assert told is not None
        clock[0] = 1.0
        told(1000, 0.5)
    assert "1,000 images" in stream.getvalue()
    assert "\x1b[3" not in stream.getvalue()


def test_a_terminal_that_goes_away_is_no_mishap(clock: list[float]) -> None:
    class Broken(Terminal):
        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

    with reading_shown(Broken()) as told:
        assert told is not None
        for clock[0] in (1.0, 2.0):
            told(5, 0.2)


def test_it_is_told_while_files_are_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    from PIL import Image

    root = tmp_path_factory.mktemp("pets")
    for i in range(40):
        (root / "ab"[i % 2]).mkdir(exist_ok=True)
        Image.new("L", (8, 8), i).save(root / "ab"[i % 2] / f"{i}.png")
    told: list[tuple[int, float]] = []
    load_dataset(root, cache=False, progress=lambda images, share: told.append((images, share)))
    assert told[-1] == (40, 1.0)
    assert told == sorted(told)
