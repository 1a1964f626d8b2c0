"""How a training step of BN-VGG grows with batch, threads, width and image size, beside PyTorch's; and what a busy
neighbour on one of the cores costs.

    python benchmarks/growth.py [--repeats 5] [--json FILE]

One thing is changed at a time, from 64 images of 32×32 at width 1 with two threads; images of other sizes come in
batches of 16. PyTorch runs channels_last, its better mode for this network. The neighbour is a process that counts,
held to one core; it is stopped and let go on in turn with the bursts.
"""

import json
import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from foveal.bench.networks import Case, cases
from foveal.bench.peer import find_torch, training_steps
from foveal.bench.steps import LR
from foveal.bench.timing import burst, in_turn
from foveal.models import build
from foveal.optim import Momentum
from foveal.plan import Plan

BATCH, WIDTH, SIZE, THREADS = 64, 1.0, 32, 2
GROWTH: Final = (
    *({"batch": n} for n in (8, 16, 32, 64, 128, 256, 512)),
    *({"threads": n} for n in (1, 2)),
    *({"width": w} for w in (0.5, 1.0, 2.0)),
    *({"size": s, "batch": 16} for s in (16, 32, 64, 128)),
)


def steps(torch: Any, case: Case, threads: int) -> dict[str, Callable[[], Any]]:
    x, y = case.noise()
    plan = Plan(case.net, case.shape, case.batch, Momentum(), seed=1, threads=threads)
    torch.set_num_threads(threads)
    peer = training_steps(torch, case, x, y, LR, compiled=False, modes=("channels_last",))
    return {"foveal": lambda: plan.train_step(x, y, LR), "torch": peer["channels_last"]}


def grown(torch: Any, change: dict[str, Any], repeats: int) -> dict[str, Any]:
    it = {"batch": BATCH, "threads": THREADS, "width": WIDTH, "size": SIZE} | change
    shape = (3, it["size"], it["size"])
    case = Case("vgg", build("vgg", 10, input_shape=shape, width=it["width"]), shape, it["batch"])
    times = in_turn(steps(torch, case, it["threads"]), repeats)
    ms = {name: time.median for name, time in times.items()}
    return {"changed": next(iter(change)), **it, **ms, "ratio": ms["torch"] / ms["foveal"]}


def _count() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    n = 0
    while True:
        n += 1


@contextmanager
def neighbour() -> Iterator[Callable[[bool], None]]:
    """A switch for a process that keeps a core busy."""
    process = multiprocessing.get_context("spawn").Process(target=_count, daemon=True)
    process.start()
    time.sleep(1)

    def switch(on: bool) -> None:
        os.kill(process.pid or 0, signal.SIGCONT if on else signal.SIGSTOP)

    try:
        switch(False)
        yield switch
    finally:
        process.kill()


def beside_a_neighbour(torch: Any, case: Case, repeats: int) -> dict[str, Any]:
    """Milliseconds of a step, alone and beside it; means, for the scheduler gives turns that a median does not see."""
    sides = steps(torch, case, THREADS)
    found: dict[tuple[str, bool], list[float]] = {(name, busy): [] for name in sides for busy in (False, True)}
    with neighbour() as switch:
        for _ in range(repeats):
            for (name, busy), times in found.items():
                switch(busy)
                times += burst(sides[name], 0.5)
    ms = {name: [1e3 * statistics.mean(found[name, busy]) for busy in (False, True)] for name in sides}
    return {"net": case.name, "ms": ms, "slower": {name: busy / alone for name, (alone, busy) in ms.items()}}


@click.command()
@click.option("--repeats", default=5)
@click.option("--json", "kept", type=click.Path(path_type=Path))
def main(repeats: int, kept: Path | None) -> None:
    torch = find_torch(THREADS)
    beside = [beside_a_neighbour(torch, cases()[name], repeats) for name in ("vgg", "nin", "lenet", "mlp")]
    for row in beside:
        click.echo(f"{row['net']}: beside a busy neighbour {row['slower']} times as slow")
    growth = []
    for change in GROWTH:
        growth.append(grown(torch, change, repeats))
        click.echo(" ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in growth[-1].items()))
    if kept:
        kept.write_text(json.dumps({"growth": growth, "neighbour": beside}, indent=1) + "\n")


if __name__ == "__main__":
    main()
