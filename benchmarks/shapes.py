"""Single layers of many shapes, forward and backward: foveal's steps and PyTorch's, in turn within one process.

    python benchmarks/shapes.py [--isa avx2] [--peer-isa avx2] [--threads 2] [--repeats 7] [--json FILE] [PATTERN ...]

The layer stands behind a 1×1 convolution, so that its input needs a gradient, or first in the network: then its weights
alone have one. foveal runs the steps that it makes of the layer on its own, nothing fused, weights that are turned or
transformed for it included; PyTorch its module, and autograd from a given gradient of the output, in its better memory
format. A PATTERN chooses the rows that contain it. Says at the end where PyTorch is faster.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from foveal.bench.networks import Case
from foveal.bench.peer import MODES, find_torch, layout_of, torch_network
from foveal.bench.timing import in_turn, peak_loop, stream_loop
from foveal.kernels import resolve_isa, resolve_threads
from foveal.layers import (
    GELU,
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool2d,
    ReLU,
    Sequential,
)
from foveal.optim import Momentum
from foveal.plan import Plan
from foveal.plan.conv import ALGORITHMS, algorithm_of, winograd_share
from foveal.shapes import padded_channels

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """A layer, the shape of one image that it gets, (C, H, W) or for a dense layer (values,), and the images of a
    batch. first: it is the first of its network."""

    layer: Layer
    shape: Shape
    batch: int
    first: bool = False

    @property
    def name(self) -> str:
        size = f"{self.shape[0]}×{'×'.join(map(str, self.shape[1:]))}" if len(self.shape) == 3 else str(self.shape[0])
        given = [(f.name, _single(getattr(self.layer, f.name)), f.default) for f in fields(self.layer)]
        values = [str(v) if d is MISSING else f"{name}={v}" for name, v, d in given if v != d]
        place = ", first" if self.first else ""
        return f"{type(self.layer).__name__}({', '.join(values)}), {size}, batch {self.batch}{place}"

    def plan(self, threads: int, isa: str) -> tuple[Plan, str]:
        """A plan that trains a network with the layer in it, after one step, and the layer's name there."""
        count, high, wide = self.shape if len(self.shape) == 3 else (self.shape[0], 1, 1)
        before: list[Layer] = [] if self.first else [Conv2d(count, 1)]
        shape = (count if self.first else 3, high, wide)
        before += [Flatten()] if len(self.shape) == 1 else []
        after: list[Layer] = [Dense(10)] if len(self.shape) == 1 else [GlobalAvgPool(), Dense(10)]
        if isinstance(self.layer, GlobalAvgPool):
            after = after[1:]
        net = Sequential(*before, self.layer, *after)
        plan = Plan(net, shape, self.batch, Momentum(), seed=1, threads=threads, isa=isa, fuse=False)
        plan.train_step(*Case("", net, shape, self.batch).noise(), 0)
        return plan, f"{len(before)} {type(self.layer).__name__}"


def _single(value: Any) -> Any:
    """One number for two equal ones."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def _convolutions() -> Iterator[Row]:
    """Those of the benchmarks' networks, and shapes that fit no tile."""

    def conv(
        shape: Shape, filters: int, kernel: Any = 3, *args: Any, batch: int = 64, first: bool = False, **more: Any
    ) -> Row:
        kernel_height = kernel if isinstance(kernel, int) else kernel[0]
        more.setdefault("padding", kernel_height // 2)
        return Row(Conv2d(filters, kernel, *args, **more), shape, batch, first)

    for channels, filters, size, batch in (
        (64, 64, 32, 64), (64, 128, 16, 64), (128, 128, 16, 64), (128, 256, 8, 64), (256, 256, 8, 64),
        (512, 512, 4, 64), (16, 16, 32, 64), (32, 32, 28, 32), (64, 64, 2, 64), (17, 33, 15, 50), (24, 40, 27, 20),
        (100, 100, 7, 64), (8, 8, 32, 64), (64, 64, 32, 1), (256, 256, 8, 1), (128, 128, 28, 8), (32, 32, 64, 8),
        (16, 16, 112, 4), (64, 64, 16, 512), (64, 64, 5, 1),
    ):  # fmt: skip
        yield conv((channels, size, size), filters, batch=batch)
    yield conv((32, 14, 14), 64, 5, batch=128)
    yield conv((96, 16, 16), 192, 5)
    yield conv((16, 28, 28), 16, 5)
    yield conv((20, 12, 12), 50, 5, padding=0, batch=128)
    yield conv((64, 14, 14), 64, 7)
    yield conv((48, 16, 16), 48, (1, 7), padding=0)
    yield conv((64, 32, 32), 128, 3, 2)
    yield conv((16, 32, 32), 32, 3, 2)
    yield conv((33, 17, 17), 65, 3, 2, batch=20)
    yield conv((128, 16, 16), 256, 3, 2, batch=1)
    yield conv((64, 16, 16), 64, 3, padding=2, dilation=2)
    yield conv((64, 16, 16), 64, groups=4)
    yield conv((128, 16, 16), 128, groups=32)
    for channels, size, stride, batch in (
        (64, 32, 1, 64), (128, 16, 2, 64), (256, 8, 1, 64), (50, 20, 1, 20), (128, 32, 1, 1),
    ):  # fmt: skip
        yield conv((channels, size, size), channels, 3, stride, groups=channels, batch=batch)
    yield conv((64, 16, 16), 64, 5, groups=64)
    for channels, filters, size, batch in (
        (192, 160, 32, 64), (160, 96, 32, 64), (192, 192, 8, 64), (64, 256, 16, 64), (256, 64, 16, 64), (13, 29, 9, 50),
        (512, 512, 7, 1), (16, 16, 32, 64), (1024, 1024, 4, 32),
    ):  # fmt: skip
        yield conv((channels, size, size), filters, 1, batch=batch)
    yield conv((64, 16, 16), 128, 1, 2)
    for shape, filters, kernel, stride, batch in (
        ((3, 32, 32), 64, 3, 1, 64), ((1, 28, 28), 32, 5, 1, 128), ((3, 32, 32), 192, 5, 1, 64),
        ((3, 64, 64), 64, 7, 2, 16), ((1, 28, 28), 16, 3, 1, 1),
        ((3, 96, 96), 16, 3, 1, 8), ((4, 20, 20), 30, 3, 1, 10),
    ):  # fmt: skip
        yield conv(shape, filters, kernel, stride, batch=batch, first=True)


def _others() -> Iterator[Row]:
    for values, units, batch in (
        (800, 800, 128), (800, 10, 128), (3136, 128, 128), (1024, 1024, 1), (100, 37, 50), (512, 512, 256),
        (2048, 1000, 16),
    ):  # fmt: skip
        yield Row(Dense(units), (values,), batch)
    yield Row(MaxPool2d(2), (64, 32, 32), 64)
    yield Row(MaxPool2d(3, 2, padding=1), (96, 16, 16), 64)
    yield Row(MaxPool2d(3, 2), (30, 15, 15), 20)
    yield Row(AvgPool2d(3, 2, padding=1), (96, 16, 16), 64)
    yield Row(GlobalAvgPool(), (192, 8, 8), 64)
    for channels, size, batch in ((64, 32, 64), (256, 8, 64), (17, 15, 10), (64, 32, 1)):
        yield Row(BatchNorm(), (channels, size, size), batch)
    yield Row(ReLU(), (64, 32, 32), 64)
    yield Row(GELU(), (64, 16, 16), 64)


ROWS: Final = (*_convolutions(), *_others())


def ours(row: Row, threads: int, isa: str) -> dict[str, Callable[[], Any]]:
    """The layer's steps by direction. They hold the plan, and with it its memory."""
    plan, name = row.plan(threads, isa)
    return {direction: plan.part(name, direction) for direction in ("forward", "backward")}


def theirs(torch: Any, row: Row, mode: str) -> dict[str, Callable[[], Any]]:
    """PyTorch's by direction."""
    random = np.random.default_rng(0)
    x = torch.tensor(random.standard_normal((row.batch, *row.shape), np.float32))
    layout = layout_of(torch, mode) if x.dim() == 4 else torch.contiguous_format
    module = torch_network(Sequential(row.layer), row.shape).to(memory_format=layout).train()
    x = x.contiguous(memory_format=layout).requires_grad_(not row.first)
    y = module(x)
    dy = torch.ones_like(y) / y.numel()
    wanted = [t for t in (x, *module.parameters()) if t.requires_grad]
    return {"forward": lambda: module(x), "backward": lambda: torch.autograd.grad(y, wanted, dy, retain_graph=True)}


def measured(torch: Any, row: Row, threads: int, isa: str, repeats: int) -> list[dict[str, Any]]:
    """A result for each direction."""
    mine = ours(row, threads, isa)
    peers = {mode: theirs(torch, row, mode) for mode in (MODES if len(row.shape) == 3 else MODES[:1])}
    (peak, flops), (stream, moved) = peak_loop(isa, threads), stream_loop(isa, threads)
    found = []
    for direction in ("forward", "backward"):
        sides = {"foveal": mine[direction]} | {mode: peer[direction] for mode, peer in peers.items()}
        times = {n: t.median for n, t in in_turn(sides | {"peak": peak, "stream": stream}, repeats, 0.05).items()}
        mode = min(peers, key=lambda name: times[name])
        passes = 1 if direction == "forward" or row.first else 2
        direct = 1e-9 * passes * row.layer.flops(row.shape) * row.batch
        values = 4e-9 * row.batch * (np.prod(row.shape) + np.prod(row.layer.out_shape(row.shape))) * passes
        conv = isinstance(row.layer, Conv2d)
        share = winograd_share(row.layer, row.shape) if conv and not row.first else 1.0
        found.append(
            {
                "layer": row.name, "direction": direction, "algorithm": algorithm(row),
                "refused": refused(row), "ms": times["foveal"],
                "torch_ms": times[mode], "mode": mode, "ratio": times[mode] / times["foveal"],
                "direct": 1e3 * direct / times["foveal"],
                "of_peak": direct * share / times["foveal"] / (flops / times["peak"]),
                "of_bandwidth": values / times["foveal"] / (moved / times["stream"]),
            }
        )  # fmt: skip
    return found


def algorithm(row: Row) -> str:
    if isinstance(row.layer, Conv2d):
        return algorithm_of(row.layer, row.shape, row.shape[0] if row.first else None).name
    return "matrix product" if isinstance(row.layer, Dense) else "values"


def refused(row: Row) -> list[str]:
    """Algorithms of convolutions that stand before the one chosen, and why they refused."""
    if not isinstance(row.layer, Conv2d):
        return []
    stored = row.shape[0] if row.first else padded_channels(row.shape[0])
    before = takewhile(lambda a: a.name != algorithm(row), ALGORITHMS)
    return [f"{it.name}: {it.refusal(row.layer, row.shape, stored)}" for it in before]


@click.command()
@click.argument("patterns", nargs=-1)
@click.option("--threads", type=int)
@click.option("--isa")
@click.option("--peer-isa", type=click.Choice(["avx2"]))
@click.option("--repeats", default=7)
@click.option("--json", "kept", type=click.Path(path_type=Path))
def main(
    patterns: tuple[str, ...],
    threads: int | None,
    isa: str | None,
    peer_isa: str | None,
    repeats: int,
    kept: Path | None,
) -> None:
    threads, isa = resolve_threads(threads), resolve_isa(isa)
    torch, results = find_torch(threads, avx2=peer_isa == "avx2"), list[dict[str, Any]]()
    for row in ROWS:
        if patterns and not any(pattern in row.name for pattern in patterns):
            continue
        for it in measured(torch, row, threads, isa, repeats):
            results.append(it)
            click.echo(
                f"{it['layer']:62} {it['direction']:8} {it['algorithm']:23} {it['ms']:8.3f} ms  "
                f"{it['ratio']:5.2f} × PyTorch  {100 * it['of_peak']:3.0f} % of the peak  "
                f"{100 * it['of_bandwidth']:3.0f} % of the bandwidth"
            )
    behind = [it for it in results if it["ratio"] < 1]
    click.echo(
        f"{len(results)} rows; PyTorch is faster in {len(behind)}, "
        f"by more than a quarter in {sum(it['ratio'] < 0.8 for it in behind)}"
    )
    for it in sorted(behind, key=lambda it: it["ratio"]):
        click.echo(f"  {it['ratio']:.2f} {it['layer']} {it['direction']}")
    if kept:
        kept.write_text(
            json.dumps({"isa": isa, "threads": threads, "peer_isa": peer_isa, "rows": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
