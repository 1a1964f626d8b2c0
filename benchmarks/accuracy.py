"""Accuracy of one recipe in foveal and in PyTorch, on the same decoded images and the same split.

    python benchmarks/accuracy.py DATA [--only foveal|torch] [flags of foveal train]

Both sides train the same network from their own He-normal start (a whitening first layer: from the same filters), with
the same optimizer, schedule, decay (on weights alone), batch size and augmentation, each with its own random numbers;
what is kept is the last epoch. Printed: the accuracy on the test part and the seconds of training, a line for each
side. Accuracies of two seeds differ by some tenths of a point, more on small test parts: give several seeds with
--seeds.
"""

import dataclasses
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from foveal import fit, load_dataset
from foveal.bench.peer import torch_network
from foveal.cli.options import settings_options
from foveal.data import Dataset, parse_augment
from foveal.data.augment import largest_shift
from foveal.layers import Conv2d
from foveal.models import build, choose, places
from foveal.optim import Schedule
from foveal.run.model_file import image_shape
from foveal.train.settings import AUTO, TrainSettings, flag
from foveal.train.whitening import whitened


def train_foveal(settings: TrainSettings, data: Dataset) -> float:
    given = {name: value for name, value in settings.to_json().items() if value is not None}
    model = given.pop("model")
    for name in ("size", "validation", "skip_bad"):
        given.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        run = fit(model, data, run_dir=Path(folder, "run"), **given)
        accuracy = run.summary()["test_accuracy"]
    assert accuracy is not None
    return float(accuracy)


def train_torch(settings: TrainSettings, data: Dataset) -> float:
    import torch
    from torch import nn

    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    shape = image_shape(data.preprocess)
    spec = build(settings.model, len(data.class_names), input_shape=shape, **settings.model_arguments())
    net = torch_network(spec, shape).to(memory_format=torch.channels_last)
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, mode="fan_in")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for place, layer in places(spec):
        if isinstance(layer, Conv2d) and layer.init == "whitening":
            weight = net.get_submodule(place).weight.data
            weight.copy_(torch.tensor(whitened(weight.numpy(), layer, data.train.pixels, data.preprocess)))
    decayed = [p for p in net.parameters() if p.ndim > 1]
    rest = [p for p in net.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimizer = _optimizer(settings, groups)
    scale, shift = (torch.tensor(v).view(1, -1, 1, 1) for v in (data.preprocess.scale, data.preprocess.shift))

    def images(part: Any) -> Any:
        return torch.tensor(part.pixels).permute(0, 3, 1, 2), torch.tensor(part.labels).long()

    pixels, labels = images(data.train)
    assert settings.batch_size
    assert settings.epochs
    assert not isinstance(settings.lr, str)
    per_epoch = -(-len(labels) // settings.batch_size)
    schedule = Schedule(settings.schedule, settings.warmup)
    for epoch in range(settings.epochs):
        for step, index in enumerate(torch.randperm(len(labels)).split(settings.batch_size)):
            for group in optimizer.param_groups:
                group["lr"] = float(schedule.rate(settings.lr, epoch * per_epoch + step, settings.epochs * per_epoch))
            x = _augmented(pixels[index], settings).float() * scale + shift
            scores = net(x.contiguous(memory_format=torch.channels_last))
            loss = nn.functional.cross_entropy(scores, labels[index], label_smoothing=settings.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.eval()
    assert data.test is not None
    pixels, labels = images(data.test)

    def scores(x: Any) -> Any:
        return net(x) + net(x.flip(3)) if settings.tta == "flip" else net(x)

    with torch.inference_mode():
        right = sum(
            int((scores(x.float() * scale + shift).argmax(1) == y).sum())
            for x, y in zip(pixels.split(256), labels.split(256), strict=True)
        )
    return right / len(labels)


def _optimizer(settings: TrainSettings, groups: list[dict[str, Any]]) -> Any:
    import torch

    momentum = 0.9 if settings.momentum is None else settings.momentum
    match settings.optimizer:
        case "momentum":
            return torch.optim.SGD(groups, lr=1.0, momentum=momentum, nesterov=settings.nesterov)
        case "sgd":
            return torch.optim.SGD(groups, lr=1.0)
        case "adam":
            return torch.optim.Adam(groups, lr=1.0)
    raise click.UsageError(f"no PyTorch counterpart for --optimizer {settings.optimizer}")


def _augmented(x: Any, settings: TrainSettings) -> Any:
    """Flip each image half of the time and move it by up to an eighth of the side, reflected, as foveal does."""
    import torch
    from torch.nn.functional import pad

    augment, (count, _, high, wide) = parse_augment(settings.augment), x.shape
    if augment.flip:
        x = torch.where(torch.rand(count, 1, 1, 1) < 0.5, x.flip(3), x)
    if augment.shift:
        dy, dx = largest_shift(augment, high), largest_shift(augment, wide)
        padded = pad(x.float(), (dx, dx, dy, dy), mode="reflect")
        top, left = np.random.randint(0, 2 * dy + 1, count), np.random.randint(0, 2 * dx + 1, count)
        x = torch.stack(
            [padded[i, :, t : t + high, s : s + wide] for i, (t, s) in enumerate(zip(top, left, strict=True))]
        )
    return x


def check_mirrored(settings: TrainSettings) -> None:
    """Refuse what only foveal's side would do: the comparison would not be one."""
    only_ours = (
        *("class_weight", "clip_norm", "max_norm", "init_from", "patience", "steps"),
        *("fraction", "group_by", "skip_bad"),
    )
    for name in only_ours:
        if getattr(settings, name) != getattr(TrainSettings, name):
            raise click.UsageError(f"{flag(name)} has no counterpart on PyTorch's side of this benchmark")
    if parse_augment(settings.augment).cutout:
        raise click.UsageError("--augment cutout has no counterpart on PyTorch's side of this benchmark")


SIDES = {"foveal": train_foveal, "torch": train_torch}


@click.command()
@click.argument("data")
@click.option("--only", type=click.Choice(list(SIDES)), help="one side only")
@click.option("--seeds", default=1, help="seeds to train with, from --seed on")
@settings_options()
def main(data: str, only: str | None, seeds: int, **given: Any) -> None:
    settings = TrainSettings(**{name: value for name, value in given.items() if value is not None})
    check_mirrored(settings)
    if settings.lr == AUTO:
        raise click.UsageError("both sides train at one learning rate: give --lr")
    validation = 0.1 if settings.validation is None else settings.validation
    dataset = load_dataset(data, size=settings.size, validation=validation, seed=settings.seed)
    if settings.model == AUTO:
        settings = settings.with_model(choose(image_shape(dataset.preprocess), len(dataset.train)))
    settings = settings.resolved(train_count=len(dataset.train))
    # the last epoch counts on both sides: foveal would keep the best by validation
    dataset = dataclasses.replace(dataset, validation=None)
    for name in [only] if only else list(SIDES):
        found, begun = [], time.monotonic()
        for seed in range(settings.seed, settings.seed + seeds):
            np.random.seed(seed)
            found.append(SIDES[name](dataclasses.replace(settings, seed=seed), dataset))
        shown = " ".join(f"{100 * accuracy:.2f}" for accuracy in found)
        mean = 100 * statistics.mean(found)
        click.echo(
            f"{name}: test accuracy {mean:.2f} % ({shown}), {(time.monotonic() - begun) / seeds:.0f} s a training"
        )


if __name__ == "__main__":
    main()
