"""How a search is shown: plain lines, the live picture, the plot; and that a display that cannot write falls silent."""

import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from foveal.lrsearch import Best, Result, Rung, Search, State, Trial, best, observe, propose
from foveal.search.display import LiveSearch, PlainSearch, noise, search_listener
from foveal.search.picture import Picture, share
from foveal.search.plot import plot
from foveal.search.run import Found
from foveal.train.events import Event, RoundDone, SearchFinished, SearchStarted, TrialBegun, TrialDone

SEARCH = Search(guess=math.log(10), seed=3, rungs=(Rung(8, 1 / 32), Rung(4, 1 / 16)))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _a_terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"COLUMNS": "80", "TERM": "xterm-256color"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)


def curve(lr: float) -> float | None:
    """An invented validation loss: best at 10^-1.5, a guess where nothing is learnt, None where training diverges."""
    x = math.log10(lr)
    return None if x > 0.2 else min(0.3 * math.exp(0.8 * (x + 1.5) ** 2), 2.4)


def events(loss: Callable[[float], float | None] = curve, begun: bool = True) -> Iterator[Event]:
    """A search on an invented curve, as `find_rate` tells of it."""
    yield SearchStarted(SEARCH, workers=2, threads=1, steps=1000)
    state = State()
    while trials := propose(SEARCH, state):
        half = 2 if trials[0].key in {r.trial.key for r in state.results} else 1
        results = [Result(t, half, y := loss(t.lr), y if half == 2 else None) for t in trials]
        if begun:  # a search that goes on is silent about what is done already
            for result in results:
                yield TrialBegun(result.trial, half)
                yield TrialDone(result, passes=100)
        state = observe(state, results)
        yield RoundDone(trials[0].rung, half, state)
    yield SearchFinished(best(SEARCH, state), cost=0.52, seconds=12.3)


def shown(stream: io.StringIO, **more: bool) -> str:
    display = search_listener(stream)
    for event in events(**more):
        display(event)
    display.close()
    return stream.getvalue()


def test_the_stream_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(search_listener(io.StringIO())) is PlainSearch
    assert type(search_listener(Terminal())) is LiveSearch
    monkeypatch.setenv("TERM", "dumb")  # no line can be drawn over
    assert type(search_listener(Terminal())) is PlainSearch


@pytest.mark.parametrize("begun", [True, False], ids=["anew", "from what is kept"])
def test_plain_lines(begun: bool) -> None:
    first, second, third, *more, last = shown(io.StringIO(), begun=begun).splitlines()
    assert first == "searching for a learning rate between 1e-05 and 10: 12 trials, 2 at a time with 1 thread each"
    drawn = sorted(t.lr for t in propose(SEARCH, State()))
    assert second.startswith("trials of 1/32 of a training, rate → loss: ")
    outcomes, _, following = second.partition("loss: ")[2].partition("; next ")
    assert [float(word) for word in outcomes.replace(",", "").split() if word[0].isdigit()][:3] == [
        float(f"{lr:.2g}") for lr in drawn[:3]
    ]
    assert "dropped" in outcomes  # where nothing is learnt, they are not trained to the end
    assert outcomes.count("diverged") == outcomes.count("(best)") == 1
    assert f"{max(lr for lr in drawn if curve(lr) is None):.2g} diverged" in outcomes
    low, high = map(float, following.split(" to "))
    assert drawn[0] < low < 10**-1.5 < high < drawn[-1]
    assert third.startswith("trials of 1/16 of a training")
    assert ("next" in third) == bool(more)  # a rung whose best is at its end goes on beside it
    answer = best(SEARCH, [e.state for e in events() if isinstance(e, RoundDone)][-1])
    assert last.startswith(f"learning rate {answer.lr:g}, the best one probably between {answer.bracket[0]:g} and ")
    assert last.endswith("; cost 0.52 of a full training, 12.3 s")


def test_all_rates_of_a_round_are_shown_once() -> None:
    """Also those of an extension of the range, which is of the first rung again."""
    told: list[Event] = list(events(lambda lr: min(0.3 * math.exp(0.3 * (math.log10(lr) - 1) ** 2), 2.3)))
    state = next(e.state for e in reversed(told) if isinstance(e, RoundDone))
    assert max(r.trial.lr for r in state.results) > SEARCH.high, "choose another curve: the range was not extended"
    stream = io.StringIO()
    display = PlainSearch(stream)
    for event in told:
        display(event)
    for lr in {r.trial.lr for r in state.results}:
        assert stream.getvalue().count(f"{lr:.2g} →") + stream.getvalue().count(f"{lr:.2g} dropped") >= 1
    assert stream.getvalue().count("trials of 1/32 of a training") > 1


def test_weak_evidence_is_said_with_its_reason() -> None:
    answer = Best(0.1, (0.05, 0.2), 0.06, 0.0, "weak", "only 2 of 12 trials trained well")
    for stream in (io.StringIO(), Terminal()):
        display = search_listener(stream)
        display(SearchFinished(answer, 0.5, 3.0))
        assert stream.getvalue().splitlines()[-1] == "evidence: weak: only 2 of 12 trials trained well"


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
@pytest.mark.parametrize("error", [BrokenPipeError, OSError, ValueError])
def test_a_display_that_cannot_write_falls_silent(
    monkeypatch: pytest.MonkeyPatch, stream: type[io.StringIO], error: type[Exception]
) -> None:
    def fail(text: str) -> int:
        raise error

    broken = stream()
    display = search_listener(broken)
    told = events()
    display(next(told))
    monkeypatch.setattr(broken, "write", fail)
    for event in told:
        display(event)
    assert display.silent
    display.close()


# ---- the picture


def drawn(picture: Picture, width: int = 80, encoding: str = "utf-8") -> list[str]:
    """The lines of a picture, without colours."""
    buffer = io.BytesIO()
    console = Console(file=io.TextIOWrapper(buffer, encoding), width=width, no_color=True, force_terminal=False)
    console.print(picture)
    console.file.flush()
    return buffer.getvalue().decode(encoding).splitlines()


@pytest.fixture
def pictures() -> list[tuple[Event, list[str], float]]:
    """Each event after the first, what is seen after it, and how much is done."""
    picture = Picture(SEARCH, clock=lambda: 0.0)
    seen = []
    for event in list(events())[1:]:
        picture.take(event)
        seen.append((event, drawn(picture), picture.share))
    return seen


def test_the_range_narrows(pictures: list[tuple[Event, list[str], float]]) -> None:
    axis, first, second, found, _ = pictures[-1][1]
    assert axis.split() == ["rate", "1e-05", "0.0001", "0.001", "0.01", "0.1", "1", "10"]
    assert len(second.split()[1]) < len(first.split()[1]) / 3
    assert found.index("▲") - second.index(second.split()[1]) in range(len(second.split()[1]))
    assert axis.index("0.01") < found.index("├") < found.index("▲") < found.index("┤") < axis.index(" 1 ")
    assert first.count("█") >= 1
    assert (first.count("×"), first.count("·")) == (1, 3)
    assert all(len(line) < 80 for line in pictures[-1][1])


def test_every_trial_has_a_mark_from_the_first_moment_on(pictures: list[tuple[Event, list[str], float]]) -> None:
    event, lines, _ = pictures[0]
    assert isinstance(event, TrialBegun)
    assert (lines[1].count("●"), lines[1].count("○")) == (1, 7)
    for _, lines, _ in pictures:
        assert sum(c in "▁▂▃▄▅▆▇█×·●○" for c in lines[1]) == 8


def test_better_trials_have_higher_marks(pictures: list[tuple[Event, list[str], float]]) -> None:
    marks = [c for c in pictures[-1][1][1] if c in "▁▂▃▄▅▆▇█"]
    scores = [y for t in propose(SEARCH, State()) if (y := curve(t.lr)) is not None and y < SEARCH.guess]
    assert len(marks) == len(scores)
    by_score = [mark for _, mark in sorted(zip(scores, marks, strict=True))]
    assert by_score == sorted(marks, reverse=True)
    assert by_score[0] == "█" != by_score[-1]


def test_the_share_only_grows_and_ends_at_all(pictures: list[tuple[Event, list[str], float]]) -> None:
    shares = [share for _, _, share in pictures]
    assert shares == sorted(shares)
    assert shares[0] == 0 < shares[1] < 0.05 < shares[-2]
    assert shares[-1] == 1
    assert "3%" in pictures[1][1][2]  # half of 1/32 of 1/2 in all


def test_time_left_is_guessed_from_time_passed() -> None:
    now = [0.0]
    picture = Picture(SEARCH, clock=lambda: now[0])
    for event in events():
        if isinstance(event, SearchFinished):
            break
        picture.take(event)
        if isinstance(event, RoundDone) and event.half == 2 and event.rung == 0:
            now[0] = 8.0
            assert picture.share == pytest.approx(0.5)
            assert drawn(picture)[-2].endswith("50%, 8.0 s, about 8.0 s left")


def test_what_a_killed_search_has_left_is_no_measure_of_speed() -> None:
    now = [0.0]
    picture = Picture(SEARCH, clock=lambda: now[0])
    told = list(events())
    first_rung = [e for e in told if isinstance(e, RoundDone) and e.rung == 0]
    for event in first_rung:
        picture.take(event)
    assert picture.share == pytest.approx(0.5)
    for event in told[told.index(first_rung[-1]) + 1 :]:
        picture.take(event)
        if isinstance(event, RoundDone) and event.half == 1:
            now[0] = 8.0
            assert picture.share == pytest.approx(0.75)
            assert drawn(picture)[-2].endswith("75%, 8.0 s, about 8.0 s left")
            break


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_it_fits_any_terminal(width: int) -> None:
    picture = Picture(SEARCH, clock=lambda: 0.0)
    for event in events():
        picture.take(event)
        lines = drawn(picture, width)
        assert all(len(line) <= width for line in lines)
        assert len(lines) <= 6


def test_a_terminal_without_unicode() -> None:
    picture = Picture(SEARCH, clock=lambda: 0.0)
    for event in events():
        picture.take(event)
        assert "\n".join(drawn(picture, encoding="ascii")).isascii()
    first, second, found = drawn(picture, encoding="ascii")[1:4]
    assert "8" in first.split()[1]
    assert len(second) <= len(first)
    assert found.split()[1].strip("-") == found.split()[1]
    assert set(found.split()[1]) == set("[-^]")


def test_the_live_picture_stays_and_the_cursor_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(Terminal())
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert "searching for a learning rate between 1e-05 and 10" in text.splitlines()[0]
    assert "▲" in text.rpartition("rate   1e-05")[2]
    assert "learning rate 0.0" in text.splitlines()[-1]
    assert "\x1b[1;32m" in text
    monkeypatch.setenv("NO_COLOR", "1")
    plain = shown(Terminal())
    assert "▲" in plain
    assert "32m" not in plain


def test_a_search_that_breaks_off_leaves_the_cursor_as_it_was() -> None:
    stream = Terminal()
    display = search_listener(stream)
    display(next(events()))
    display.close()
    assert stream.getvalue().count("\x1b[?25l") == stream.getvalue().count("\x1b[?25h") == 1


@pytest.mark.parametrize(("horizon", "text"), [(1 / 32, "1/32"), (1.0, "1/1"), (20 / 450, "4.4 %"), (0.05, "1/20")])
def test_shares(horizon: float, text: str) -> None:
    assert share(horizon) == text


def test_noise_is_said_as_a_part_of_the_loss() -> None:
    assert noise(math.log(1.06)) == "6 % of the loss"


# ---- the plot


def record(rung: int, number: int, lr: float, half: int, loss: float | None, score: float | None) -> dict[str, object]:
    trial = Trial(rung, number, lr, 1 / 32, 7)
    return {**vars(trial), "half": half, "loss": loss, "score": score}


FOUND = Found(
    Best(0.03, (0.02, 0.05), 0.06, 0.0, "strong", ""), 0.5, 1.0,
    (
        record(0, 0, 1e-4, 1, 2.4, None), record(0, 1, 0.03, 1, 1.0, None), record(0, 1, 0.03, 2, 0.5, 0.4),
        record(0, 2, 3.0, 1, None, None), record(1, 0, 0.04, 1, 0.5, None), record(1, 0, 0.04, 2, 0.3, 0.35),
    ),
)  # fmt: skip


def test_the_plot_is_the_same_bytes_whatever_matplotlib_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    first = plot(FOUND, guess=2.3)
    assert first is not None
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 30)
    assert plot(FOUND, guess=2.3) == first
    texts = {element.text for element in ElementTree.fromstring(first).iter() if element.tag.endswith("text")}
    assert texts >= {
        "learning rate", "validation loss of a trial", "chosen: 0.03 (strong)", "a guess", "diverged", "dropped",
        "round 1: 1/32 of a training", "round 2: 1/32 of a training",
    }  # fmt: skip
    assert b"<dc:date>" not in first


def test_the_plot_needs_matplotlib_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert plot(FOUND) is None


def test_what_is_found_goes_out_and_comes_back(tmp_path: Path) -> None:
    import json

    assert Found.from_json(json.loads(json.dumps(FOUND.to_json()))) == FOUND
    for name in ("lr", "bracket", "trials"):
        with pytest.raises((KeyError, TypeError)):
            Found.from_json({key: value for key, value in FOUND.to_json().items() if key != name})
