"""Draw docs/search.svg: three optimizers on one task, the loss over the learning rate, and the rates that are found.

    .venv/bin/python docs/make_search.py     # a minute; a test draws it again from docs/search.json and searches anew

The task is the built-in digits with lenet, 6 epochs. Every point is a whole training; its loss is the test part's,
which no search sees.
"""

import json
import math
import re
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

import foveal as fv

sys.path.insert(0, str(Path(__file__).parent))
from chart import Chart

PICTURE, NUMBERS = Path(__file__).with_name("search.svg"), Path(__file__).with_name("search.json")
PAGE, RESULTS = Path(__file__).with_name("search.md"), Path(__file__).parents[1] / "benchmarks" / "search"
OPTIMIZERS = ("momentum", "adagrad", "adam")
RATES = [float(f"{10 ** (-4.5 + k / 4):.2g}") for k in range(19)]  # to 1
HIGHEST = 2.5  # of the losses that are drawn: a little more than that of a guess


def trained(optimizer: str, lr: float | str) -> dict[str, Any]:
    """The summary of a run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        run = fv.fit("lenet", "digits", optimizer=optimizer, epochs=6, lr=lr, run_dir=out, progress=False)
        return run.summary()


def loss(optimizer: str, rate: float) -> float | None:
    """Test loss of a training; None if it diverged."""
    try:
        value = trained(optimizer, rate)["test_loss"]
    except fv.DivergedError:
        return None
    return None if value is None else round(float(value), 4)


def searched(optimizer: str) -> dict[str, float]:
    """The rate that a search finds, and the test loss of the training with it."""
    found = trained(optimizer, "auto")
    return {"lr": found["lr"], "loss": round(float(found["test_loss"]), 4)}


def numbers() -> dict[str, Any]:
    """All that is drawn."""
    return {
        name: {"losses": [[rate, loss(name, rate)] for rate in RATES], "found": searched(name)} for name in OPTIMIZERS
    }


def picture(found: dict[str, Any]) -> Chart:
    title = "lenet on digits, 6 epochs: the test loss over the rate, and what a search finds (●)"
    x, y = (-4.5, 0, (-4, -3, -2, -1, 0)), (0.03, HIGHEST, (0.03, 0.1, 0.3, 1, 2))
    chart = Chart(title, "log10 of the learning rate", "test loss", x, y, log=True)
    for name, values in found.items():
        points = [(math.log10(rate), value) for rate, value in values["losses"] if value is not None]
        chart.line(name, [(x, min(y, HIGHEST)) for x, y in points])
        chart.mark(math.log10(values["found"]["lr"]), values["found"]["loss"])
    return chart


def table() -> str:
    """What `benchmarks/search.py live` found, a row for each cell: made from its results."""
    live, best = (json.loads((RESULTS / name).read_text()) for name in ("live.json", "best.json"))
    rows = ["| cell | searched | mean regret | worst of 10 | over 2 points | cost |", "|---|---|---|---|---|---|"]
    every: list[list[float]] = []
    for name, searches in live.items():
        top = fmean(best[name]["accuracies"])
        own = [[100 * (top - (row["accuracy"] or 0.0)), 1 + row["cost"]] for row in searches]
        every += own
        rates = [math.log10(row["lr"]) for row in searches]
        found = f"10^{fmean(rates):.2f} (grid 10^{math.log10(best[name]['lr']):.2f})"
        rows.append(_row(name.replace("-", " "), found, own))
    return re.sub(r"-(?=\d)", "−", "\n".join([*rows, _row("all", "", every)])) + "\n"


def _row(name: str, found: str, results: list[list[float]]) -> str:
    regrets = [regret for regret, _ in results]
    far = sum(regret > 2 for regret in regrets)
    return (
        f"| {name} | {found} | {fmean(regrets):.2f} | {max(regrets):.1f} | {far} of {len(regrets)} | "
        f"{fmean(cost for _, cost in results):.2f} |"
    )


def filled(page: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = page.partition("<!-- live -->\n")
    return f"{before}<!-- live -->\n{table()}{rest[rest.index('<!-- end -->') :]}"


if __name__ == "__main__":
    result = numbers()
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(values)}" for name, values in result.items())
    NUMBERS.write_text(f"{{\n{lines}\n}}\n")
    PICTURE.write_text(picture(result).svg())
    PAGE.write_text(filled(PAGE.read_text()))
