"""Ways to find a learning rate within a budget, replayed on the tables of search_grid.py.

A method is given a table, a budget in full trainings (the final one not counted) and a seed, and returns the rate it
would train with and what it spent. Scores between two rates of the grid are interpolated in ln; a trial that diverged
costs what it had seen until then, taken as an eighth.
"""

import json
import math
import random
from collections.abc import Callable
from typing import Any, Final

from search_grid import RATES, RESULTS, SCORED

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


def foveal(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """The search as it is."""
    rungs = tuple(Rung(count, 1 / divisor) for count, divisor in RUNGS[budget])
    search = Search(math.log(10), rungs, seed=seed, known=table.start if table.tuned else None)
    state, cost, draw = State(), 0.0, random.Random(seed)
    seeds: dict[str, int] = {}
    while trials := propose(search, state):
        begun, results = {r.trial.key for r in state.results}, []
        for trial in trials:
            own = seeds.setdefault(trial.key, draw.randrange(3))
            half, score, whole = table.trial(trial.lr, round(1 / trial.horizon), own)
            if trial.key in begun:
                results.append(Result(trial, 2, None if score is None else half, score))
                cost += whole - trial.horizon / 2 * table.images / (table.images + table.held_out)
            else:
                results.append(Result(trial, 1, half, start=table.start))
                cost += trial.horizon / (8 if half is None else 2) * table.images / (table.images + table.held_out)
        state = observe(state, results)
    try:
        return best(search, state).lr, cost
    except NothingTrainedError:
        return LOWEST, cost


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
    return 10 ** xs[scores.index(min(scores))], cost


def stratified(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """An even grid with a random offset, all at 1/16, the best one."""
    draw = random.Random(seed)
    count = _affordable(table, budget, 16)
    offset = draw.random()
    xs = [LOW + (i + offset) * (HIGH - LOW) / count for i in range(count)]
    scores, cost = _tried(table, xs, 16, draw)
    return 10 ** xs[scores.index(min(scores))], cost


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
    return 10 ** xs[0], cost


def tpe(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """Optuna's TPE, trials at 1/16."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, draw, spent = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed)), random.Random(seed), 0.0
    for _ in range(_affordable(table, budget, 16)):
        trial = study.ask()
        x = trial.suggest_float("x", LOW, HIGH)
        (score,), cost = _tried(table, [x], 16, draw)
        spent += cost
        study.tell(trial, min(score, 1e3))
    return 10 ** study.best_params["x"], spent


def default(table: Table, budget: float, seed: int) -> tuple[float, float]:
    """The optimizer's default rate, nothing spent."""
    return OPTIMIZERS[_optimizer(table.name)].default_lr, 0.0


def _optimizer(name: str) -> str:
    from search_cells import CELLS

    return str(CELLS[name].settings.get("optimizer", "momentum"))


METHODS: Final[dict[str, Callable[[Table, float, int], Any]]] = {
    "foveal": foveal,
    "log-random, 1/16": log_random,
    "stratified grid, 1/16": stratified,
    "successive halving": halving,
    "Optuna TPE, 1/16": tpe,
    "optimizer's default": default,
}
