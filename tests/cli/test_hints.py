"""Other trainers' words are answered with ours, or with an honest line."""

from collections.abc import Callable

import click
import pytest

from foveal.cli.app import COMMANDS, cli
from foveal.cli.hints import _flags
from foveal.cli.spellings import ABSENT, COMMAND_NAMES, FLAGS

MEANT = [
    # Keras, PyTorch Lightning, fastai, ultralytics, timm, torchvision
    ("--learning_rate", "--lr"), ("--batch_size", "--batch-size"), ("--validation_split", "--validation"),
    ("--trainer.max_epochs", "--epochs"), ("--max_epochs", "--epochs"), ("--default_root_dir", "--out"),
    ("--ckpt_path", "--resume"), ("--lr_max", "--lr"), ("--bs", "--batch-size"), ("--wd", "--weight-decay"),
    ("--arch", "--model"), ("--valid_pct", "--validation"), ("--imgsz", "--size"), ("--lr0", "--lr"),
    ("--batch", "--batch-size"), ("--num_workers", "--threads"), ("--project", "--out"),
    ("--optimizer_", "--optimizer"),
    ("--opt", "--optimizer"), ("--sched", "--schedule"), ("--img-size", "--size"), ("--drop", "--dropout"),
    ("--input-size", "--size"), ("--output", "--out"), ("--backbone", "--model"), ("--num-epochs", "--epochs"),
    ("--batchSize", "--batch-size"), ("--lr-scheduler", "--schedule"), ("-b", "--batch-size"), ("-j", "--threads"),
]  # fmt: skip
TOLD = [
    ("--device", "foveal runs on the processor"), ("--gpus", "foveal runs on the processor"),
    ("--accelerator", "foveal runs on the processor"), ("--amp", "float32"), ("--precision", "float32"),
    ("--pretrained", "no pretrained weights"), ("--mixup", "--augment has all that there is"),
    ("--tensorboard", "metrics.csv"), ("--verbose", "stderr"), ("--num_classes", "those of the data"),
    ("--exist-ok", "nothing is overwritten"), ("--data", "come without a flag"), ("--model-ema", "no averaged weights"),
    ("--lr_find", "--lr auto"), ("--auto_lr_find", "--lr auto"), ("--trainer.auto_lr_find", "--lr auto"),
    ("--suggest-lr", "--lr auto"), ("--find-lr", "--lr auto"), ("--tune", "--lr auto"),
]  # fmt: skip


@pytest.mark.parametrize(("theirs", "ours"), MEANT)
def test_did_you_mean(foveal: Callable, theirs: str, ours: str) -> None:
    result = foveal("train", "digits", theirs, "1")
    assert (result.code, result.out) == (2, "")
    assert result.err == f"foveal: there is no flag {theirs}; did you mean {ours}?\n"


@pytest.mark.parametrize(("flag", "words"), TOLD)
def test_what_there_is_none_of(foveal: Callable, flag: str, words: str) -> None:
    result = foveal("train", "digits", flag, "1")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"foveal: there is no flag {flag}: ")
    assert words in result.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("fit", "x"), "there is no command 'fit'; did you mean foveal train?"),
        (("val",), "there is no command 'val'; did you mean foveal evaluate?"),
        (("export",), "there is no command 'export': model.safetensors"),
        (("pictures/",), "there is no command 'pictures/'; did you mean foveal train pictures/?"),
        (("train", "digits", "epochs=3"), "one argument too many: epochs=3; did you mean --epochs 3?"),
        (("train", "digits", "imgsz=3"), "one argument too many: imgsz=3; did you mean --size 3?"),
        (("train", "a", "b"), "one argument too many: b; foveal train --help has an example"),
        (("train", "digits", "--lr"), "--lr needs a value"),
        (("train", "digits", "--lr", "fast"), "--lr must be a number above 0 or auto, not 'fast'"),
        (("train", "digits", "--lr", "AUTO"), "a number above 0 or auto, not 'AUTO'"),
        (
            ("train", "digits", "--lr", "1e-60"),
            "--lr must be from 1.2e-38 to 3.4e+38, as far as float32 goes, not 1e-60",
        ),
        (
            ("train", "digits", "--lr", "0.1", "--workers", "8"),
            "it is for the search for a rate; --threads is for training",
        ),
        (
            ("predict", "r", "i", "--epochs", "3"),
            "foveal predict has no flag --epochs; --epochs belongs to foveal train",
        ),
        (
            ("evaluate", "r", "--workers", "8"),
            "foveal evaluate has no flag --workers; --workers belongs to foveal train",
        ),
        (("lr_find", "digits"), "there is no command 'lr_find'; did you mean foveal search?"),
        (("track", "x"), "there is no command 'track': foveal classifies whole images"),
        (("predict", "r", "i", "--topk", "3"), "there is no flag --topk; did you mean --top?"),
        (("evaluate", "r", "--topk", "3"), "foveal evaluate has no flag --topk; --top belongs to foveal predict"),
        (("train", "digits", "--model", "VGG16"), "not 'VGG16'; did you mean vgg?"),
        (("train", "digits", "--optimizer", "Nesterov"), "not 'Nesterov'; did you mean momentum?"),
        (("train", "digits", "--schedule", "OneCycleLR"), "not 'OneCycleLR'; did you mean one-cycle?"),
        (("train", "digits", "--schedule", "CosineAnnealingLR"), "did you mean cosine?"),
        (("train", "digits", "--augment", "hflip"), "did you mean flip?"),
    ],
)
def test_other_near_misses(foveal: Callable, tmp_path: object, arguments: tuple, says: str) -> None:
    from pathlib import Path

    Path("pictures").mkdir()
    result = foveal(*arguments)
    assert (result.code, result.out) == (2, "")
    assert says in result.err


def test_the_tables_know_no_flag_of_ours_as_anothers() -> None:
    context = click.Context(cli, info_name="foveal")
    ours = {flag for name in COMMANDS for flag in _flags(click.Context(cli.get_command(context, name)))}
    assert "--batch-size" in ours
    assert not ours & set(FLAGS)
    absent = [name for names in ABSENT for name in names.split()]
    assert not set(_flags(click.Context(cli.get_command(context, "train")))) & set(absent)
    assert not set(absent) & set(FLAGS)
    assert len(absent) == len(set(absent)), "a flag stands in two places"
    assert not set(COMMANDS) & set(COMMAND_NAMES)
