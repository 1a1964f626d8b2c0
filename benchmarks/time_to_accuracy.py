"""Seconds of a whole process, from its start to a trained and tested network, in foveal and in PyTorch.

    python benchmarks/time_to_accuracy.py --data FOLDER [--json FILE] [lenet] [vgg] [lesson] [record]

Fixed recipes, the same flags on both sides: lenet on Fashion-MNIST, and vgg of half the width on CIFAR-10 (JPEG);
lesson and record are the recipes of these names, on the same. Given are means over `--seeds` trainings, PyTorch's over
`--peer-seeds`. Foveal's side is `foveal train`, PyTorch's `benchmarks/accuracy.py --only torch` (channels_last,
augmentation on tensors). From files, each side unpacks and decodes its images with foveal's loader, and none are
cached: PyTorch's own way, a picture at a time, would take longer (benchmarks/loading.py). From arrays, they lie decoded
in an .npz. A side counts when its accuracy is within half a point of the other's, or better.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from foveal.data import load_dataset
from foveal.train.recipes import RECIPES as NAMED

CIFAR: Final = "cifar10-jpeg.tar.xz"
RECIPES: Final = {
    "lenet": (
        "fashion-mnist",
        "--model lenet --optimizer adam --lr 1e-3 --schedule one-cycle --batch-size 128 --epochs 5 --augment none",
    ),
    "vgg": (
        CIFAR,
        "--model vgg --width 0.5 --nesterov --weight-decay 5e-4 --lr 0.2 --schedule one-cycle --batch-size 128 "
        "--epochs 5 --augment standard",
    ),
    "lesson": (CIFAR, NAMED["lesson"].flags),
    "record": (CIFAR, NAMED["record"].flags),
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


def side(name: str, data: Path, flags: list[str], seeds: int) -> dict[str, Any]:
    """Seconds and test accuracy, in percent: the means, and of each seed."""
    flags = [str(data), *flags, "--validation", "0", "--threads", "2"]
    found = [training(name, [*flags, "--seed", str(seed)]) for seed in range(seeds)]
    seconds, accuracies = (list(values) for values in zip(*found, strict=True))
    return {
        "seconds": round(statistics.mean(seconds), 1), "accuracy": round(statistics.mean(accuracies), 2),
        "each": [[round(value, 2) for value in one] for one in found],
    }  # fmt: skip


def training(name: str, flags: list[str]) -> tuple[float, float]:
    if name == "foveal":
        seconds, printed = whole_process([sys.executable, "-m", "foveal", "train", *flags, "--json"])
        accuracy = 100 * json.loads(printed)["test_accuracy"]
    else:
        seconds, printed = whole_process([sys.executable, str(SCRIPT), *flags, "--only", "torch"])
        accuracy = float(re.findall(r"test accuracy ([\d.]+) %", printed)[0])
    return seconds, accuracy


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
@click.option("--seeds", default=1)
@click.option("--peer-seeds", default=1)
def main(names: tuple[str, ...], data: Path, kept: Path | None, source: str, seeds: int, peer_seeds: int) -> None:
    results: list[dict[str, Any]] = []
    for name in names or tuple(RECIPES):
        file, flags = RECIPES[name]
        kinds = ("files", "arrays") if source == "both" else (source,)
        with tempfile.TemporaryDirectory() as folder:
            places = {"files": (data / file).absolute()}
            if "arrays" in kinds:
                places["arrays"] = as_arrays(places["files"], Path(folder))
            for kind in kinds:
                sides = {
                    who: side(who, places[kind], flags.split(), count)
                    for who, count in (("foveal", seeds), ("torch", peer_seeds))
                }
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
