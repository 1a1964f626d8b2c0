"""Peak memory of a training, in foveal and in PyTorch, each in a process of its own.

    python benchmarks/memory.py [--json FILE] [NET ...]

whole: the peak resident set of the process; training: that less what it was after the import. Three training steps of
SGD with momentum on one batch, two threads; PyTorch in channels_last. Linux.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from foveal.bench.networks import cases

CHILD = """
import resource, sys
from foveal.bench.networks import cases
from foveal.bench.peer import find_torch, training_steps
from foveal.optim import Momentum
from foveal.plan import Plan

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

name, side = sys.argv[1:]
case = cases()[name]
torch = find_torch(2) if side == "torch" else None
before = resident()
x, y = case.noise()
if torch:
    step = training_steps(torch, case, x, y, 0.01, compiled=False, modes=("channels_last",))["channels_last"]
else:
    plan = Plan(case.net, case.shape, case.batch, Momentum(), threads=2)
    step = lambda: plan.train_step(x, y, 0.01)
for _ in range(3):
    step()
peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak - before, peak)
"""


def megabytes(name: str, side: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", CHILD, name, side], capture_output=True, text=True, check=True)
    training, whole = (round(int(number) / 1e6, 1) for number in done.stdout.split())
    return {"training": training, "whole": whole}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--json", "kept", type=click.Path(path_type=Path))
def main(names: tuple[str, ...], kept: Path | None) -> None:
    known, results = cases(), list[dict[str, Any]]()
    for name in names or tuple(known):
        sides = {side: megabytes(name, side) for side in ("foveal", "torch")}
        share = sides["foveal"]["training"] / sides["torch"]["training"]
        click.echo(f"{name}: {sides}, {100 * share:.0f} % of PyTorch's")
        results.append({"net": name, "batch": known[name].batch, **sides})
    if kept:
        kept.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
