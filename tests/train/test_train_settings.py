"""TrainSettings: what is refused, in which words, and what is decided when the data are known."""

import dataclasses
import math
import typing
from typing import Any

import numpy as np
import pytest

from foveal.errors import UsageError
from foveal.train.settings import CUSTOM, Options, TrainSettings, default_batch_size, flag

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"epochs": 0}, "--epochs must be at least 1, not 0"),
    ({"epochs": -3}, "--epochs must be at least 1, not -3"),
    ({"epochs": 2.5}, "--epochs must be an integer of at least 1, not 2.5"),
    ({"epochs": True}, "--epochs must be an integer of at least 1, not True"),
    ({"epochs": "ten"}, "--epochs must be an integer of at least 1, not 'ten'"),
    ({"steps": 0}, "--steps must be at least 1, not 0"),
    ({"patience": 0}, "--patience must be at least 1, not 0"),
    ({"batch_size": 0}, "--batch-size must be at least 1, not 0"),
    ({"size": 0}, "--size must be at least 1, not 0"),
    ({"threads": 0}, "--threads must be at least 1, not 0"),
    ({"seed": -1}, f"--seed must be from 0 to {2**64 - 1}, not -1"),
    ({"seed": 2**64}, f"--seed must be from 0 to {2**64 - 1}, not {2**64}"),
    ({"lr": 0.0}, "--lr must be above 0, not 0"),
    ({"lr": -0.1}, "--lr must be above 0, not -0.1"),
    ({"lr": math.nan}, "--lr must be a number above 0, not nan"),
    ({"lr": math.inf}, "--lr must be a number above 0, not inf"),
    ({"lr": "fast"}, "--lr must be a number above 0 or auto, not 'fast'"),
    ({"lr": "Auto"}, "--lr must be a number above 0 or auto, not 'Auto'"),
    ({"lr": "0.1"}, "--lr must be a number above 0 or auto, not '0.1'"),
    ({"lr": True}, "--lr must be a number above 0, not True"),
    ({"lr": 1e-60}, "--lr must be from 1.2e-38 to 3.4e+38, as far as float32 goes, not 1e-60"),
    ({"lr": 1e60}, "as far as float32 goes, not 1e+60"),
    ({"workers": 0}, "--workers must be at least 1, not 0"),
    ({"workers": 2, "lr": 0.1}, "--workers would change nothing beside --lr 0.1: it is for the search"),
    ({"weight_decay": -1e-4}, "--weight-decay must be at least 0, not -0.0001"),
    ({"momentum": 1.0}, "--momentum must be at least 0 and below 1, not 1"),
    ({"clip_norm": 0}, "--clip-norm must be above 0"),
    ({"max_norm": 0.0}, "--max-norm must be above 0"),
    ({"max_norm": math.inf}, "--max-norm must be a number above 0"),
    ({"tta": "shift"}, "--tta must be one of none, flip, not 'shift'"),
    ({"label_smoothing": 1.0}, "--label-smoothing must be at least 0 and below 1, not 1"),
    ({"label_smoothing": -0.1}, "--label-smoothing must be at least 0 and below 1, not -0.1"),
    ({"class_weight": "balance"}, "not 'balance'; did you mean balanced?"),
    ({"dropout": 1.0, "model": "vgg"}, "--dropout must be at least 0 and below 1, not 1"),
    ({"validation": 1.0}, "--validation must be at least 0 and below 1, not 1"),
    ({"warmup": -0.1, "schedule": "cosine"}, "--warmup must be at least 0 and below 1, not -0.1"),
    ({"width": 0.0}, "--width must be above 0 and at most 100, not 0"),
    ({"model": "vg"}, "not 'vg'; did you mean vgg?"),
    ({"model": "transformer"}, "--model must be one of auto, mlp, lenet, nin, vgg"),
    ({"optimizer": "adamw2"}, "did you mean adamw?"),
    ({"optimizer": "RMSprop"}, "did you mean rmsprop?"),
    ({"momentum": 0.9, "optimizer": "rmsprop"}, "--momentum would change nothing with --optimizer rmsprop"),
    ({"schedule": "onecycle"}, "not 'onecycle'; did you mean one-cycle?"),
    ({"augment": "flips"}, "did you mean flip?"),
    ({"isa": "avx"}, "--isa must be one of avx2"),
    ({"nesterov": 1}, "--nesterov must be True or False, not 1"),
    ({"batch_norm": "yes"}, "--batch-norm must be True or False, not 'yes'"),
    ({"epochs": 3, "steps": 100}, "--epochs and --steps contradict each other"),
    ({"epochs": 3, "minutes": 5}, "--epochs and --minutes contradict each other: give one of them"),
    ({"steps": 3, "minutes": 5}, "--steps and --minutes contradict each other: give one of them"),
    ({"minutes": 0}, "--minutes must be above 0 and at most 100000, not 0"),
    ({"minutes": -1.5}, "--minutes must be above 0 and at most 100000, not -1.5"),
    ({"minutes": math.inf}, "--minutes must be a number above 0"),
    ({"minutes": "five"}, "--minutes must be a number above 0 and at most 100000, not 'five'"),
    ({"patience": 2, "validation": 0}, "--patience needs validation images, but --validation is 0"),
    ({"warmup": 0.1}, "--warmup would change nothing"),
    ({"schedule": "inverse"}, "did you mean inverse-sqrt?"),
    ({"nesterov": True, "optimizer": "adam"}, "--nesterov would change nothing with --optimizer adam"),
    (
        {"momentum": 0.5, "optimizer": "sgd"},
        "--momentum would change nothing with --optimizer sgd; it belongs to momentum",
    ),
    ({"momentum": 0.0, "optimizer": "adam"}, "--momentum would change nothing with --optimizer adam"),
    ({"nesterov": True, "momentum": 0.0}, "--nesterov needs a --momentum above 0"),
    (
        {"variant": "caffe", "model": "lenet"},
        "--variant would change nothing with --model lenet; it belongs to nin and airbench",
    ),
    (
        {"head": "gap", "model": "mlp"},
        "--head would change nothing with --model mlp; it belongs to lenet, nin, vgg, resnet and airbench",
    ),
    ({"width": 2.0, "model": CUSTOM}, "--width would change nothing with --model custom"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_refused_in_one_line_that_names_the_flag(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        TrainSettings(**arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments",
    [
        {"model": "vgg", "head": "fc", "dropout": 0, "batch_norm": False, "width": 2},
        {"model": "nin", "variant": "author"},
        {"optimizer": "momentum", "nesterov": True, "momentum": 0.8, "weight_decay": 1e-4},
        {"schedule": "cosine", "warmup": 0.1, "steps": 7},
        {"lr": "auto", "workers": 3},
        {"epochs": np.int64(3), "lr": np.float32(0.5), "seed": 2**64 - 1, "validation": 0},
    ],
    ids=str,
)
def test_accepted(arguments: dict[str, Any]) -> None:
    settings = TrainSettings(**arguments)
    assert TrainSettings.from_json(settings.to_json()) == settings


def test_numbers_are_normalised() -> None:
    settings = TrainSettings(epochs=np.int64(3), lr=1)
    assert type(settings.epochs) is int
    assert type(settings.lr) is float


def test_resolved_decides_what_was_left_open() -> None:
    settings = TrainSettings().resolved(train_count=60000)
    assert (settings.lr, settings.epochs, settings.batch_size) == ("auto", 10, 128)  # a search decides the rate
    assert TrainSettings(lr=0.05).resolved(train_count=60000).lr == 0.05
    assert TrainSettings(steps=5).resolved(train_count=9).epochs is None


def test_the_rate_is_searched_for_unless_it_is_given() -> None:
    assert TrainSettings().lr == TrainSettings(lr=None).lr == TrainSettings(lr="auto").lr == "auto"  # type: ignore[arg-type]
    assert TrainSettings(workers=2) == TrainSettings(lr="auto", workers=2)


@pytest.mark.parametrize(("count", "size"), [(60000, 128), (4096, 128), (4095, 64), (1437, 32), (1023, 16), (10, 16)])
def test_batch_size_leaves_32_batches_an_epoch(count: int, size: int) -> None:
    assert default_batch_size(count) == size


def test_batch_is_never_larger_than_the_data() -> None:
    assert TrainSettings(batch_size=500).resolved(train_count=10).batch_size == 10


def test_a_saved_setting_that_is_unknown_is_named() -> None:
    with pytest.raises(UsageError, match="mystery"):
        TrainSettings.from_json({**TrainSettings().to_json(), "mystery": 1})


def test_every_setting_has_a_flag_and_help() -> None:
    for field in dataclasses.fields(TrainSettings):
        assert flag(field.name).startswith("--")
        assert field.metadata["help"]
        assert set(field.metadata) == {"help", "choices", "metavar"}


def test_the_keyword_arguments_of_fit_are_the_settings() -> None:
    fields = {field.name for field in dataclasses.fields(TrainSettings)}
    assert set(typing.get_type_hints(Options)) == fields - {"model", "optimizer"}
