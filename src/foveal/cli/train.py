"""foveal train: from images to a trained, evaluated, reusable model."""

import dataclasses
import shlex
import sys
import time
import types
import typing
from collections.abc import Callable
from typing import Any

import click

from foveal.cli.output import STARTED, json_option, percent, print_json
from foveal.errors import UsageError
from foveal.train.settings import TrainSettings, flag


def settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """A flag for each field of `TrainSettings`; one that is not given is left to the settings."""
    hints = typing.get_type_hints(TrainSettings)
    for field in reversed(dataclasses.fields(TrainSettings)):
        command = _option(field, _plain_type(hints[field.name]))(command)
    return command


class More(int):
    """A number of epochs to add: "+3"."""


class _Epochs(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on
    """ "3" → 3, "+3" → More(3)."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return More(value) if str(value).startswith("+") else int(value)
        except ValueError:
            self.fail(f"{value!r} is not a valid integer.", param, ctx)


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
    if field.name == "epochs":
        help_text += "; with --resume, +N: so many more"
        return click.option(name, type=_Epochs(), default=None, metavar="N", help=help_text)
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

    With --resume: go on with a run; DATA then only says where the images are now, if they have moved.

    DATA: a folder of class folders (or of train/, val/ and test/ with class folders in them), IDX files as MNIST has
    them, an .npz archive, or digits, which is built in.

    \b
    Example:
      foveal train flowers/ --epochs 20 --augment standard
      foveal train --resume runs/flowers-1
    """
    from foveal.fitting import Watch, fit_settings
    from foveal.fitting import resume as resume_run
    from foveal.train.events import Event, Started

    settings = {name: value for name, value in given.items() if value is not None}
    begun: list[Started] = []

    def listen(event: Event) -> None:
        if isinstance(event, Started):
            begun.append(event)

    watch = Watch(command=("foveal", *sys.argv[1:]), listeners=[listen] if resume is not None else [])
    if resume is not None:
        extra = [flag(name) for name in settings if name not in ("threads", "isa", "epochs")] + ["--out"] * bool(out)
        if extra:
            raise UsageError(f"--resume takes everything from the run folder: leave out {extra[0]}")
        more = settings.get("epochs", More(0))
        if not isinstance(more, More):
            raise UsageError("--resume goes on to the end that the run was begun with; --epochs +N adds to it")
        if "epochs" in settings and more < 1:
            raise UsageError("--epochs +N needs N of at least 1")
        machine = {name: settings.get(name) for name in ("threads", "isa")}
        run = resume_run(resume, data=data, more_epochs=more, watch=watch, **machine)
        if not begun:
            click.echo(f"{resume} is finished: nothing was left to do", err=True)
    elif isinstance(settings.get("epochs"), More):
        raise UsageError("--epochs +N is for --resume, which adds to what there is")
    elif data is None:
        raise UsageError("train needs DATA: a folder of class folders, IDX files, an .npz archive, or digits")
    else:
        run = fit_settings(TrainSettings(**settings), data, run_dir=out, watch=watch)
    summary = {**run.summary(), "seconds": round(time.monotonic() - STARTED, 3)}
    if as_json:
        print_json(summary)
        return
    if summary["validation_accuracy"] is not None:
        click.echo(f"validation accuracy {percent(summary['validation_accuracy'])}")
    if summary["test_accuracy"] is not None:
        click.echo(f"test accuracy {percent(summary['test_accuracy'])}")
    click.echo(f"run folder {summary['run']}")
    path = shlex.quote(summary["run"])
    click.echo(f"next: foveal evaluate {path}   or: foveal predict {path} IMAGES...")
