"""foveal train: from images to a trained, evaluated, reusable model."""

import dataclasses
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from foveal.cli.output import json_option, percent, print_json
from foveal.errors import UsageError
from foveal.train.settings import TrainSettings, flag


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A flag for each field of `TrainSettings`; one that is not given is left to the settings."""
    hints = typing.get_type_hints(TrainSettings)
    for field in reversed(dataclasses.fields(TrainSettings)):
        command = _option(field, _plain_type(hints[field.name]))(command)
    return command


def _plain_type(hint: Any) -> type:
    """The type of a field's value when it is not None."""
    options = [t for t in typing.get_args(hint) if t is not types.NoneType] if typing.get_args(hint) else [hint]
    plain: type = options[0]
    return plain


def _option(field: "dataclasses.Field[Any]", kind: type) -> Callable[[Any], Any]:
    name, help_text, choices = flag(field.name), field.metadata["help"], field.metadata["choices"]
    if kind is bool:
        both = field.default is None
        return click.option(f"{name}/--no-{name[2:]}" if both else name, default=None, is_flag=True, help=help_text)
    shown = f" [{field.default}]" if isinstance(field.default, (str, int, float)) and field.default != "" else ""
    metavar = "|".join(choices) if choices else field.metadata["metavar"]
    return click.option(name, type=kind, default=None, metavar=metavar, help=help_text + shown)


@click.command(short_help="Train a network on images.")
@click.argument("data", required=False)
@click.option("--resume", metavar="RUN", help="go on with an interrupted run; everything comes from its folder")
@click.option("--out", metavar="RUN", help="folder to make for the run, which must not exist [runs/DATA-N]")
@settings_options
@json_option
def train(data: str | None, resume: str | None, out: str | None, as_json: bool, **given: Any) -> None:
    """Train a network on DATA and evaluate it.

    DATA: a folder of class folders (or of train/, val/ and test/ with class folders in them), IDX files as MNIST has
    them, an .npz archive, or digits, which is built in.

    \b
    Example:
      foveal train flowers/ --epochs 20 --augment standard
      foveal train --resume runs/flowers-1
    """
    from foveal.fitting import Watch, fit_settings
    from foveal.fitting import resume as resume_run

    settings = {name: value for name, value in given.items() if value is not None}
    watch = Watch(command=("foveal", *sys.argv[1:]))
    if resume is not None:
        allowed = {"threads", "isa", "epochs"}
        extra = [flag(name) for name in settings if name not in allowed] + (["--out"] if out else [])
        if data is not None or extra:
            what = extra[0] if extra else "DATA"
            raise UsageError(f"--resume takes everything from the run folder: leave out {what}")
        if "epochs" in settings:
            raise UsageError("--epochs cannot be given with --resume: the run ends as it was begun")
        run = resume_run(resume, threads=settings.get("threads"), isa=settings.get("isa"), watch=watch)
    elif data is None:
        raise UsageError("train needs DATA: a folder of class folders, IDX files, an .npz archive, or digits")
    else:
        run = fit_settings(TrainSettings(**settings), data, run_dir=out, watch=watch)
    summary = run.summary()
    if as_json:
        print_json(summary)
        return
    if summary["validation_accuracy"] is not None:
        click.echo(f"validation accuracy {percent(summary['validation_accuracy'])}")
    if summary["test_accuracy"] is not None:
        click.echo(f"test accuracy {percent(summary['test_accuracy'])}")
    path = Path(summary["run"])
    click.echo(f"run folder {path}")
    click.echo(f"next: foveal evaluate {path}   or: foveal predict {path} IMAGES...")
