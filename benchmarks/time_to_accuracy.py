"""Seconds of a whole process, from its start to a trained and tested network, in foveal and in PyTorch.

    python benchmarks/time_to_accuracy.py --data FOLDER [--json FILE] [lenet] [vgg]

Two fixed recipes, the same flags on both sides: lenet on Fashion-MNIST, and vgg of half the width on CIFAR-10 (JPEG).
Foveal's side is `foveal train`, PyTorch's `benchmarks/accuracy.py --only torch` (channels_last, augmentation on
tensors). From files, each side unpacks and decodes its images with foveal's loader, and none are cached: PyTorch's own
way, a picture at a time, would take longer (benchmarks/loading.py). From arrays, they lie decoded in an .npz. A side
counts when its accuracy is within half a point of the other's, or better.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from foveal.data import load_dataset

RECIPES: Final = {
    "lenet": (
        "fashion-mnist",
        "--model lenet --optimizer adam --lr 1e-3 --schedule one-cycle --batch-size 128 --epochs 5 --augment none",
    ),
    "vgg": (
        "cifar10-jpeg.tar.xz",
        "--model vgg --width 0.5 --nesterov --weight-decay 5e-4 --lr 0.2 --schedule one-cycle --batch-size 128 "
        "--epochs 5 --augment standard",
    ),
}
SCRIPT: Final = Path(__file__).with_name("accuracy.py")


def whole_process(command: list[str]) -> tuple[float, str]:
    """(seconds, what it printed), with an empty cache."""
    with tempfile.TemporaryDirectory() as empty:
        start = time.perf_counter()
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=empty, env=os.environ | {"XDG_CACHE_HOME": empty}, check=False
        )
        seconds = time.perf_counter() - start
    if done.returncode:
        raise click.ClickException(done.stderr)
    return seconds, done.stdout


def side(name: str, data: Path, flags: list[str]) -> dict[str, float]:
    """Seconds and test accuracy, in percent."""
    flags = [str(data), *flags, "--validation", "0", "--threads", "2"]
    if name == "foveal":
        seconds, printed = whole_process([sys.executable, "-m", "foveal", "train", *flags, "--json"])
        accuracy = 100 * json.loads(printed)["test_accuracy"]
    else:
        seconds, printed = whole_process([sys.executable, str(SCRIPT), *flags, "--only", "torch"])
        accuracy = float(re.findall(r"test accuracy ([\d.]+) %", printed)[0])
    return {"seconds": round(seconds, 1), "accuracy": round(accuracy, 2)}


def as_arrays(data: Path, folder: Path) -> Path:
    """The same images, decoded, in an .npz."""
    found, file = load_dataset(data, validation=0), folder / "images.npz"
    assert found.test is not None
    np.savez(
        file, x_train=found.train.pixels, y_train=found.train.labels, x_test=found.test.pixels, y_test=found.test.labels
    )
    return file


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(RECIPES)))
@click.option("--data", type=click.Path(path_type=Path), required=True)
@click.option("--json", "kept", type=click.Path(path_type=Path))
@click.option("--source", type=click.Choice(["files", "arrays", "both"]), default="both")
def main(names: tuple[str, ...], data: Path, kept: Path | None, source: str) -> None:
    results: list[dict[str, Any]] = []
    for name in names or tuple(RECIPES):
        file, flags = RECIPES[name]
        with tempfile.TemporaryDirectory() as folder:
            places = {"files": (data / file).absolute()}
            if source != "files":
                places["arrays"] = as_arrays(places["files"], Path(folder))
            for kind in ("files", "arrays") if source == "both" else (source,):
                sides = {who: side(who, places[kind], flags.split()) for who in ("foveal", "torch")}
                ratio = sides["torch"]["seconds"] / sides["foveal"]["seconds"]
                results.append({"recipe": name, "from": kind, **sides, "ratio": round(ratio, 2)})
                click.echo(
                    f"{name} from {kind}: "
                    + ", ".join(f"{who} {it['seconds']:.1f} s, {it['accuracy']:.2f} %" for who, it in sides.items())
                    + f"; {ratio:.2f} times as fast"
                )
    if kept:
        kept.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
