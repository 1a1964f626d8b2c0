"""The truth about a cell of the search benchmark: every rate of a dense grid, trained in full and in short.

    python benchmarks/search_grid.py --data FOLDER [CELL ...]

25 rates, four in a decade from 1e-5 to 10; 3 seeds; the full training and 1/4 … 1/64 of it, each with its whole
schedule compressed. A row of benchmarks/search/CELL.json: rate's number, divisor of the horizon, seed, training loss
at half time, and the calibrated cross-entropy on the first 125, 250, 500 and 1,000 of the held-out images (null:
diverged); in rows of full trainings also the accuracy on the test part, which no search is ever shown. Rows that are
there are kept.
"""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from search_cells import CELLS, Cell

from foveal.lrsearch import Trial
from foveal.search.run import job_of, search_of
from foveal.search.trials import Job, scored, scoring, settle_statistics, train_part
from foveal.train.session import Session

RATES = [float(f"{10 ** (-5 + k / 4):.3g}") for k in range(25)]
DIVISORS = (64, 32, 16, 8, 4, 1)
SEEDS = 3
SCORED = (125, 250, 500, 1000)
RESULTS = Path(__file__).parent / "search"


def trained(job: Job, lr: float, steps: int, seed: int) -> tuple[Session, float | None, bool]:
    """(the session after a training of so many steps, its loss at half time, whether it got to its end)."""
    trial = Trial(0, 0, lr, steps / job.total_steps, seed)
    session = job.session(trial)
    first = session.plan.state_dict()
    half = train_part(job, session, 0, steps // 2).loss
    if half is None:
        return session, None, False
    whole = train_part(job, session, steps // 2, steps).loss is not None
    if whole:
        settle_statistics(session.plan, first, steps)
    return session, half, whole


def row(job: Job, test: Any, k: int, divisor: int, seed: int) -> list[Any]:
    steps = round(job.total_steps / divisor)
    # seeds of one horizon are like those of another, so that trials with equal seeds can be replayed too
    session, half, whole = trained(job, RATES[k], steps, 1000 + seed)
    found: list[Any] = [k, divisor, seed, None if half is None else round(half, 4)]
    scores: list[float | None] = [None] * len(SCORED)
    accuracy = None
    if whole:
        order = scoring(job, 8 * max(SCORED))
        scores = [None if s is None else round(s, 4) for s in (scored(session, order[:n]) for n in SCORED)]
        if divisor == 1:
            accuracy = tested(session, test)
    return [*found, *scores, *([accuracy] if divisor == 1 else [])]


def tested(session: Session, test: Any) -> float:
    """Accuracy on the test part."""
    preprocess = session.data.preprocess
    source = session.plan.attach(test.pixels, test.labels, preprocess.scale, preprocess.shift)
    return float(np.mean(session.plan.evaluate_on(source).logits.argmax(axis=1) == test.labels))


def grid(cell: Cell, data: Path) -> None:
    path = RESULTS / f"{cell.name}.json"
    rows = json.loads(path.read_text())["rows"] if path.is_file() else []
    session = cell.session(data)
    job, test = job_of(session, search_of(session).guess, 1), session.data.test
    done = {tuple(r[:3]) for r in rows}
    for divisor in DIVISORS:
        for seed in range(SEEDS):
            for k in range(len(RATES)):
                if (k, divisor, seed) not in done:
                    rows.append(row(job, test, k, divisor, seed))
            _write(path, cell, session, rows)
    click.echo(f"{cell.name}: {len(rows)} rows")


def _write(path: Path, cell: Cell, session: Session, rows: list[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    head = {
        "cell": cell.name, "steps": session.total_steps, "images": session.train_count, "develop": cell.develop,
        "validation": session.validation_count, "fingerprint": session.data.fingerprint, "rates": RATES,
    }  # fmt: skip
    lines = ",\n".join(json.dumps(r) for r in rows)
    path.write_text(f'{json.dumps(head)[:-1]}, "rows": [\n{lines}\n]}}\n')


@click.command()
@click.option("--data", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("cells", nargs=-1, type=click.Choice(list(CELLS)))
def main(data: Path, cells: tuple[str, ...]) -> None:
    for name in cells or CELLS:
        grid(CELLS[name], data)


if __name__ == "__main__":
    main()
