"""Flags that commands share, with one text for each."""

import dataclasses
import types
import typing
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import click

from foveal.data.augment import TTA
from foveal.train.settings import TrainSettings, flag

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """The flag --json, as every command has it."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there."
    )(function)


def tta_option(function: F) -> F:
    """The flag --tta of commands that use a model: instead of the views that it was trained for."""
    return click.option(
        "--tta", metavar="|".join(TTA), default=None,
        help="Views by which images are judged; flip: by the mean with the mirror image [as the model was trained].",
    )(function)  # fmt: skip


def machine_options(function: F) -> F:
    """--threads and --isa, for commands that run a model."""
    return settings_options("threads", "isa")(function)


def settings_options(*names: str, without: Collection[str] = (), more_epochs: bool = False) -> Callable[[F], F]:
    """A flag for each field of `TrainSettings`, or for those named; one that is not given is None.

    without: fields that have none. more_epochs: --epochs +N has a meaning, which its help says.
    """

    def add(command: F) -> F:
        hints = typing.get_type_hints(TrainSettings)
        for field in reversed(dataclasses.fields(TrainSettings)):
            if (not names or field.name in names) and field.name not in without:
                command = _option(field, _plain_type(hints[field.name]), more_epochs)(command)
        return command

    return add


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


class _Rate(click.ParamType):  # type: ignore[type-arg]  # as _Epochs
    """ "0.02" → 0.02; words stay words, which `TrainSettings` judges."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | str:
        try:
            return float(value)
        except ValueError:
            return str(value)


def _plain_type(hint: Any) -> type:
    """The type of a field's value when it is not None."""
    options = [t for t in typing.get_args(hint) if t is not types.NoneType] if typing.get_args(hint) else [hint]
    plain: type = options[0]
    return plain


def _option(field: "dataclasses.Field[Any]", kind: Any, more_epochs: bool) -> Callable[[Any], Any]:
    name, help_text, choices = flag(field.name), field.metadata["help"], field.metadata["choices"]
    if kind is bool:
        both = field.default is None
        spelt = f"{name}/--no-{name[2:]}" if both else name
        return click.option(spelt, default=None, is_flag=True, help=sentence(help_text))
    if field.name == "epochs":
        help_text = sentence(help_text + "; with --resume, +N: so many more" * more_epochs)
        return click.option(name, type=_Epochs(), default=None, metavar="N", help=help_text)
    if field.name == "lr":
        kind = _Rate()
    default = field.default
    usual = f"{default:g}" if isinstance(default, float) else str(default) if isinstance(default, (str, int)) else ""
    shown = f" [{usual}]" if usual else ""
    metavar = "|".join(choices) if choices else field.metadata["metavar"]
    return click.option(name, type=kind, default=None, metavar=metavar, help=sentence(help_text + shown))


def sentence(text: str) -> str:
    """ "images in one update" → "Images in one update.", as click writes its own help."""
    return f"{text[0].upper()}{text[1:].rstrip('.')}."
