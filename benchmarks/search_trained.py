"""What the rivals of the search need beside the grid: trainings of their own, kept in benchmarks/search/rivals.json.

    python benchmarks/search_trained.py KIND --data FOLDER [CELL ...]

prefix   for every rate of the grid and each of its seeds, the full training broken off after a quarter, and its scores
         on the way, after 1/64 … 1/4 of it: for halving that continues its runs, and for trials of one epoch
sweep    range tests: a rate that rises from 1e-5 to 10 over one epoch, what three rules read off the losses, and
         trainings with that, as much longer as what the test left of the total, 1.5 and 2.5
default  trainings with the optimizer's default, 1.25 to 2.5 times the length
prodigy  likewise with Prodigy, which is given no rate; also 1 time the length

Totals and lengths are in full trainings. Cells that are there are kept.
"""

import dataclasses
import json
import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from prodigy import Prodigy
from search_cells import CELLS, Cell
from search_grid import RATES, RESULTS, SEEDS, tested, trained

from foveal.lrsearch import Trial
from foveal.optim import OPTIMIZERS
from foveal.search.run import full_passes, job_of, search_of
from foveal.search.trials import Job, scored_images, scoring, settle_statistics, train_part
from foveal.train.session import Session

TRAINED: Final = RESULTS / "rivals.json"
STOPS: Final = (64, 32, 16, 8, 5, 4)  # a fifth is one epoch
TOTALS: Final = (1.25, 1.5, 2.0, 2.5)
TRAININGS: Final = 3  # of a kind and length, each with a seed of its own
SWEPT: Final = (1.5, 2.5)  # totals of the range tests
RULES: Final = ("steepest", "valley", "minimum / 10")


def prefix(cell: Cell, data: Path) -> Iterator[list[Any]]:
    """[rate's number, seed, [score after 1/64, …]]; null: diverged."""
    job, _ = _job(cell, data)
    for seed in range(SEEDS):
        for k, lr in enumerate(RATES):
            session = job.session(Trial(0, 0, lr, 1.0, 1000 + seed))
            yield [k, seed, _scores(job, session)]


def _scores(job: Job, session: Session) -> list[float | None]:
    first, done = session.plan.state_dict(), 0
    scores: list[float | None] = []
    for divisor in STOPS:
        steps = job.total_steps // divisor
        if train_part(job, session, done, steps).loss is None:
            break
        done, now = steps, {k: v.copy() for k, v in session.plan.state_dict().items()}
        settle_statistics(session.plan, first, done)
        # an epoch ends with all of the validation; else as many images as a trial of that length is scored on
        count = session.validation_count if divisor == 5 else scored_images(done * session.batch_size)
        score = session.validate(scoring(job, 8 * session.validation_count)[:count])
        scores.append(round(score.loss, 4) if score is not None and math.isfinite(score.loss) else None)
        session.plan.load_state_dict(now)
        session.plan.updates = done
    return scores + [None] * (len(STOPS) - len(scores))


def sweep(cell: Cell, data: Path) -> Iterator[list[Any]]:
    """[seed, rule, rate, total, accuracy]. Smoothing, limits and rules are fastai's."""
    job, session = _job(cell, data)
    for seed in range(TRAININGS):
        rates, images = _swept(job, seed)
        for rule, lr in zip(RULES, rates, strict=True):
            for total in SWEPT:
                left = total - images / full_passes(session)
                yield [seed, rule, lr, total, _accuracy(job, session, lr, left, seed)]


def _swept(job: Job, seed: int) -> tuple[list[float], int]:
    """The rate by each rule, and the images that it took."""
    session = job.session(Trial(0, 0, 1.0, 1.0, 2000 + seed))
    count = session.steps_per_epoch
    lrs = [10 ** (-5 + 6 * i / (count - 1)) for i in range(count)]
    order, losses, mean, images = session.epoch_order(0), [], 0.0, 0
    for i, lr in enumerate(lrs):
        done = session.update(order, 0, i, lr)
        images += done.count
        mean = 0.98 * mean + 0.02 * done.loss
        smooth = mean / (1 - 0.98 ** (i + 1))
        if not smooth <= 4 * min([*losses, smooth]):
            break
        losses.append(smooth)
    begin = count // 10
    return _read_off(lrs[begin : len(losses) - 5], losses[begin:-5]), images


def _read_off(lrs: list[float], losses: list[float]) -> list[float]:
    slopes = [b - a for a, b in pairwise(losses)]
    longest, end = [1] * len(losses), 0  # of falling losses, not all in a row
    for i in range(len(losses)):
        longest[i] = 1 + max((longest[j] for j in range(i) if losses[i] < losses[j]), default=0)
        end = i if longest[end] < longest[i] else end
    third = longest[end] / 3
    rates = lrs[int(np.argmin(slopes))], lrs[end - longest[end] + int(third) + int(third / 2)]
    return [float(f"{lr:.3g}") for lr in (*rates, lrs[int(np.argmin(losses))] / 10)]


def default(cell: Cell, data: Path) -> Iterator[list[Any]]:
    """[length, seed, accuracy]."""
    yield from _longer(cell, data, OPTIMIZERS[cell.settings.get("optimizer", "momentum")].default_lr, TOTALS)


def prodigy(cell: Cell, data: Path) -> Iterator[list[Any]]:
    """[length, seed, accuracy]."""
    kept = {name: value for name, value in cell.settings.items() if name not in ("optimizer", "nesterov")}
    yield from _longer(
        dataclasses.replace(cell, settings={**kept, "optimizer": Prodigy.name}), data, 1.0, (1.0, *TOTALS)
    )


def _longer(cell: Cell, data: Path, lr: float, lengths: tuple[float, ...]) -> Iterator[list[Any]]:
    job, session = _job(cell, data)
    for length in lengths:
        for seed in range(TRAININGS):
            yield [length, seed, _accuracy(job, session, lr, length, seed)]


def known() -> dict[str, dict[str, list[Any]]]:
    return json.loads(TRAINED.read_text()) if TRAINED.is_file() else {}


def _accuracy(job: Job, session: Session, lr: float, length: float, seed: int) -> float | None:
    done, _, whole = trained(job, lr, round(length * job.total_steps), 3000 + seed)
    return round(tested(done, session.data.test), 5) if whole else None


def _job(cell: Cell, data: Path) -> tuple[Job, Session]:
    session = cell.session(data)
    return job_of(session, search_of(session).guess, 1), session


KINDS: Final = {"prefix": prefix, "sweep": sweep, "default": default, "prodigy": prodigy}


def _write(found: dict[str, dict[str, list[Any]]]) -> None:
    cells = []
    for name, kinds in found.items():
        lists = [f'"{kind}": [\n' + ",\n".join(map(json.dumps, rows)) + "]" for kind, rows in kinds.items()]
        cells.append(f'"{name}": {{' + ",\n".join(lists) + "}")
    TRAINED.write_text("{\n" + ",\n".join(cells) + "\n}\n")


@click.command()
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option("--data", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("cells", nargs=-1, type=click.Choice(list(CELLS)))
def main(kind: str, data: Path, cells: tuple[str, ...]) -> None:
    for name in cells or CELLS:
        if kind not in known().get(name, {}):
            rows = list(KINDS[kind](CELLS[name], data))
            found = known()
            found.setdefault(name, {})[kind] = rows
            _write(found)
        click.echo(f"{name}: {kind}")


if __name__ == "__main__":
    main()
