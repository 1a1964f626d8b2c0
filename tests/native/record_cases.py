"""Record programs for `native/driver.cc`: every case of networks.py, and two networks as they are trained.

    python tests/native/record_cases.py FOLDER {cases|networks}

A file holds three training steps on invented images; the driver prints the hash of the parameters after the last.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from networks import CASES, Case

import foveal as fv

NETWORKS = {
    "lenet": (fv.models.lenet(10), (1, 28, 28), fv.Adam()),
    "lenet_limits": (fv.models.lenet(10, width=0.5), (1, 28, 28), fv.Momentum()),
    "mlp_smooth": (fv.models.mlp(3, width=0.5), (1, 28, 28), fv.SGD()),
    "vgg": (fv.models.vgg(10, width=0.25), (3, 32, 32), fv.Momentum(nesterov=True)),
    "nin": (fv.models.nin(10, width=0.25), (3, 32, 32), fv.SGD(weight_decay=0.001)),
    "lenet_adagrad": (fv.models.lenet(10, width=0.5), (1, 28, 28), fv.AdaGrad(weight_decay=0.001)),
    "lenet_rmsprop": (fv.models.lenet(10, width=0.5), (1, 28, 28), fv.RMSProp(weight_decay=0.001)),
    "lenet_adamw": (fv.models.lenet(10, width=0.5), (1, 28, 28), fv.AdamW(weight_decay=0.1)),
    "resnet": (fv.models.resnet(10, width=0.5), (3, 16, 16), fv.Momentum()),
}


CUTS = ((0, 0, 0, 0), (0, 0, 1, 1))  # top, left, bottom, right: nothing, and the first pixel
SETTINGS: dict[str, dict[str, Any]] = {
    "lenet_limits": {"clip_norm": 0.1, "max_norm": 0.9},
    "mlp_smooth": {"label_smoothing": 0.1, "class_weights": (0.5, 1.0, 3.0)},
}


def record(
    path: Path, net: fv.Sequential, shape: tuple[int, int, int], batch: int, optimizer: fv.Optimizer, **settings: Any
) -> None:
    random = np.random.default_rng(0)
    channels, high, wide = shape
    plan = fv.Plan(net, shape, batch, optimizer, seed=3, threads=3, **settings)
    pixels = random.integers(0, 256, (4 * batch, high, wide, channels)).astype(np.uint8)
    labels = random.integers(0, plan.classes, 4 * batch).astype(np.int32)
    scale, shift = np.full(channels, 1 / 64, np.float32), np.full(channels, -2, np.float32)
    source = plan.attach(pixels, labels, scale, shift)
    most = [min(1, high - 1), min(1, wide - 1)]
    moves = np.array(
        [[n % 2, (n % 3 - 1) * most[0], (1 - n % 3) * most[1], *CUTS[n % 2]] for n in range(batch)], np.int32
    )
    sizes = [batch, max(1, batch - 1), batch]  # a smaller batch in between
    batches = [(random.permutation(4 * batch)[:size], moves[:size]) for size in sizes]
    if batch - 1 < plan.least_batch:
        batches = batches[::2]
    plan.record(path, source, batches, lr=0.01)


def main() -> None:
    folder, what = Path(sys.argv[1]), sys.argv[2]
    folder.mkdir(parents=True, exist_ok=True)
    if what == "cases":
        optimizers = [rule() for rule in fv.optim.OPTIMIZERS.values()]
        for number, (name, case) in enumerate(CASES.items()):
            assert isinstance(case, Case)
            record(folder / f"{name}.program", case.net, case.shape, case.batch, optimizers[number % len(optimizers)])
    else:
        for name, (net, shape, optimizer) in NETWORKS.items():
            record(folder / f"{name}.program", net, shape, 16, optimizer, **SETTINGS.get(name, {}))


if __name__ == "__main__":
    main()
