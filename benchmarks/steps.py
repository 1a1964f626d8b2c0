"""Whole training steps (forward, backward, SGD with momentum) against PyTorch on the same machine and threads.

    python benchmarks/steps.py [--threads 2] [--isa avx512] [--nets vgg,nin,lenet,mlp] [--repeats 9] [--json FILE]

Both sides run interleaved in one process, in bursts: a pause in which the other side's waiting threads fall asleep, one
step that is not timed, then some that are. Reported: medians over all bursts and their ratio, with the 10th and 90th
percentile. PyTorch runs eager, contiguous and channels_last; the better one counts. The same fixed batch every step, no
data loading on either side.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from networks import Case, cases, torch_network

from foveal.optim import Momentum
from foveal.plan import Plan

LR = 0.01


def foveal_step(case: Case, x: np.ndarray, y: np.ndarray, args: argparse.Namespace) -> Callable[[], Any]:
    plan = Plan(case.net, case.shape, case.batch, Momentum(), seed=1, threads=args.threads, isa=args.isa)
    return lambda: plan.train_step(x, y, LR)


def torch_steps(case: Case, x: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], Any]]:
    import torch

    def build(memory_format: Any) -> Callable[[], Any]:
        net = torch_network(case.net, case.shape).to(memory_format=memory_format).train()
        optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=0.9, fused=True)
        images = torch.tensor(x).contiguous(memory_format=memory_format)
        labels = torch.tensor(y)

        def step() -> float:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(net(images), labels)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    return {"eager": build(torch.contiguous_format), "channels_last": build(torch.channels_last)}


def burst(step: Callable[[], Any], seconds: float = 0.25) -> list[float]:
    """Times of some steps after a pause and one step that is not timed."""
    time.sleep(0.02)
    step()
    times: list[float] = []
    while len(times) < 4 or (sum(times) < seconds and len(times) < 40):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def measure(case: Case, args: argparse.Namespace) -> dict[str, Any]:
    random = np.random.default_rng(0)
    x = random.standard_normal((case.batch, *case.shape), np.float32)
    y = random.integers(0, 10, case.batch)
    steps = {"foveal": foveal_step(case, x, y, args), **torch_steps(case, x, y)}
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(args.repeats):
        for name, step in steps.items():
            times[name] += burst(step)
    medians = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    spread = {name: [1e3 * q for q in np.quantile(values, [0.1, 0.9])] for name, values in times.items()}
    best = min(("eager", "channels_last"), key=medians.__getitem__)
    ratio = medians[best] / medians["foveal"]
    flops = 3 * case.net.flops(case.shape) * case.batch
    print(
        f"{case.name:6} foveal {medians['foveal']:7.2f} ms ({flops / medians['foveal'] / 1e6:4.0f} GFLOP/s)   "
        f"PyTorch {medians[best]:7.2f} ms ({best})   ratio {ratio:.2f}",
        file=sys.stderr,
    )
    return {"net": case.name, "batch": case.batch, "ms": medians, "p10_p90": spread, "best": best, "ratio": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", default=None)
    parser.add_argument("--nets", default="vgg,nin,lenet,mlp")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    results = [measure(cases()[name], args) for name in args.nets.split(",")]
    if args.json:
        args.json.write_text(
            json.dumps({"torch": torch.__version__, "threads": args.threads, "results": results}, indent=1)
        )


if __name__ == "__main__":
    main()
