"""How a search is shown while it runs, on stderr: a live picture on a terminal (picture), plain lines elsewhere."""

import math
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from time import monotonic
from typing import TYPE_CHECKING, TextIO

from foveal.lrsearch import Result, Search, Trial, propose
from foveal.search.picture import Picture, share
from foveal.train.events import Event, RoundDone, SearchFinished, SearchStarted, TrialBegun, TrialDone
from foveal.train.progress import BROKEN, PlainProgress, duration

if TYPE_CHECKING:
    from rich.live import Live


def search_listener(stream: TextIO) -> PlainProgress:
    """The listener that suits the stream: a picture on a terminal that can redraw it, plain lines otherwise."""
    if stream.isatty():
        from rich.console import Console

        if not Console(file=stream).is_dumb_terminal:
            return LiveSearch(stream)
    return PlainSearch(stream)


class PlainSearch(PlainProgress):
    """One line at the start, one for each rung, or extension of the range, with what it tried, one at the end."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.search: Search | None = None
        self.told: set[str] = set()  # keys of trials

    def lines(self, event: Event) -> list[str]:
        if isinstance(event, SearchStarted):
            self.search, self.told = event.search, set()
            return [_start_line(event)]
        if isinstance(event, RoundDone) and self.search is not None:
            following = propose(self.search, event.state)
            results = [r for r in event.state.results if r.trial.key not in self.told]
            if {t.key for t in following} & {r.trial.key for r in results}:
                return []  # their second half is to come
            self.told |= {r.trial.key for r in results}
            return [_rung_line(results, following)]
        if isinstance(event, SearchFinished):
            return _end_lines(event)
        return []


class LiveSearch(PlainSearch):
    """The first and the last line, and between them the rungs as they grow; see `Picture`. The picture stays."""

    PER_SECOND = 2.0  # how often it is drawn anew, beside when something happens

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.live: Live | None = None
        self.picture: Picture | None = None

    def tell(self, event: Event) -> None:
        if isinstance(event, SearchStarted):
            self.close()
            super().tell(event)
            self.begin(event)
        elif isinstance(event, SearchFinished):
            self.show(event)
            self.close()
            super().tell(event)
        elif isinstance(event, (TrialBegun, TrialDone, RoundDone)):
            self.show(event)

    def begin(self, event: SearchStarted) -> None:
        from rich.console import Console
        from rich.live import Live

        self.picture = Picture(event.search, monotonic)
        console = Console(file=self.stream)
        self.live = Live(self.picture, console=console, refresh_per_second=self.PER_SECOND, vertical_overflow="visible")
        self.live.start(refresh=True)

    def show(self, event: Event) -> None:
        if self.picture is not None and self.live is not None:
            self.picture.take(event)
            self.live.refresh()

    def close(self) -> None:
        """Leave the picture as it is."""
        if self.live is not None:
            with suppress(*BROKEN):
                self.live.stop()
        self.live = self.picture = None


def _start_line(event: SearchStarted) -> str:
    search, workers, threads = event.search, event.workers, event.threads
    each = f"{threads} thread{'s' if threads > 1 else ''}" + (" each" if workers > 1 else "")
    return (
        f"searching for a learning rate between {search.low:g} and {search.high:g}: "
        f"{sum(rung.trials for rung in search.rungs)} trials, {workers} at a time with {each}"
    )


def _rung_line(results: Sequence[Result], following: Sequence[Trial]) -> str:
    """What a rung's trials came to, from the lowest rate to the highest, and where the search goes on."""
    last = sorted({r.trial.key: r for r in results}.values(), key=lambda r: r.trial.lr)
    least = min((r.score for r in last if r.score is not None), default=None)
    parts = []
    for fate, group in groupby(last, _fate):
        if fate:
            parts.append(f"{', '.join(f'{r.trial.lr:.2g}' for r in group)} {fate}")
        else:
            parts += [f"{r.trial.lr:.2g} → {r.score:.3g}{' (best)' if r.score == least else ''}" for r in group]
    rates = sorted(t.lr for t in following)
    ends = dict.fromkeys(f"{lr:.2g}" for lr in (*rates[:1], *rates[-1:]))
    then = f"; next {' to '.join(ends)}" if ends else ""
    return f"trials of {share(results[0].trial.horizon)} of a training, rate → loss: {', '.join(parts)}{then}"


def _fate(result: Result) -> str:
    """Of a trial without a score."""
    return "" if result.score is not None else "diverged" if result.diverged else "dropped"


def _end_lines(event: SearchFinished) -> list[str]:
    best = event.best
    lines = [
        f"learning rate {best.lr:g}, the best one probably between {best.bracket[0]:g} and {best.bracket[1]:g}; "
        f"noise {noise(best.noise)}; cost {event.cost:.2g} of a full training, {duration(event.seconds)}"
    ]
    return [*lines, f"evidence: weak: {best.reason}"] if best.evidence == "weak" else lines


def noise(spread: float) -> str:
    """Spread of ln(loss) between equal trials, as a part of the loss: 0.06 → "6 % of the loss"."""
    return f"{100 * math.expm1(spread):.2g} % of the loss"
