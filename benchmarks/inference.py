"""Latency of predictions: foveal, PyTorch in its better memory format, and onnxruntime, in turn within one process.

    python benchmarks/inference.py [--threads 2] [--repeats 7] [--json FILE] [NET ...]

Needs onnx and onnxruntime beside PyTorch, which exports the network. Batches of 1 and of 64; medians.
"""

import io
import json
from pathlib import Path
from typing import Any

import click
import numpy as np

from foveal.bench.networks import Case, cases
from foveal.bench.peer import find_torch, inference_steps, torch_network
from foveal.bench.timing import in_turn
from foveal.plan import Plan


def onnx_step(torch: Any, case: Case, x: np.ndarray, threads: int) -> Any:
    import onnxruntime

    file = io.BytesIO()
    torch.onnx.export(torch_network(case.net, case.shape).eval(), (torch.tensor(x),), file, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})


def measured(torch: Any, case: Case, batch: int, threads: int, repeats: int) -> dict[str, float]:
    """Milliseconds of each side."""
    x = np.random.default_rng(0).standard_normal((batch, *case.shape), np.float32)
    plan = Plan(case.net, case.shape, batch, threads=threads)
    sides = {"foveal": lambda: plan.predict(x), "onnxruntime": onnx_step(torch, case, x, threads)}
    times = in_turn(sides | inference_steps(torch, case, x), repeats, 0.15)
    found = {name: round(time.median, 3) for name, time in times.items()}
    return found | {"torch": min(found["eager"], found["channels_last"])}


@click.command()
@click.argument("names", nargs=-1)
@click.option("--threads", default=2)
@click.option("--repeats", default=7)
@click.option("--json", "kept", type=click.Path(path_type=Path))
def main(names: tuple[str, ...], threads: int, repeats: int, kept: Path | None) -> None:
    torch, results = find_torch(threads), list[dict[str, Any]]()
    for name in names or ("vgg", "nin", "lenet", "mlp", "resnet"):
        for batch in (1, 64):
            found = measured(torch, cases()[name], batch, threads, repeats)
            click.echo(f"{name}, batch {batch}: {found}")
            results.append({"net": name, "batch": batch, **found})
    if kept:
        kept.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
