"""Ways to find a learning rate within a budget, replayed on the tables of search_grid.py and search_trained.py.

A method is given a table, a budget in full trainings (one not counted: the final one) and a seed, and returns its
regret in points of test accuracy and what it spent of the budget. Scores between two rates of the grid are interpolated
in ln; a trial that diverged costs what it had seen until then, taken as an eighth.
"""

import json
import math
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from search_grid import RATES, RESULTS, SCORED
from search_trained import RULES, STOPS, known

from foveal.lrsearch import (
    LOWEST,
    NothingTrainedError,
    Result,
    Rung,
    Search,
    State,
    best,
    observe,
    propose,
)  # fmt: skip
from foveal.optim import OPTIMIZERS
from foveal.search.trials import scored_images

LOW, HIGH = math.log10(RATES[0]), math.log10(RATES[-1])
FEWEST: Final = 250  # images that score a trial
EPOCHS: Final = 5


class Table:
    """One cell's grid. best: the accuracy to compare with; the grid's own best if None."""

    def __init__(self, name: str, best: float | None = None) -> None:
        found = json.loads((RESULTS / f"{name}.json").read_text())
        self.name, self.images, self.held_out = name, found["images"], found["validation"]
        self.rows = {tuple(row[:3]): row for row in found["rows"]}
        full = [[self.rows[k, 1, seed][-1] or 0.0 for seed in range(3)] for k in range(len(RATES))]
        self.accuracy = [sum(row) / len(row) for row in full]
        self.tuned = "tuned" in name
        # before any training: at the lowest rate next to nothing changes in so short a one
        self.start = self.rows[0, 64, 0][4 + SCORED.index(FEWEST)]
        self.best = max(self.accuracy) if best is None else best
        self.full = EPOCHS * (self.images + self.held_out)
        self.trained = known().get(name, {})
        self.prefix = {(k, seed): scores for k, seed, scores in self.trained.get("prefix", [])}

    def trial(self, lr: float, divisor: int, seed: int) -> tuple[float | None, float | None, float]:
        """(loss at half time, score, cost) of a trial of 1/divisor; None: diverged, as all is beyond the grid."""
        trained = EPOCHS * self.images // divisor
        scored = max(FEWEST, min(self.held_out, trained // 8))
        if not RATES[0] / 1.34 <= lr <= RATES[-1] * 1.34:
            return None, None, trained / 8 / self.full
        column = 4 + max(i for i, n in enumerate(SCORED) if n <= max(scored, SCORED[0]))
        a, b, share = self._between(lr)
        low, high = self.rows[a, divisor, seed], self.rows[b, divisor, seed]
        half, score = _mixed(low[3], high[3], share), _mixed(low[column], high[column], share)
        cost = trained / 8 if half is None else trained + (scored if score is not None else 0)
        return half, score, cost / self.full

    def begun(self, lr: float, divisor: int, seed: int) -> tuple[float | None, int]:
        """(score, images that scored it) of a full training after 1/divisor of it."""
        a, b, share = self._between(lr)
        at = STOPS.index(divisor)
        count = self.held_out if divisor == EPOCHS else scored_images(EPOCHS * self.images // divisor)
        return _mixed(self.prefix[a, seed][at], self.prefix[b, seed][at], share), count

    def ended(self, lr: float, seed: int) -> tuple[float | None, float]:
        """(validation loss, regret) of one full training."""
        a, b, share = self._between(lr)
        low, high = self.rows[a, 1, seed], self.rows[b, 1, seed]
        accuracy = (1 - share) * (low[-1] or 0.0) + share * (high[-1] or 0.0)
        return _mixed(low[-2], high[-2], share), 100 * (self.best - accuracy)

    def regret(self, lr: float) -> float:
        """In points of test accuracy, by the mean of the grid's trainings around the rate."""
        a, b, share = self._between(lr)
        return 100 * (self.best - (1 - share) * self.accuracy[a] - share * self.accuracy[b])

    def _between(self, lr: float) -> tuple[int, int, float]:
        place = (min(max(math.log10(lr), LOW), HIGH) - LOW) / (HIGH - LOW) * (len(RATES) - 1)
        a = min(int(place), len(RATES) - 2)
        return a, a + 1, place - a


def _mixed(a: float | None, b: float | None, share: float) -> float | None:
    if a is None or b is None:
        return a if share < 0.5 else b
    return math.exp((1 - share) * math.log(a) + share * math.log(b))


RUNGS: Final = {  # of foveal's search, by budget
    0.25: ((6, 32), (1, 16)),
    0.5: ((8, 32), (3, 16)),
    1.0: ((8, 32), (6, 8)),
    1.5: ((8, 16), (4, 4)),
}


def foveal(table: Table, budget: float, seed: int, one_seed: bool = False) -> tuple[float, float]:
    """The search as it is."""
    rungs = tuple(Rung(count, 1 / divisor) for count, divisor in RUNGS[budget])
    search = Search(math.log(10), rungs, seed=seed, one_seed=one_seed, known=table.start if table.tuned else None)
    state, cost, draw = State(), 0.0, random.Random(seed)
    seeds: dict[int, int] = {}  # of trials, and which of the table's
    while trials := propose(search, state):
        begun, results = {r.trial.key for r in state.results}, []
        for trial in trials:
            own = seeds.setdefault(trial.seed, draw.randrange(3))
            half, score, whole = table.trial(trial.lr, round(1 / trial.horizon), own)
            if trial.key in begun:
                results.append(Result(trial, 2, None if score is None else half, score))
                cost += whole - trial.horizon / 2 * table.images / (table.images + table.held_out)
            else:
                results.append(Result(trial, 1, half))
                cost += trial.horizon / (8 if half is None else 2) * table.images / (table.images + table.held_out)
        state = observe(state, results)
    try:
        return table.regret(best(search, state).lr), cost
    except NothingTrainedError:
        return table.regret(LOWEST), cost


def _tried(table: Table, xs: list[float], divisor: int, draw: random.Random) -> tuple[list[float], float]:
    """(scores, cost) of trials at 10^x."""
    found = [table.trial(10**x, divisor, draw.randrange(3)) for x in xs]
    return [math.inf if score is None else score for _, score, _ in found], sum(cost for *_, cost in found)


def _affordable(table: Table, budget: float, divisor: int) -> int:
    return max(1, int(budget / table.trial(1e-3, divisor, 0)[2]))


def log_random(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """Independent log-uniform rates, all at 1/16, the best one."""
    draw = random.Random(seed)
    xs = [draw.uniform(LOW, HIGH) for _ in range(_affordable(table, budget, 16))]
    scores, cost = _tried(table, xs, 16, draw)
    return table.regret(10 ** xs[scores.index(min(scores))]), cost


def stratified(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """An even grid with a random offset, all at 1/16, the best one."""
    draw = random.Random(seed)
    count = _affordable(table, budget, 16)
    offset = draw.random()
    xs = [LOW + (i + offset) * (HIGH - LOW) / count for i in range(count)]
    scores, cost = _tried(table, xs, 16, draw)
    return table.regret(10 ** xs[scores.index(min(scores))]), cost


def halving(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """Successive halving with restarts: stratified rates at 1/64, the better half of them at 1/32, and so on to 1/8."""
    draw, offset, cost = random.Random(seed), random.Random(seed + 1).random(), 0.0
    count = 4
    while sum(max(1, (count + 1) >> i) * table.trial(1e-3, 64 >> i, 0)[2] for i in range(4)) <= budget:
        count += 1
    xs = [LOW + (i + offset) * (HIGH - LOW) / count for i in range(count)]
    for i in range(4):
        scores, spent = _tried(table, xs, 64 >> i, draw)
        cost += spent
        order = sorted(range(len(xs)), key=scores.__getitem__)
        xs = [xs[k] for k in order[: max(1, len(xs) // 2)]]
    return table.regret(10 ** xs[0]), cost


def tpe(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """Optuna's TPE, trials at 1/16."""
    try:
        import optuna
    except ImportError:
        raise LookupError("not installed: pip install optuna") from None

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, draw, spent = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed)), random.Random(seed), 0.0
    for _ in range(_affordable(table, budget, 16)):
        trial = study.ask()
        x = trial.suggest_float("x", LOW, HIGH)
        (score,), cost = _tried(table, [x], 16, draw)
        spent += cost
        study.tell(trial, min(score, 1e3))
    return table.regret(10 ** study.best_params["x"]), spent


def continuing(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """Successive halving whose trainings go on: even rates, the better half of them at each stop, from 1/32 of the full
    schedule to 1/4, and what the last one has spent counts for it."""
    return _continuing(table, budget, seed, 32)


def continuing_from_64(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """The same from 1/64."""
    return _continuing(table, budget, seed, 64)


def _continuing(table: Table, budget: float, seed: int, begin: int) -> tuple[float, float]:
    draw = random.Random(seed)
    stops = [divisor for divisor in STOPS if divisor <= begin and divisor != EPOCHS]
    count = 2
    while _halved(table, count + 1, stops) <= budget:
        count += 1
    offset = draw.random()
    alive = [(LOW + (i + offset) * (HIGH - LOW) / count, draw.randrange(3)) for i in range(count)]
    cost, done = 0.0, 0
    for divisor in stops:
        images = EPOCHS * table.images // divisor
        scored = []
        for x, own in alive:
            score, judged = table.begun(10**x, divisor, own)
            cost += ((images - done) / 8 if score is None else images - done + judged) / table.full
            scored.append((math.inf if score is None else score, x, own))
        alive = [(x, own) for _, x, own in sorted(scored)[: max(1, len(alive) // 2)]]
        done = images
        if len(alive) == 1:
            break
    x, own = alive[0]
    return table.ended(10**x, own)[1], cost - done / table.full


def _halved(table: Table, count: int, stops: list[int]) -> float:
    """What so many starts cost where none diverges, without what the last one has been trained."""
    cost, done = 0.0, 0
    for divisor in stops:
        images = EPOCHS * table.images // divisor
        cost += count * (images - done + scored_images(images))
        count, done = max(1, count // 2), images
        if count == 1:
            break
    return (cost - done) / table.full if count == 1 else math.inf


def one_epoch(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """Even rates, the first epoch of the training with each, and the best one in full."""
    return _one_epoch(table, budget, seed, 1)


def one_epoch_top_2(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """The two best in full, as far as the budget allows, and the better one by validation."""
    return _one_epoch(table, budget, seed, 2 if budget >= 1.4 else 1)


def _one_epoch(table: Table, budget: float, seed: int, full: int) -> tuple[float, float]:
    draw, cost = random.Random(seed), float(full - 1)
    count = max(1, int((budget - cost) * EPOCHS + 1e-9))
    offset = draw.random()
    tried = []
    for i in range(count):
        x = LOW + (i + offset) * (HIGH - LOW) / count
        score, judged = table.begun(10**x, EPOCHS, draw.randrange(3))
        cost += (table.images / 8 if score is None else table.images + judged) / table.full
        tried.append((math.inf if score is None else score, x))
    ended = [table.ended(10**x, draw.randrange(3)) for _, x in sorted(tried)[:full]]
    return min((math.inf if loss is None else loss, regret) for loss, regret in ended)[1], cost


def default(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """The optimizer's default rate, nothing spent."""
    return table.regret(OPTIMIZERS[_optimizer(table.name)].default_lr), 0.0


def default_for_longer(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """The same, and the whole budget for a longer training: real ones, as many as there are."""
    return _longer(table, "default", budget, seed)


def without_rate(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """Another optimizer, which is to need no rate, likewise."""
    return _longer(table, "prodigy", budget, seed)


def _longer(table: Table, kind: str, budget: float, seed: int) -> tuple[float, float]:
    found = [accuracy for length, _, accuracy in table.trained[kind] if length == 1 + budget]
    return _one_of(found, table, seed), budget


def _one_of(accuracies: list[float | None], table: Table, seed: int) -> float:
    """The regret of one of the trainings. Raises LookupError where there are none at this cost."""
    if not accuracies:
        raise LookupError("no trainings at this cost: see search_trained.py")
    return 100 * (table.best - (accuracies[seed % len(accuracies)] or 0.0))


def _range_test(rule: str) -> Callable[[Table, float, int], tuple[float, float]]:
    """A range test, and what it leaves of the budget for a longer training: real ones, as many as there are."""

    def method(table: Table, budget: float, seed: int) -> tuple[float, float]:
        found = [row[-1] for row in table.trained["sweep"] if row[1] == rule and row[3] == 1 + budget]
        return _one_of(found, table, seed), budget

    return method


def _optimizer(name: str) -> str:
    from search_cells import CELLS

    return str(CELLS[name].settings.get("optimizer", "momentum"))


METHODS: Final[dict[str, Callable[[Table, float, int], Any]]] = {
    "foveal": foveal,
    "foveal, one seed in a rung": partial(foveal, one_seed=True),
    "log-random, 1/16": log_random,
    "stratified grid, 1/16": stratified,
    "successive halving": halving,
    "Optuna TPE, 1/16": tpe,
    "continuing halving, from 1/32": continuing,
    "continuing halving, from 1/64": continuing_from_64,
    "one epoch each": one_epoch,
    "one epoch each, two in full": one_epoch_top_2,
    **{f"range test: {rule}": _range_test(rule) for rule in RULES},
    "optimizer's default": default,
    "default, for longer": default_for_longer,
    "Prodigy, for longer": without_rate,
}
