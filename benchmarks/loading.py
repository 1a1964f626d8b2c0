"""Images a second from a tar of JPEGs: foveal (cache off) against PyTorch's DataLoader with two workers.

    python benchmarks/loading.py --tar trashnet-128.tar [--repeats 7] [--threads 2] [--json]

Both begin with nothing but the path and end with all images as uint8 in memory, 64 × 64, cut out alike. foveal lets
libjpeg shrink while it decodes (to exactly 64 where the shorter side is 128, 256 or 512, and else to no less than 128
before it resamples), the other side decodes every pixel and resamples; how far the results are apart is printed. It is
what a careful user writes: an index of the members, a Dataset that reads them with tarfile and Pillow, a DataLoader
with two worker processes; and once more with Pillow told to shrink while it decodes (`draft`), as few do. foveal's
whole `load_dataset` is timed too: it also hashes the images, finds equal
ones, splits and measures. The second archive is made here: 400 JPEGs of 1200 × 900. Turns alternate; medians.
"""

import argparse
import io
import json
import os
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from foveal.data import load_dataset
from foveal.data.decode import Geometry, read_picture
from foveal.data.sources import ReadOptions, read_source

SIDE = 64
WORKERS = 2
BATCH = 64


class TarImages(Dataset):
    """Members of a tar, by their place in it. Each worker opens the file for itself."""

    def __init__(self, path: Path, draft: bool = False) -> None:
        self.path, self.draft = path, draft
        with tarfile.open(path) as tar:
            self.members = [m for m in tar if m.isfile() and m.name.endswith(".jpg")]
        names = sorted({m.name.split("/")[-2] for m in self.members})
        self.labels = [names.index(m.name.split("/")[-2]) for m in self.members]
        self.tar: tarfile.TarFile | None = None

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        if self.tar is None:
            self.tar = tarfile.open(self.path)  # noqa: SIM115 (as long as the worker lives)
        file = self.tar.extractfile(self.members[i])
        assert file is not None
        with Image.open(io.BytesIO(file.read())) as image:
            if self.draft:
                image.draft("RGB", (SIDE, SIDE))
            rgb = image.convert("RGB")
        side = min(rgb.size)
        left, top = (rgb.width - side) / 2, (rgb.height - side) / 2
        small = rgb.resize((SIDE, SIDE), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
        return torch.from_numpy(np.array(small)).permute(2, 0, 1).contiguous(), self.labels[i]


def pytorch(path: Path, threads: int, draft: bool = False) -> tuple[int, Any]:
    loader = DataLoader(TarImages(path, draft), BATCH, num_workers=WORKERS)
    x, y = zip(*loader, strict=True)
    pixels = torch.cat(x)
    assert len(torch.cat(y)) == len(pixels)
    return len(pixels), pixels


def pytorch_draft(path: Path, threads: int) -> tuple[int, Any]:
    return pytorch(path, threads, draft=True)


def apart(path: Path, count: int = 200) -> float:
    """Mean absolute difference in levels, of 0 to 255, of the two sides' pixels."""
    theirs, differences = TarImages(path), []
    with tarfile.open(path) as tar:
        for i in range(0, len(theirs), max(1, len(theirs) // count)):
            file = tar.extractfile(theirs.members[i])
            assert file is not None
            ours = read_picture(file.read(), Geometry(SIDE, SIDE, 3)).pixels
            differences.append(np.abs(ours.astype(int) - theirs[i][0].permute(1, 2, 0).numpy()).mean())
    return float(np.mean(differences))


def foveal_reads(path: Path, threads: int) -> tuple[int, Any]:
    source = read_source(path, ReadOptions(size=SIDE, cache=False, threads=threads))
    return len(source.parts["train"]), source.parts["train"].pixels


def foveal_loads(path: Path, threads: int) -> tuple[int, Any]:
    data = load_dataset(path, size=SIDE, cache=False, threads=threads)
    return sum(map(len, data.parts.values())), data


def make_large(path: Path, count: int = 400) -> None:
    """Photograph-like JPEGs: soft noise, enlarged."""
    random = np.random.default_rng(0)
    with tarfile.open(path, "w") as tar:
        for i in range(count):
            soft = Image.fromarray(random.integers(0, 256, (75, 100, 3), np.uint8))
            file = io.BytesIO()
            soft.resize((1200, 900), Image.Resampling.BICUBIC).save(file, "jpeg", quality=90)
            info = tarfile.TarInfo(f"{'ab'[i % 2]}/{i}.jpg")
            info.size = len(file.getvalue())
            tar.addfile(info, io.BytesIO(file.getvalue()))


def compare(path: Path, repeats: int, threads: int) -> dict[str, Any]:
    sides: dict[str, Callable[[Path, int], tuple[int, Any]]] = {
        "foveal": foveal_reads, "foveal_load_dataset": foveal_loads, "pytorch": pytorch,
        "pytorch_draft": pytorch_draft,
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    counts = set()
    for turn in range(repeats + 1):  # the first one warms up
        for name, load in sides.items():
            begun = time.perf_counter()
            count, _ = load(path, threads)
            if turn:
                seconds[name].append(time.perf_counter() - begun)
            counts.add(count)
    assert len(counts) == 1, counts
    (count,) = counts
    speeds = {name: [count / t for t in times] for name, times in seconds.items()}
    result: dict[str, Any] = {"archive": path.name, "images": count}
    for name, values in speeds.items():
        result[name] = {
            "images_per_second": round(statistics.median(values)),
            "range": [round(min(values)), round(max(values))],
        }
    ratios = [p / f for f, p in zip(seconds["foveal"], seconds["pytorch"], strict=True)]
    result["foveal_over_pytorch"] = round(statistics.median(ratios), 2)
    whole = [p / f for f, p in zip(seconds["foveal_load_dataset"], seconds["pytorch"], strict=True)]
    result["load_dataset_over_pytorch"] = round(statistics.median(whole), 2)
    draft = [p / f for f, p in zip(seconds["foveal"], seconds["pytorch_draft"], strict=True)]
    result["foveal_over_pytorch_draft"] = round(statistics.median(draft), 2)
    result["levels_apart"] = round(apart(path), 2)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tar", type=Path, required=True, help="an archive of class folders with JPEGs")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2, help="foveal's; PyTorch has two workers")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder, "large.tar")
        make_large(large)
        results = [compare(path, given.repeats, given.threads) for path in (given.tar, large)]
    if given.json:
        print(json.dumps(results))
        return
    print(f"{os.cpu_count()} processors, torch {torch.__version__}, {given.repeats} repeats")
    for result in results:
        print(f"\n{result['archive']}: {result['images']} images → {SIDE} × {SIDE}")
        for name in ("foveal", "foveal_load_dataset", "pytorch", "pytorch_draft"):
            low, high = result[name]["range"]
            print(f"  {name:20} {result[name]['images_per_second']:7,} images/s  ({low:,} to {high:,})")
        ratios = result["foveal_over_pytorch"], result["load_dataset_over_pytorch"]
        print(f"  foveal / PyTorch     {ratios[0]:7}   (load_dataset {ratios[1]})")
        print(f"  foveal / with draft  {result['foveal_over_pytorch_draft']:7}")
        print(f"  pixels differ by     {result['levels_apart']:7}   levels of 255 in the mean (without draft)")


if __name__ == "__main__":
    main()
