"""One network's steps timed on both sides, and what they are made of."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from foveal.bench.networks import Case
from foveal.bench.peer import inference_steps, training_steps
from foveal.bench.timing import Timing, in_turn, peak_loop, stream_loop
from foveal.kernels import REFERENCE
from foveal.layers import Conv2d
from foveal.optim import Momentum
from foveal.plan import Plan
from foveal.plan.conv import winograd_share

LR: Final = 0.01
OURS, PEAK, STREAM = "foveal", "peak", "stream"  # sides, beside those of PyTorch


@dataclass(frozen=True)
class Measured:
    """A network's step. times: of foveal and of each mode of PyTorch. gflop: of a step, counted as direct convolutions
    ("direct") and as computed ("true"). peak, bandwidth: what the machine did in between, GFLOP/s and GB/s, or None.
    gigabytes: that the steps read and write, each buffer once a step."""

    net: str
    batch: int
    times: dict[str, Timing]
    gflop: dict[str, float]
    gigabytes: float
    peak: float | None
    bandwidth: float | None

    @property
    def modes(self) -> list[str]:
        return [name for name in self.times if name != OURS]

    @property
    def best(self) -> str | None:
        """PyTorch's fastest mode."""
        return min(self.modes, key=lambda name: self.times[name].median, default=None)

    @property
    def ratio(self) -> float | None:
        """PyTorch's best median to ours."""
        return None if self.best is None else self.times[self.best].median / self.times[OURS].median

    def rate(self, kind: str) -> float:
        """GFLOP/s, "direct" or "true"."""
        return 1e3 * self.gflop[kind] / self.times[OURS].median

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"best": self.best, "ratio": self.ratio}


def measure(
    case: Case,
    *,
    threads: int,
    isa: str,
    repeats: int,
    torch: Any = None,
    compiled: bool = False,
    inference: bool = False,
) -> Measured:
    """Time a network's training steps, or its inference, on one fixed batch; beside PyTorch's if it is given."""
    x, y = case.noise()
    plan = Plan(case.net, case.shape, case.batch, None if inference else Momentum(), seed=1, threads=threads, isa=isa)
    sides: dict[str, Callable[[], Any]] = {OURS: lambda: plan.predict(x) if inference else plan.train_step(x, y, LR)}
    if torch is not None:
        sides |= (
            inference_steps(torch, case, x) if inference else training_steps(torch, case, x, y, LR, compiled=compiled)
        )
    loops = {} if isa == REFERENCE else {PEAK: peak_loop(isa, threads), STREAM: stream_loop(isa, threads)}
    times = in_turn(sides | {name: loop for name, (loop, _) in loops.items()}, repeats)
    limits = {name: 1e3 * amount / times.pop(name).median for name, (_, amount) in loops.items()}
    return Measured(
        case.name, case.batch, times, gflop_of(plan, case.batch, inference=inference), plan.traffic / 1e9,
        limits.get(PEAK), limits.get(STREAM),
    )  # fmt: skip


def gflop_of(plan: Plan, batch: int, *, inference: bool) -> dict[str, float]:
    """GFLOP of a step: a backward pass counts as two forward passes, as one where the input needs no gradient."""
    found, first = {"direct": 0.0, "true": 0.0}, True
    for facts in plan.layers():
        if facts.container or not facts.flops:
            continue
        passes = 1 if inference else 2 if first else 3
        share = winograd_share(facts.layer, facts.in_shape) if isinstance(facts.layer, Conv2d) and not first else 1.0
        found["direct"] += 1e-9 * passes * facts.flops * batch
        found["true"] += 1e-9 * passes * facts.flops * share * batch
        first = False
    return found
