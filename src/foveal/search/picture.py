"""The live picture of a search: the axis of rates, a row for each rung with a mark for each trial, and how far it is.

    rate   1e-05  0.0001    0.001     0.01       0.1       1        10
    1/32       ·─────·──────▃───────▆────────█────▇────────▂──────×     loss 0.301
    1/16                               ▆──●──●──○                       loss 0.262
           ━━━━━━━━━━━━━━━━━━━──────────  67%, 12.3 s, about 6.1 s left

A row's line goes from its lowest rate to its highest, so it shows how the range narrows.
"""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from foveal.lrsearch import Best, Result, Search, State, propose
from foveal.train.events import Event, RoundDone, SearchFinished, TrialBegun, TrialDone
from foveal.train.progress import duration

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

_LEFT, _RIGHT, _WIDEST = 7, 13, 110  # columns beside the axis, and of all
_EARLY: Final = 0.15  # of the search: too early to guess how long it takes


class Picture:
    """What has been heard of a search, drawn by rich whenever it asks."""

    def __init__(self, search: Search, clock: Callable[[], float]) -> None:
        self.search, self.clock, self.begun = search, clock, clock()
        self.trials = {t.key: t for t in propose(search, State())}  # all that there are so far
        self.open = set(self.trials)  # those that will run, or run
        self.running: set[str] = set()
        self.results: dict[str, Result] = {}  # the last of each
        self.best: Best | None = None
        self.least_share = 0.0
        self.found_done: float | None = None  # share that a killed search had left

    def take(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, TrialBegun):
            self.found_done = self.share if self.found_done is None else self.found_done
            self.running.add(event.trial.key)
        elif isinstance(event, TrialDone):
            self._note(event.result)
        elif isinstance(event, RoundDone):
            for result in event.state.results:  # those that a killed search has left are told of here alone
                self._note(result)
            following = propose(self.search, event.state)
            self.trials |= {t.key: t for t in following}
            self.open = {t.key for t in following}
        elif isinstance(event, SearchFinished):
            self.best = event.best
            self.open = set()

    def _note(self, result: Result) -> None:
        key = result.trial.key
        self.results[key] = result
        self.running.discard(key)
        if result.diverged or result.half == 2:
            self.open.discard(key)

    @property
    def share(self) -> float:
        """Of the search that is done, by the steps of the trials that are planned; what was dropped counts as done."""
        if self.best is not None:
            return 1.0
        planned = 0.0
        for number, rung in enumerate(self.search.rungs):
            planned += rung.horizon * max(rung.trials, sum(t.rung == number for t in self.trials.values()))
        done = sum(t.horizon * self._done(key) for key, t in self.trials.items())
        self.least_share = max(self.least_share, min(done / planned, 1.0))  # where trials are added it stands still
        return self.least_share

    def _done(self, key: str) -> float:
        return 0.5 * (key in self.results) if key in self.open else 1.0

    # ---- drawing

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[Text]":
        signs = Signs(options.ascii_only)
        axis = Axis(self._lowest_and_highest(), min(options.max_width - 1, _WIDEST) - _LEFT - _RIGHT)
        yield axis.labels()
        for rung in sorted({t.rung for t in self.trials.values()}):
            yield self._row(rung, axis, signs)
        if self.best is not None:
            yield self._answer(self.best, axis, signs)
        else:
            yield self._progress(axis.columns, signs)
        yield signs.legend()

    def _lowest_and_highest(self) -> tuple[float, float]:
        rates = [t.lr for t in self.trials.values()]
        return math.log10(min(self.search.low, *rates)), math.log10(max(self.search.high, *rates))

    def _row(self, rung: int, axis: "Axis", signs: "Signs") -> "Text":
        trials = sorted((t for t in self.trials.values() if t.rung == rung), key=lambda t: t.lr)
        scores = [r.score for t in trials if (r := self.results.get(t.key)) is not None and r.score is not None]
        cells = axis.empty()
        ends = axis.column(trials[0].lr), axis.column(trials[-1].lr)
        cells[ends[0] : ends[1] + 1] = [(signs.line, "dim")] * (ends[1] + 1 - ends[0])
        for t in trials:
            cells[axis.column(t.lr)] = self._mark(t.key, min(scores, default=math.inf), signs)
        return axis.row(share(trials[0].horizon), cells, f"loss {min(scores):.3g}" if scores else "")

    def _mark(self, key: str, least: float, signs: "Signs") -> tuple[str, str]:
        """A trial's sign and its style."""
        result = self.results.get(key)
        if result is not None and result.score is not None:
            worse = math.log(result.score / least) / max(math.log(self.search.guess / least), 1e-9) if least else 0.0
            level = round((1 - min(max(worse, 0.0), 1.0)) * (len(signs.scores) - 1))
            return signs.scores[level], "bold green" if result.score == least else ""
        if result is not None and result.diverged:
            return signs.diverged, "red"
        if key in self.running:
            return signs.running, "bold yellow"
        return (signs.waiting, "yellow") if key in self.open else (signs.dropped, "dim")

    def _answer(self, best: Best, axis: "Axis", signs: "Signs") -> "Text":
        cells = axis.empty()
        low, high = (axis.column(lr) for lr in best.bracket)
        cells[low : high + 1] = [(signs.line, "green")] * (high + 1 - low)
        cells[low], cells[high] = (signs.left, "green"), (signs.right, "green")
        cells[axis.column(best.lr)] = (signs.rate, "bold green")
        return axis.row("found", cells, f"rate {best.lr:g}")

    def _progress(self, columns: int, signs: "Signs") -> "Text":
        from rich.text import Text

        done, passed = self.share, self.clock() - self.begun
        made = done - (self.found_done or 0.0)
        bar = columns // 2
        full = round(done * bar)
        words = f"  {done:.0%}, {duration(passed)}"
        if made > _EARLY and done < 1:
            words += f", about {duration(passed * (1 - done) / made)} left"
        text = Text(" " * _LEFT, no_wrap=True, overflow="ellipsis")
        text.append(signs.done * full, "green").append(signs.undone * (bar - full), "dim").append(words)
        return text


class Axis:
    """The rates between two powers of ten, low and high as log10, over so many columns."""

    def __init__(self, ends: tuple[float, float], columns: int) -> None:
        self.low, self.high = ends
        self.columns = max(columns, 20)

    def column(self, lr: float) -> int:
        place = (math.log10(lr) - self.low) / (self.high - self.low)
        return min(max(round(place * (self.columns - 1)), 0), self.columns - 1)

    def empty(self) -> list[tuple[str, str]]:
        return [(" ", "")] * self.columns

    def labels(self) -> "Text":
        """The powers of ten, as many as have room."""
        from rich.text import Text

        line, free = [" "] * self.columns, 0
        for power in range(math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9) + 1):
            label = f"{10.0**power:g}"
            start = min(max(self.column(10.0**power) - len(label) // 2, 0), self.columns - len(label))
            if start >= free:
                line[start : start + len(label)] = label
                free = start + len(label) + 1
        return Text("rate".ljust(_LEFT) + "".join(line), "dim", no_wrap=True, overflow="crop")

    def row(self, label: str, cells: list[tuple[str, str]], remark: str) -> "Text":
        from rich.text import Text

        text = Text(label.ljust(_LEFT), no_wrap=True, overflow="crop")
        for sign, style in cells:
            text.append(sign, style)
        return text.append(f"  {remark}")


class Signs:
    """The characters, in Unicode or in ASCII."""

    def __init__(self, ascii_only: bool) -> None:
        self.scores = "12345678" if ascii_only else "▁▂▃▄▅▆▇█"
        self.diverged, self.dropped, self.running, self.waiting = "x.@o" if ascii_only else "×·●○"
        self.line, self.left, self.right, self.rate = "-[]^" if ascii_only else "─├┤▲"
        self.done, self.undone = "#." if ascii_only else "━─"

    def legend(self) -> "Text":
        from rich.text import Text

        text = (
            f"{self.scores[-1]} best  {self.scores[0]} a mere guess  {self.diverged} diverged  {self.dropped} dropped  "
            f"{self.running} at work  {self.waiting} to come"
        )
        return Text(" " * _LEFT + text, "dim", no_wrap=True, overflow="crop")


def share(horizon: float) -> str:
    """A part of a full training: "1/32", or "4.4 %" where it is no such part."""
    parts = 1 / horizon
    return f"1/{parts:.0f}" if abs(parts - round(parts)) < 0.005 * parts else f"{100 * horizon:.2g} %"
