"""Where a training step's time goes: every step of a plan's program timed on its own.

    python benchmarks/profile_steps.py vgg [--threads 2] [--isa avx512] [--runs 9]

Needs no other framework. Shares are of the sum of medians; a step alone finds its input in cache more often than in the
whole program, so small steps look a little faster than they are.
"""

import argparse
import statistics
import time

from foveal.bench.networks import cases
from foveal.optim import Momentum
from foveal.plan import Plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("net", choices=list(cases()))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--isa", default=None)
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    case = cases()[args.net]
    plan = Plan(case.net, case.shape, case.batch, Momentum(), seed=1, threads=args.threads, isa=args.isa)
    x, y = case.noise()
    plan.train_step(x, y, 0.01)
    times = plan.time_steps(args.runs)
    total = sum(statistics.median(values) for _, values in times)
    for step, values in times:
        median = statistics.median(values)
        rate = f"{step.flops * case.batch / median / 1e9:6.0f} GFLOP/s" if step.flops else " " * 14
        print(f"{1e3 * median:8.3f} ms {median / total:6.1%} {rate}  {step.phase:8} {step.layer:16} {step.kernel}")
    start = time.perf_counter()
    for _ in range(args.runs):
        plan.train_step(x, y, 0.0)
    print(f"{1e3 * total:8.3f} ms in all; whole steps {1e3 * (time.perf_counter() - start) / args.runs:.3f} ms")


if __name__ == "__main__":
    main()
