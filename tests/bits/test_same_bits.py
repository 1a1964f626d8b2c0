"""The same bits: a trained model's file does not depend on threads, instruction set, or the batch of a prediction.

By default at reduced width, so that the suite stays quick; `pytest tests/bits --full` trains the networks as they are.
"""

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foveal as fv
from foveal.data import AUGMENTS
from foveal.kernels import available_isas
from foveal.optim import OPTIMIZERS
from foveal.train.events import BatchDone

MODELS = ("mlp", "lenet", "nin", "vgg", "resnet", "airbench")
ACTIVATIONS = fv.Sequential(
    fv.Conv2d(20, 3, padding=1), fv.GELU(), fv.Conv2d(24, 3), fv.Sigmoid(), fv.MaxPool2d(2),
    fv.Conv2d(32, 3, padding=1), fv.LeakyReLU(0.1), fv.Flatten(), fv.Dense(40), fv.Tanh(), fv.Dense(10),
)  # fmt: skip
STEPS = 50
NATIVE = [isa for isa in available_isas() if isa in ("avx2", "avx512", "neon")]
# (threads, instruction set): the first is what the others must equal
RUNS = [(2, NATIVE[0]), (1, NATIVE[0]), (3, NATIVE[0]), *((2, isa) for isa in NATIVE[1:])]


@pytest.fixture(scope="session")
def cifar(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Part of CIFAR-10 (JPEG), decoded to an .npz of 32×32 colour images."""
    from PIL import Image

    images: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    classes: list[str] = []
    with tarfile.open(data_dir / "cifar10-jpeg.tar.xz") as archive:
        for member in archive:
            parts = Path(member.name).parts
            if not member.isfile() or not member.name.endswith((".jpg", ".jpeg", ".png")):
                continue
            part, name = parts[-3], parts[-2]
            if name not in classes:
                classes.append(name)
            if labels[part].count(classes.index(name)) >= (640 if part == "train" else 20):
                continue
            file = archive.extractfile(member)
            assert file is not None
            images[part].append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")))
            labels[part].append(classes.index(name))
    path = tmp_path_factory.mktemp("cifar") / "cifar.npz"
    arrays = {f"x_{part}": np.stack(images[part]) for part in images}
    np.savez(path, **arrays, **{f"y_{part}": np.array(labels[part]) for part in labels})
    return path


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--full"))


def model_file(
    data: object,
    model: str | fv.Sequential,
    folder: Path,
    *,
    threads: int,
    isa: str,
    seed: int,
    width: float,
    **more: Any,
) -> str:
    """Hash of model.safetensors after some steps; also asserts that the loss moved."""
    sized = {} if width == 1.0 or isinstance(model, fv.Sequential) else {"width": width}
    settings = {"augment": "standard", "lr": 0.01, **more, **sized}
    losses: list[float] = []  # mean loss of the epoch so far; the first is the loss before any update

    def listen(event: object) -> None:
        if isinstance(event, BatchDone):
            losses.append(event.loss)

    fv.fit(
        model, data, steps=STEPS, batch_size=64, seed=seed, threads=threads, isa=isa, run_dir=folder,
        progress=False, listeners=[listen], **settings,
    )  # fmt: skip
    assert len(losses) == STEPS
    assert all(np.isfinite(losses))
    assert abs(losses[-1] - losses[0]) > 0.05, "the loss must move"
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def check(data: object, model: str | fv.Sequential, tmp_path: Path, full: bool, **more: Any) -> set[str]:
    """Raises unless all runs give one model, and another seed another one. Returns both hashes."""
    width = 1.0 if full else 0.25
    hashes = {
        (threads, isa): model_file(
            data, model, tmp_path / f"{threads}-{isa}", threads=threads, isa=isa, seed=1, width=width, **more
        )
        for threads, isa in RUNS
    }
    assert len(set(hashes.values())) == 1, hashes
    other = model_file(data, model, tmp_path / "seed", threads=2, isa=NATIVE[0], seed=2, width=width, **more)
    assert other not in hashes.values(), "another seed must give another model"
    return {*hashes.values(), other}


@pytest.mark.parametrize("model", MODELS)
def test_digits(model: str, tmp_path: Path, full: bool) -> None:
    check(fv.load_dataset("digits", seed=1), model, tmp_path, full)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(optimizer: str, tmp_path: Path, full: bool) -> None:
    lr = 2 * OPTIMIZERS[optimizer].default_lr
    data = fv.load_dataset("digits", seed=1)
    check(data, "lenet", tmp_path, full, optimizer=optimizer, weight_decay=0.01, lr=lr)


def test_smoothing_and_class_weights(tmp_path: Path, full: bool) -> None:
    data = fv.load_dataset("digits", seed=1)
    assert len(set(data.train.counts)) > 1
    check(data, "lenet", tmp_path, full, label_smoothing=0.1, class_weight="balanced")


@pytest.mark.parametrize("limit", [{"clip_norm": 0.5}, {"max_norm": 0.8}], ids=str)
def test_limits_on_norms(limit: dict[str, float], tmp_path: Path, full: bool) -> None:
    check(fv.load_dataset("digits", seed=1), "lenet", tmp_path, full, lr=0.05, **limit)


@pytest.mark.parametrize("model", MODELS)
def test_fashion_mnist(model: str, tmp_path: Path, full: bool, data_dir: Path) -> None:
    check(fv.load_dataset(data_dir / "fashion-mnist", seed=1), model, tmp_path, full)


@pytest.mark.parametrize("model", MODELS)
def test_cifar10_jpeg(model: str, tmp_path: Path, full: bool, cifar: Path) -> None:
    check(fv.load_dataset(cifar, seed=1), model, tmp_path, full)


def test_whitening(tmp_path: Path, full: bool, cifar: Path) -> None:
    check(fv.load_dataset(cifar, seed=1), "airbench", tmp_path, full, variant="author")


@pytest.mark.parametrize("channels", [1, 3])
def test_every_augmentation(channels: int, tmp_path: Path, full: bool) -> None:
    random = np.random.default_rng(0)
    y = np.arange(400) % 5
    x = (40 * y[:, None, None, None] + random.integers(0, 60, (400, 12, 9, channels))).astype(np.uint8)
    data = fv.load_dataset((x, y), seed=1)
    names = (*AUGMENTS, "standard,cutout")
    hashes = [check(data, "mlp", tmp_path / name, full, augment=name) for name in names]
    assert len(set.union(*hashes)) == 2 * len(hashes), "each augmentation must give another model"


def test_every_activation(tmp_path: Path, full: bool) -> None:
    check(fv.load_dataset("digits", seed=1), ACTIVATIONS, tmp_path, full)


@pytest.mark.parametrize("model", [*MODELS, ACTIVATIONS], ids=[*MODELS, "activations"])
def test_an_image_alone_and_in_a_batch_has_the_same_logits(model: str | fv.Sequential) -> None:
    random = np.random.default_rng(5)
    x = random.standard_normal((64, 3, 32, 32), np.float32)
    net = model if isinstance(model, fv.Sequential) else fv.models.build(model, 10, (3, 32, 32), width=0.25)
    plan = fv.Plan(net, (3, 32, 32), batch_size=64, optimizer=fv.Momentum(), seed=3)
    for _ in range(3):
        plan.train_step(x, random.integers(0, 10, 64), lr=0.01)
    together = plan.predict(x)
    alone = np.concatenate([plan.predict(x[i : i + 1]) for i in range(64)])
    assert np.ptp(together) > 0.1
    assert together.tobytes() == alone.tobytes()
