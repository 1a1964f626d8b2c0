"""foveal bench: how fast training steps are on this machine."""

import os
import subprocess
import sys
from typing import Any, Final

import click

from foveal.cli.options import json_option, machine_options
from foveal.cli.output import note, print_json, table
from foveal.errors import UsageError
from foveal.spelling import nearest

TUNED: Final = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=100000000000"  # memory once got is kept


@click.command(short_help="Time training steps on this machine, alone or beside PyTorch.")
@click.option("--nets", default="vgg,nin,lenet,mlp", show_default=True, help="Networks, or 'all'.", metavar="NAME,...")
@click.option("--against", type=click.Choice(["torch"]), help="Time PyTorch's steps in turn with foveal's.")
@click.option("--compile", "compiled", is_flag=True, help="With --against torch: also torch.compile.")
@click.option(
    "--allocator", type=click.Choice(["default", "tuned"]), default="default", show_default=True,
    help="Of the C library: tuned keeps memory that was freed, which helps PyTorch.",
)  # fmt: skip
@click.option(
    "--peer-isa", type=click.Choice(["avx2"]), help="With --against torch: hold PyTorch to these instructions."
)
@click.option("--inference", is_flag=True, help="Time predictions instead of training steps.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images of a step, instead of each network's own.")
@click.option("--repeats", type=click.IntRange(min=1), default=7, show_default=True, help="Bursts of each side.")
@machine_options
@json_option
def bench(
    nets: str, against: str | None, compiled: bool, allocator: str, peer_isa: str | None, inference: bool,
    batch_size: int | None, repeats: int, threads: int | None, isa: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Time training steps of networks on one fixed batch of random images, in bursts that take turns.

    GFLOP/s are given as if convolutions were computed directly, and as they are computed; the share is that of a loop
    of multiply-adds that runs in between, in the same process. Times are medians. Nothing else should be running.

    \b
    Example:
      foveal bench
      foveal bench --nets all --against torch --threads 2
    """
    from foveal.bench.networks import cases

    known = cases()
    chosen = list(known) if nets == "all" else [name.strip() for name in nets.split(",")]
    for name in chosen:
        if name not in known:
            hint = nearest(name, known)
            advice = f"did you mean {hint}?" if hint else f"there are {', '.join(known)}"
            raise UsageError(f"--nets: no network is called {name!r}; {advice}")
    if against is None and (compiled or peer_isa):
        raise UsageError(f"{'--compile' if compiled else '--peer-isa'} needs --against torch")
    if compiled and inference:
        raise UsageError("--compile is for training steps; leave out --inference")
    if allocator == "tuned" and TUNED not in os.environ.get("GLIBC_TUNABLES", ""):  # read when a process starts
        command = [sys.executable, "-m", "foveal", *sys.argv[1:]]
        return subprocess.run(command, env=os.environ | {"GLIBC_TUNABLES": TUNED}, check=False).returncode
    _measure_and_show(
        [known[name] for name in chosen], against=against, compiled=compiled, peer_isa=peer_isa, inference=inference,
        batch_size=batch_size, repeats=repeats, threads=threads, isa=isa, as_json=as_json, allocator=allocator,
    )  # fmt: skip
    return 0


def _measure_and_show(
    chosen: list[Any], *, against: str | None, compiled: bool, peer_isa: str | None, inference: bool,
    batch_size: int | None, repeats: int, threads: int | None, isa: str | None, as_json: bool, allocator: str,
) -> None:  # fmt: skip
    from dataclasses import replace
    from importlib.metadata import version

    from foveal.bench.peer import find_torch
    from foveal.bench.steps import measure
    from foveal.kernels import resolve_isa, resolve_threads

    threads, isa = resolve_threads(threads), resolve_isa(isa)
    torch = find_torch(threads, avx2=peer_isa == "avx2") if against else None
    found = []
    for case in chosen:
        case = case if batch_size is None else replace(case, batch=batch_size)
        measured = measure(
            case, threads=threads, isa=isa, repeats=repeats, torch=torch, compiled=compiled, inference=inference
        )
        found.append(measured)
        if not as_json:
            note(f"{case.name} measured")
    if as_json:
        print_json(
            {
                "foveal": version("foveal"),
                "torch": torch.__version__ if torch else None,
                "threads": threads,
                "isa": isa,
                "peer_isa": peer_isa,
                "allocator": allocator,
                "what": "inference" if inference else "training",
                "repeats": repeats,
                "results": [measured.to_json() for measured in found],
            }
        )
        return
    head = ["network", "batch", "ms", "p10–p90", "images/s", "GFLOP/s", "computed", "of peak", "GB/s"]
    rows = [_row(measured, against) for measured in found]
    click.echo(table(head + (["PyTorch ms", "mode", "ratio"] if against else []), rows, right=range(1, 11)))
    click.echo(
        f"{'predictions' if inference else 'training steps'}, {threads} threads, {isa}; medians of {repeats} bursts"
    )


def _row(measured: Any, against: str | None) -> list[str]:
    ours = measured.times["foveal"]
    true = measured.rate("true")
    row = [
        measured.net, str(measured.batch), f"{ours.median:.2f}", f"{ours.low:.2f}–{ours.high:.2f}",
        f"{1e3 * measured.batch / ours.median:,.0f}", f"{measured.rate('direct'):.0f}", f"{true:.0f}",
        "–" if measured.peak is None else f"{100 * true / measured.peak:.0f} %",
        f"{1e3 * measured.gigabytes / ours.median:.1f}",
    ]  # fmt: skip
    if against:
        row += [f"{measured.times[measured.best].median:.2f}", measured.best, f"{measured.ratio:.2f}"]
    return row
