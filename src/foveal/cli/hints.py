"""What a user may have meant: near misses in flags, values and commands, and other trainers' spellings."""

import difflib
from typing import Final

import click

# other trainers' names for our flags
SPELLINGS: Final = {
    "--imgsz": "--size", "--img-size": "--size", "--image-size": "--size", "--img": "--size",
    "--opt": "--optimizer", "--lr0": "--lr", "--learning-rate": "--lr", "--learning_rate": "--lr",
    "--batch": "--batch-size", "--bs": "--batch-size", "-b": "--batch-size", "--epoch": "--epochs",
    "--sched": "--schedule", "--scheduler": "--schedule", "--lr-scheduler": "--schedule",
    "--wd": "--weight-decay", "--decay": "--weight-decay", "--drop": "--dropout", "--drop-rate": "--dropout",
    "--val-split": "--validation", "--val": "--validation", "--validation-split": "--validation",
    "--workers": "--threads", "--num-threads": "--threads", "-j": "--threads", "--num-workers": "--threads",
    "--output": "--out", "--save-dir": "--out", "--project": "--out", "-o": "--out", "--arch": "--model",
    "--network": "--model", "--net": "--model", "--bn": "--batch-norm", "--random-seed": "--seed",
    "--early-stopping": "--patience", "--aug": "--augment", "--data-augmentation": "--augment",
    "--max-steps": "--steps", "--iterations": "--steps", "--width-multiplier": "--width",
}  # fmt: skip


def explain(error: click.UsageError) -> str:
    """A usage error in one line, with "did you mean" where something is near."""
    command = error.ctx.command_path if error.ctx else "foveal"
    if isinstance(error, click.NoSuchOption):
        return f"there is no flag {error.option_name}{_did_you_mean(error)}; {command} --help lists them"
    if isinstance(error, click.MissingParameter):
        name = error.param.human_readable_name if error.param else "an argument"
        return f"{command} needs {name}; {command} --help has an example"
    message = error.format_message().rstrip(".")
    if message.startswith("No such command"):
        word = message.split("'")[1]
        near = difflib.get_close_matches(
            word, list(getattr(error.ctx and error.ctx.command, "commands", {})) or _commands(), 1, 0.5
        )
        hint = f"; did you mean foveal {near[0]}?" if near else f"; there are {', '.join(_commands())}"
        return f"there is no command {word!r}{hint}"
    return f"{message}; see {command} --help"


def _did_you_mean(error: click.NoSuchOption) -> str:
    flags = [
        flag
        for param in (error.ctx.command.params if error.ctx else [])
        if isinstance(param, click.Option)
        for flag in (*param.opts, *param.secondary_opts)
    ]
    known = SPELLINGS.get(error.option_name)
    near = [known] if known in flags else difflib.get_close_matches(error.option_name, flags, 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _commands() -> list[str]:
    from foveal.cli.app import COMMANDS

    return list(COMMANDS)
