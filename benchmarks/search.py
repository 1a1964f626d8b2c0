"""What a searched learning rate costs in accuracy, against the best of a dense grid and against other ways to find one.

    python benchmarks/search.py best --data FOLDER [CELL ...]               the grid's best rates on fresh seeds
    python benchmarks/search.py live --data FOLDER [--seeds 10] [CELL ...]  search, train, test: nothing replayed
    python benchmarks/search.py replay [--seeds 100] [CELL ...]             rivals at equal cost, on the grid's tables

Regret is in points of test accuracy: that of the grid's best rate, trained with seeds that chose nothing, minus that of
the rate that was found. Cost is in full trainings, by images that go through the network, evaluation included; the
final training is 1 of it. A search never sees a test image. The tables are made by search_grid.py.
"""

import json
import math
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from search_cells import CELLS
from search_grid import RATES, RESULTS, tested, trained
from search_rivals import METHODS, Table

from foveal.run.folder import RunFolder
from foveal.search.run import find_rate, job_of, search_of

FRESH: Final = 9000  # seeds from here on were never used by a grid or a search
FRESH_SEEDS: Final = 6
LIVE: Final = RESULTS / "live.json"


def fresh_accuracy(name: str, data: Path, lr: float, seed: int) -> float | None:
    """Test accuracy of a full training; None if it diverged."""
    session = CELLS[name].session(data)
    job = job_of(session, search_of(session).guess, 1)
    done, _, whole = trained(job, lr, job.total_steps, FRESH + seed)
    return tested(done, session.data.test) if whole else None


def rescored(name: str, data: Path) -> dict[str, Any]:
    """The grid's best rate, by mean test accuracy over the grid's seeds, and its accuracies with fresh seeds."""
    table = Table(name)
    lr = RATES[int(np.argmax(table.accuracy))]
    return {"lr": lr, "accuracies": [fresh_accuracy(name, data, lr, seed) for seed in range(FRESH_SEEDS)]}


def one_search(name: str, data: Path, seed: int) -> dict[str, Any]:
    """A search and the training after it. The training's seed is not the search's."""
    session = CELLS[name].session(data, seed=seed)
    with tempfile.TemporaryDirectory() as place:
        found = find_rate(session, RunFolder.create("search", Path(place, "run")), workers=1)
    accuracy = fresh_accuracy(name, data, found.best.lr, 100 + seed)
    return {
        "seed": seed, "lr": found.best.lr, "cost": round(found.cost, 3), "evidence": found.best.evidence,
        "bracket": list(found.best.bracket), "accuracy": accuracy,
    }  # fmt: skip


def interval(values: list[float], draws: int = 2000) -> tuple[float, float]:
    """95 % of a mean, by bootstrap."""
    random = np.random.default_rng(0)
    means = random.choice(values, (draws, len(values))).mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def describe(regrets: list[float]) -> str:
    low, high = interval(regrets)
    return (
        f"{statistics.mean(regrets):6.2f} [{low:5.2f}, {high:5.2f}]  90 %: {np.quantile(regrets, 0.9):5.2f}  "
        f"over 2 points: {100 * statistics.mean(r > 2 for r in regrets):3.0f} %"
    )


DATA = click.option("--data", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
NAMES = click.argument("names", nargs=-1, type=click.Choice(list(CELLS)))


@click.group()
def main() -> None:
    """The regret of searched learning rates."""


@main.command()
@DATA
@click.option("--jobs", default=2)
@NAMES
def best(data: Path, jobs: int, names: tuple[str, ...]) -> None:
    """Train the grid's best rates with fresh seeds."""
    known = _stored(RESULTS / "best.json")
    with ProcessPoolExecutor(jobs) as pool:
        for name, row in zip(names or CELLS, pool.map(rescored, names or CELLS, repeat(data)), strict=True):
            known[name] = row
            click.echo(f"{name}: {row['lr']:g} {100 * statistics.mean(row['accuracies']):.2f} %")
    _store(RESULTS / "best.json", known)


@main.command()
@DATA
@click.option("--seeds", default=10)
@click.option("--jobs", default=2, help="searches at a time, each on one core")
@NAMES
def live(data: Path, seeds: int, jobs: int, names: tuple[str, ...]) -> None:
    """Search and train, and compare with the grid's best rate."""
    truth = _stored(RESULTS / "best.json")
    found = _stored(LIVE)
    every: list[float] = []
    for name in names or CELLS:
        with ProcessPoolExecutor(jobs) as pool:
            rows = list(pool.map(one_search, repeat(name), repeat(data), range(seeds)))
        found[name] = rows
        top = statistics.mean(truth[name]["accuracies"])
        regrets = [100 * (top - (row["accuracy"] or 0.0)) for row in rows]
        every += regrets
        rates = [math.log10(row["lr"]) for row in rows]
        click.echo(
            f"{name:26} {describe(regrets)}  cost {1 + statistics.mean(r['cost'] for r in rows):.2f}  "
            f"log10 lr {statistics.mean(rates):.2f} ± {statistics.pstdev(rates):.2f}, "
            f"the grid's {math.log10(truth[name]['lr']):.2f}"
        )
        _store(LIVE, found)
    click.echo(f"{'all':26} {describe(every)}")


@main.command()
@click.option("--seeds", default=100)
@click.option("--total", "totals", multiple=True, type=float, default=(1.25, 1.5, 2.0, 2.5))
@NAMES
def replay(seeds: int, totals: tuple[float, ...], names: tuple[str, ...]) -> None:
    """All methods on the tables, at equal cost."""
    truth = _stored(RESULTS / "best.json")
    tables = [Table(name, statistics.mean(truth[name]["accuracies"])) for name in names or CELLS]
    for total in totals:
        click.echo(f"\ncost {total}: regret, mean [95 %] over {len(tables)} cells x {seeds} searches; worst cell; cost")
        for label, method in METHODS.items():
            try:
                _replayed(label, method, tables, total, seeds)
            except LookupError as error:
                click.echo(f"  {label:32} {error}")


def _replayed(label: str, method: Callable[..., Any], tables: list[Table], total: float, seeds: int) -> None:
    by_cell, costs = [], []
    for table in tables:
        picks = [method(table, total - 1, seed) for seed in range(seeds)]
        by_cell.append([regret for regret, _ in picks])
        costs += [cost for _, cost in picks]
    worst = max(range(len(tables)), key=lambda i: statistics.mean(by_cell[i]))
    every = [regret for own in by_cell for regret in own]
    click.echo(
        f"  {label:32} {describe(every)}  worst {statistics.mean(by_cell[worst]):5.2f} "
        f"({tables[worst].name})  cost {1 + statistics.mean(costs):.2f}"
    )


def _stored(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}


def _store(path: Path, values: dict[str, Any]) -> None:
    rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in values.items())
    path.write_text(f"{{\n{rows}\n}}\n")


if __name__ == "__main__":
    main()
