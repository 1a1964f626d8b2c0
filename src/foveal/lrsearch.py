"""The search for a learning rate, as a pure function of scores: what to try next, and which rate to take.

The method is the oldest one: draw random rates over a wide range, train a little with each, narrow the range around
those that did well, draw again. Nothing here knows layers, data or clocks. A *trial* is one short training at one rate;
its *horizon* is its length as a share of the full training, whose whole schedule it runs, compressed. Trials are made
in *rungs*: the first covers the range with short trials, the next ones the bracket that is left with longer ones. Each
rung is two *rounds*, the first and the second half of its trials' steps, and what is dropped is decided between them.

    propose(search, state) -> trials to run now    observe(state, results) -> state    best(search, state) -> answer

Rates are placed and judged as x = log10 of the rate, scores as y = ln of the calibrated validation cross-entropy.
Around the best rate y is taken for a parabola whose place may drift with the horizon h and whose height is each rung's
own:

    y = a[rung] + b (x - c - d log2 h)²  + noise

with priors on the curvature b and the drift d that say what such curves were found to be; c, the place at h = 1, has
none. Its posterior gives the bracket, and in the end the rate. Diverged trials and those that still guess are no points
of the parabola, but bound it: nothing above the highest rate that trained well is ever chosen.

Where the training starts from weights that know much, there is no such parabola in short trials: what they spoil takes
long to mend, so the lowest rates look best. Then one rung is all, and the rate is that from which on they spoil them.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveal.checks import integer, real, settle
from foveal.errors import FovealError, UsageError
from foveal.rng import stream_key, uniform, words

Floats = NDArray[np.float64]

LOWEST, HIGHEST = 1e-5, 10.0  # rates, the range that is searched
FURTHEST: Final = 2.0  # decades by which the range may be extended at either end
STEP: Final = 0.75  # decades between two trials of an extension
_LONGER: Final = 4  # times as long, where trials were too short to learn anything
_AGAIN: Final = 5  # of these at most: they are dear

# The parabola: what is known before the first score.
_NOISE: Final = 0.06  # of y, per trial
_CURVATURES: Final = np.geomspace(0.15, 6.0, 13)  # b, per decade²; prior: ln b normal around ln 0.9
_CURVATURE: Final = (0.9, 0.7)
_DRIFTS: Final = np.linspace(-0.15, 0.25, 17)  # d, decades per doubling; prior: normal
_DRIFT: Final = (0.03, 0.06)  # trials of few steps ask for somewhat lower rates than long ones do
_HOPELESS: Final = 3.0  # times the rung's lowest loss
_SLOW: Final = 1.25  # likewise, at half time, for rates out of reach below the one that has it
_WINDOW: Final = 0.7  # y above the rung's best from which a trial says nothing of the parabola
_WELL: Final = 0.5  # y above the rung's best up to which a trial trained well
_FLOOR: Final = 0.005  # added to scores before the logarithm: how many zeros an overfitted score has means little
_REACH: Final = 1.25  # decades from the best trial, likewise
_BEYOND: Final = 0.3  # decades beyond its points where the parabola's lowest point may lie
_GRID: Final = 0.02  # decades
_KNOWING: Final = 2 / 3  # of a guess: a score below it knows much
_SPOILT: Final = 0.1  # of what is known, which is ln(guess / known): a trial that loses more has spoilt it


@dataclass(frozen=True)
class Rung:
    """`trials` trials of `horizon`, the share of a full training's steps that each makes."""

    trials: int
    horizon: float

    def __post_init__(self) -> None:
        settle(self, "trials", integer, 1)
        settle(self, "horizon", real, above=0, high=1)


@dataclass(frozen=True)
class Search:
    """What is to be searched and how; immutable.

    guess: the score, a calibrated cross-entropy, of answering without looking (ln K for K equal classes). rungs: from
    short to long. low, high: the range of rates at first. seed: of the draws. one_seed: whether all trials of a rung
    train with the same seed. known: the score of the weights that the training starts from, where that is better than
    a guess: what does not improve on it has learnt nothing. Raises UsageError.
    """

    guess: float
    rungs: tuple[Rung, ...] = (Rung(8, 1 / 32), Rung(3, 1 / 16))
    low: float = LOWEST
    high: float = HIGHEST
    seed: int = 0
    one_seed: bool = False
    known: float | None = None

    def __post_init__(self) -> None:
        settle(self, "guess", real, above=0)
        if self.known is not None:
            settle(self, "known", real, above=0)
        for name in ("low", "high"):
            settle(self, name, real, above=0)
        settle(self, "seed", integer, 0, 2**64 - 1)
        if self.low >= self.high:
            raise UsageError(f"the lowest rate, {self.low:g}, must lie below the highest, {self.high:g}")
        if not self.rungs:
            raise UsageError("a search needs at least one rung")

    @property
    def bar(self) -> float:
        """The score that what has learnt something is below."""
        return self.guess if self.known is None else min(self.guess, self.known)


@dataclass(frozen=True)
class Trial:
    """One short training: which, at what rate, for what share of a full training, and with what seed."""

    rung: int
    number: int  # in its rung
    lr: float
    horizon: float
    seed: int

    @property
    def key(self) -> str:
        return f"{self.rung}.{self.number}"


@dataclass(frozen=True)
class Result:
    """What came of one half of a trial.

    loss: mean training loss over the last quarter of the trial's steps that were to be made, None after divergence.
    score: calibrated validation cross-entropy at the end of the second half; None before it, and if the trial diverged.
    """

    trial: Trial
    half: int  # 1 or 2
    loss: float | None
    score: float | None = None

    @property
    def diverged(self) -> bool:
        return self.loss is None or (self.half == 2 and self.score is None)


@dataclass(frozen=True)
class State:
    """Everything that was observed, in the order of rungs, numbers and halves."""

    results: tuple[Result, ...] = ()


@dataclass(frozen=True)
class Best:
    """The answer. lr: the rate to take, of 3 significant digits. bracket: rates between which the best one lies, with
    four chances in five. noise: spread of ln(score) between equal trials. drift: decades per doubling of the length.
    evidence: "strong" or "weak", and then reason says why."""

    lr: float
    bracket: tuple[float, float]
    noise: float
    drift: float
    evidence: str
    reason: str


SPOILT: Final = "no short training improved on the weights that it started from"  # a reason for weak evidence


class NothingTrainedError(FovealError):
    """No rate in reach made the network learn anything."""


def propose(search: Search, state: State) -> tuple[Trial, ...]:
    """The trials of the next round, all of one rung: new ones, or the second half of those that were begun and are not
    hopeless. None when the search is at its end."""
    if not state.results:
        return _drawn(search, state, 0, math.log10(search.low), math.log10(search.high))
    if waiting := _waiting(search, state):
        return waiting
    rung = max(result.trial.rung for result in state.results)
    if (edge := _edge(search, state)) is not None:
        return _below(search, state, rung) if edge[0] == edge[1] == min(map(_x, state.results)) else ()
    if not _trained(search, state):
        return _beyond(search, state, rung) or _again_but_longer(search, state, rung)
    if beyond := _beyond(search, state, rung) if rung == _first(search, state) else _beside(search, state, rung):
        return beyond
    if rung + 1 - _first(search, state) >= len(search.rungs):
        return ()
    posterior = _posterior(search, state)
    if posterior.deviation < _finest(posterior):
        return ()
    half = min(max(1.6 * posterior.deviation, 0.3), 0.75)
    return _drawn(search, state, rung + 1, posterior.mean - half, posterior.mean + half)


def observe(state: State, results: Iterable[Result]) -> State:
    """The state after a round. Raises UsageError for a result that is there already."""
    known = {(r.trial.rung, r.trial.number, r.half): r for r in state.results}
    for r in results:
        place = r.trial.rung, r.trial.number, r.half
        if place in known:
            raise UsageError(f"half {r.half} of trial {r.trial.key} has been observed already")
        known[place] = r
    return State(tuple(known[place] for place in sorted(known)))


def best(search: Search, state: State) -> Best:
    """The rate to take after what has been observed. Raises NothingTrainedError if no trial learnt anything."""
    if (edge := _edge(search, state)) is not None:
        low, x, high = (rounded(10**x) for x in edge)
        return Best(x, (low, high), _NOISE, 0.0, "weak", SPOILT)
    if not _trained(search, state):
        raise NothingTrainedError(_nothing(search, state))
    posterior = _posterior(search, state)
    highest = max(_x(r) for r in _well_trained(search, state))
    x = min(posterior.mean, highest)
    spread = 1.2816 * posterior.deviation
    bracket = rounded(10 ** (x - spread)), rounded(10 ** (x + spread))
    reason = _doubts(search, state, posterior)
    return Best(
        rounded(10**x), bracket, posterior.noise, posterior.drift, "weak" if reason else "strong", reason
    )  # fmt: skip


def rounded(lr: float) -> float:
    """Three significant digits: what is shown is what is used."""
    return float(f"{lr:.3g}")


# ---- placing trials


def _first(search: Search, state: State) -> int:
    """The first rung in which a trial learnt something; the one after the last where none did."""
    trained = [r.trial.rung for r in _trained(search, state)]
    return min(trained) if trained else max((r.trial.rung for r in state.results), default=-1) + 1


def _spec(search: Search, state: State, rung: int) -> Rung:
    """Trials and horizon of a rung. Where trials were too short to learn anything, all later ones are longer."""
    first = _first(search, state)
    begin = min(search.rungs[0].horizon * _LONGER**first, _longest(search))
    spec = search.rungs[min(max(rung - first, 0), len(search.rungs) - 1)]
    return replace(spec, horizon=max(spec.horizon, begin))


def _longest(search: Search) -> float:
    """Horizon up to which trials of a first rung grow: a network that never learns anything must not cost too much."""
    return min(1.0, max(_LONGER * search.rungs[0].horizon, 0.25))


def _drawn(
    search: Search, state: State, rung: int, low: float, high: float, first: int = 0, count: int | None = None
) -> tuple[Trial, ...]:
    """Rates drawn log-uniformly, one in each of equal parts of [low, high], within the middle half of its part."""
    spec = _spec(search, state, rung)
    count = count or spec.trials
    jitter = 0.5 * uniform(words(stream_key(search.seed, "trial", rung, first), count)).astype(np.float64) + 0.25
    places = low + (np.arange(count) + jitter) * (high - low) / count
    trials = []
    for number, x in enumerate(places.tolist(), first):
        key = stream_key(search.seed, "trial", rung, 0 if search.one_seed else number, 1)
        trials.append(Trial(rung, number, rounded(10**x), spec.horizon, key[0] << 32 | key[1]))
    return tuple(trials)


def _beyond(search: Search, state: State, rung: int) -> tuple[Trial, ...]:
    """Trials beyond the range, where the best of a first rung lies at its end; none where it does not, or where enough
    has been tried. Below the range also where nothing was learnt and all but the lowest rate, or that too, diverged."""
    own = {r.trial.number: r for r in state.results if r.trial.rung == rung}  # the last result of each
    xs = sorted(map(_x, own.values()))
    higher = xs[-1] < math.log10(search.high) + FURTHEST
    trained = [r for r in _trained(search, state) if r.trial.rung == rung]
    top = _x(min(trained, key=_y)) if trained else None
    lost = top is None and all(r.diverged for r in own.values() if _x(r) > xs[0])
    if top == xs[0] or lost:
        return _below(search, state, rung)
    if higher and top == xs[-1]:
        return _drawn(search, state, rung, xs[-1], xs[-1] + 2 * STEP, len(own), 2)
    return ()


def _below(search: Search, state: State, rung: int) -> tuple[Trial, ...]:
    """Two trials below all of a rung; none where enough has been tried."""
    own = {r.trial.number: _x(r) for r in state.results if r.trial.rung == rung}
    low = min(own.values())
    if low <= math.log10(search.low) - FURTHEST:
        return ()
    return _drawn(search, state, rung, low - 2 * STEP, low, len(own), 2)


def _again_but_longer(search: Search, state: State, rung: int) -> tuple[Trial, ...]:
    """A rung of longer trials than the last one, in which nothing was learnt: over the rates that came to their end
    with a score that is not hopeless, about as many as these."""
    own = [r for r in state.results if r.trial.rung == rung]
    least = min((r.score for r in own if r.score is not None), default=math.inf)
    kept = [_x(r) for r in own if r.score is not None and r.score <= _HOPELESS * least]
    if not kept or max(r.trial.horizon for r in own) >= _longest(search):
        return ()
    count = min(max(len(kept), 3), _AGAIN)
    return _drawn(search, state, rung + 1, min(kept) - STEP / 2, max(kept) + STEP / 2, count=count)


def _beside(search: Search, state: State, rung: int) -> tuple[Trial, ...]:
    """A trial beside those of a later rung, once, where its best one is the lowest or the highest of them."""
    own = {r.trial.number: r for r in state.results if r.trial.rung == rung}
    trained = [r for r in own.values() if r.score is not None]
    if len(own) > _spec(search, state, rung).trials or len(own) < 2 or not trained:
        return ()
    xs, best_x = sorted(map(_x, own.values())), _x(min(trained, key=_y))
    gap = 2 * (xs[-1] - xs[0]) / (len(xs) - 1)  # its place lies around the middle of it: as far off as they are apart
    if best_x == xs[0]:
        return _drawn(search, state, rung, xs[0] - gap, xs[0], len(own), 1)
    return _drawn(search, state, rung, xs[-1], xs[-1] + gap, len(own), 1) if best_x == xs[-1] else ()


# ---- judging trials


def _x(result: Result) -> float:
    return math.log10(result.trial.lr)


def _y(result: Result) -> float:
    return math.inf if result.score is None else math.log(result.score + _FLOOR)


def _waiting(search: Search, state: State) -> tuple[Trial, ...]:
    """Trials of which the first half was run, not the second, and that are not hopeless: no better than a guess, and
    either much worse than another one of their rung, or worse than one whose rate is so much higher that they would be
    no points of the parabola beside it. Losses that are all above a guess's, as with pixels that are not normalised,
    say how large scores are, not how good: no trial is hopeless for them."""
    done = {r.trial.key for r in state.results if r.half == 2}
    begun = [r for r in state.results if r.half == 1]
    least: dict[int, tuple[float, float]] = {}  # of each rung: loss, and where
    for r in begun:
        loss = math.inf if r.loss is None else r.loss
        least[r.trial.rung] = min(least.get(r.trial.rung, (math.inf, 0.0)), (loss, _x(r)))

    def hopeless(r: Result) -> bool:
        lowest, place = least[r.trial.rung]
        if lowest > search.guess:
            return r.loss is None
        slow = search.known is None and _x(r) < place - _REACH  # weights that know something do not begin slowly
        return r.loss is None or r.loss > max(search.bar, (_SLOW if slow else _HOPELESS) * lowest)

    return tuple(r.trial for r in begun if r.trial.key not in done and not hopeless(r))


def _trained(search: Search, state: State) -> list[Result]:
    """Finished trials that have learnt something: their score is better than a guess."""
    return [r for r in state.results if r.score is not None and r.score < 0.98 * search.bar]


def _well_trained(search: Search, state: State) -> list[Result]:
    """Those whose score is nearly that of the best trial of their rung."""
    trained = _trained(search, state)
    least: dict[int, float] = {}
    for r in trained:
        least[r.trial.rung] = min(least.get(r.trial.rung, math.inf), _y(r))
    return [r for r in trained if _y(r) <= least[r.trial.rung] + _WELL]


def _edge(search: Search, state: State) -> tuple[float, float, float] | None:
    """Where trials begin to spoil weights that know much, between the rates tried below and above it; None where the
    weights do not, or where a trial improves them by as much."""
    scored = [r.score for r in state.results if r.score is not None]
    if search.known is None or search.known > _KNOWING * search.guess or not scored:
        return None
    change = _SPOILT * math.log(search.guess / search.known)
    if min(scored) < search.known * math.exp(-change):
        return None
    limit = math.log(search.known * math.exp(change) + _FLOOR)
    tried = sorted((_x(r), _y(r)) for r in {r.trial.key: r for r in state.results}.values())
    first = next((k for k, (_, y) in enumerate(tried) if y > limit), len(tried))
    if first in {0, len(tried)}:
        x = tried[min(first, len(tried) - 1)][0]
        return x, x, x
    (low, y), (high, spoilt) = tried[first - 1], tried[first]
    return low, low + (high - low) * (limit - y) / (spoilt - y), high


@dataclass(frozen=True)
class _Posterior:
    """Of the best rate of a full training, in decades; curvature per decade², drift in decades per doubling."""

    mean: float
    deviation: float
    curvature: float
    drift: float
    noise: float
    points: int


def _posterior(search: Search, state: State) -> _Posterior:
    """What the finished trials say of the parabola, by summing over a grid of its parameters."""
    points = _near_the_best(search, state)
    x = np.array([_x(r) for r in points])
    y = np.array([_y(r) for r in points])
    t = np.array([math.log2(r.trial.horizon) for r in points])
    rung = np.array([r.trial.rung for r in points])
    c = np.arange(x.min() - _BEYOND, x.max() + _BEYOND + _GRID, _GRID)
    b, d = _CURVATURES, _DRIFTS
    shape = b[None, :, None, None] * (x - c[:, None, None, None] - d[None, None, :, None] * t) ** 2  # (c, b, d, point)
    rest = y - shape
    for k in np.unique(rung):  # each rung's own height: the mean of what is left
        own = rung == k
        rest[..., own] -= rest[..., own].mean(axis=-1, keepdims=True)
    squares = (rest**2).sum(axis=-1)
    prior = (np.log(b / _CURVATURE[0]) / _CURVATURE[1]) ** 2
    prior = prior[None, :, None] + (((d - _DRIFT[0]) / _DRIFT[1]) ** 2)[None, None, :]
    noise = _noise(squares, len(points) - len(np.unique(rung)))
    weight = np.exp(-0.5 * (squares / noise**2 + prior - (squares / noise**2 + prior).min()))
    weight /= weight.sum()
    over_c = weight.sum(axis=(1, 2))
    mean = float((over_c * c).sum())
    return _Posterior(
        mean=mean,
        deviation=math.sqrt(float((over_c * (c - mean) ** 2).sum())),
        curvature=float((weight.sum(axis=(0, 2)) * b).sum()),
        drift=float((weight.sum(axis=(0, 1)) * d).sum()),
        noise=noise,
        points=len(points),
    )


def _noise(squares: Floats, freedom: int) -> float:
    """Of a trial's y: what the best parabola leaves, mixed with what is known beforehand, worth 4 points."""
    known = 4.0
    left = float(squares.min())
    return math.sqrt((known * _NOISE**2 + left) / (known + max(freedom - 2, 0)))


def _near_the_best(search: Search, state: State) -> list[Result]:
    """The trials that the parabola is laid through: of every rung those that trained nearly as well as its best, within
    reach of the best one of the longest rung."""
    trained = _trained(search, state)
    last = max(r.trial.rung for r in trained)
    centre = _x(min((r for r in trained if r.trial.rung == last), key=_y))
    near: list[Result] = []
    for rung in range(last + 1):
        own = [r for r in trained if r.trial.rung == rung]
        low = min(map(_y, own), default=0.0)
        near += [r for r in own if _y(r) <= low + _WINDOW and abs(_x(r) - centre) <= _REACH]
    return near


def _finest(posterior: _Posterior) -> float:
    """A deviation, in decades, below which more trials are of no use: their noise hides such differences."""
    return math.sqrt(posterior.noise / 3 / posterior.curvature) / 4


def _doubts(search: Search, state: State, posterior: _Posterior) -> str:
    """Why the answer should be taken with care; "" if there is no reason to."""
    xs = sorted(map(_x, state.results))
    first = _first(search, state)
    lowest = min(_y(r) for r in _trained(search, state) if r.trial.rung == first)
    if posterior.points < 3:
        return f"only {posterior.points} of {len({r.trial.key for r in state.results})} trials trained well"
    if posterior.mean <= xs[0] + 0.1:
        return f"the best rate lies at the low end of what was tried, {10 ** xs[0]:.3g}"
    if posterior.mean >= xs[-1] - 0.1:
        return f"the best rate lies at the high end of what was tried, {10 ** xs[-1]:.3g}"
    flat = [_x(r) for r in _trained(search, state) if r.trial.rung == first and _y(r) < lowest + 3 * posterior.noise]
    if posterior.deviation > 0.4 or max(flat) - min(flat) > 2 * _REACH:
        return "the scores hardly depend on the rate over a wide range, or scatter too much to tell"
    if posterior.noise > 3 * _NOISE:
        return "the scores scatter more than they differ"
    return ""


def _nothing(search: Search, state: State) -> str:
    rates = sorted({r.trial.lr for r in state.results})
    tried = f"of {len(rates)} learning rates from {rates[0]:.2g} to {rates[-1]:.2g}"
    if all(r.diverged for r in {r.trial.key: r for r in state.results}.values()):  # the last result of each
        return f"{tried} every one made the loss infinite; check the images and the network, or give --lr"
    return (
        f"none {tried} learnt more than guessing in a short trial; check that the labels fit the images, train for "
        f"more epochs, or give --lr"
    )


def longer(search: Search, horizon: float) -> Search:
    """The same search with no trial shorter than `horizon`."""
    return replace(search, rungs=tuple(replace(r, horizon=max(r.horizon, min(1.0, horizon))) for r in search.rungs))
