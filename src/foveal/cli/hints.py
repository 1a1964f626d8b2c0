"""A usage error in one line: what is wrong, and what was probably meant, also where it is another trainer's word."""

import re
from pathlib import Path

import click

from foveal.cli.spellings import ABSENT, COMMAND_NAMES, FLAGS, NO_COMMANDS
from foveal.spelling import nearest


def explain(error: click.UsageError) -> str:
    """The line for an error of click's, without "foveal: "."""
    command = error.ctx.command_path if error.ctx else "foveal"
    if isinstance(error, click.NoSuchOption):
        return _no_flag(error, command)
    if isinstance(error, click.MissingParameter):
        name = error.param.human_readable_name if error.param else "an argument"
        return f"{command} needs {name}; {command} --help has an example"
    message = error.format_message().rstrip(".")
    if message.startswith("No such command"):
        return _no_command(message.split("'", 1)[1].rsplit("'", 1)[0])
    if message.startswith("Got unexpected extra argument"):
        return _extra_arguments(message.partition("(")[2].rstrip(")"), command, _flags(error.ctx))
    if required := re.fullmatch(r"Option '(\S+)' requires (an argument|\d+ arguments)", message):
        return f"{required[1]} needs a value"
    if invalid := re.fullmatch(r"Invalid value for '([^']+)': (.*)", message, re.DOTALL):
        return f"{invalid[1].split(' / ')[0]}: {invalid[2]}; {command} --help says what it takes"
    return f"{message}; see {command} --help"


def _no_flag(error: click.NoSuchOption, command: str) -> str:
    given = error.option_name
    word, flags = _normal(given), _flags(error.ctx)
    meant = word if word in flags else FLAGS.get(word)
    if meant in flags:
        return f"there is no flag {given}; did you mean {meant}?"
    absent = next((reason for names, reason in ABSENT.items() if word in names.split()), None)
    if absent:
        return f"there is no flag {given}: {absent}"
    if owner := _owner(meant or word, command):
        return f"{command} has no flag {given}; {meant or word} belongs to {owner}"
    near = nearest(word, flags, 0.6)
    return f"there is no flag {given}" + (f"; did you mean {near}?" if near else f"; {command} --help lists them")


def _no_command(word: str) -> str:
    commands = _commands()
    meant = COMMAND_NAMES.get(word.casefold())
    near = meant if meant in commands else nearest(word, commands)
    if not meant and Path(word).exists():
        return f"there is no command {word!r}; did you mean foveal train {word}?"
    if meant not in commands and (reason := NO_COMMANDS.get(word.casefold())):
        return f"there is no command {word!r}: {reason}"
    if near:
        return f"there is no command {word!r}; did you mean foveal {near}?"
    return f"there is no command {word!r}; there are {', '.join(commands)}"


def _extra_arguments(words: str, command: str, flags: list[str]) -> str:
    name, equals, value = words.split(" ")[0].partition("=")
    word = _normal(f"--{name}")
    meant = word if word in flags else FLAGS.get(word)
    if equals and meant in flags:
        return f"one argument too many: {words}; did you mean {meant} {value}?"
    return f"one argument too many: {words}; {command} --help has an example"


def _normal(flag: str) -> str:
    """A flag in our spelling of words: --batch_size, --batchSize, --trainer.batch_size → --batch-size."""
    if not flag.startswith("--"):
        return flag
    words = re.sub(r"([a-z])([A-Z])", r"\1-\2", flag[2:]).replace("_", "-").lower()
    return "--" + words.rsplit(".", 1)[-1]


def _flags(ctx: click.Context | None) -> list[str]:
    params = ctx.command.params if ctx else []
    options = [param for param in params if isinstance(param, click.Option)]
    return [flag for option in options for flag in (*option.opts, *option.secondary_opts)]


def _owner(flag: str, command: str) -> str | None:
    """Another command that has the flag."""
    from foveal.cli.app import cli

    context = click.Context(cli, info_name="foveal")
    for name in _commands():
        other = cli.get_command(context, name)
        if f"foveal {name}" != command and other and flag in _flags(click.Context(other)):
            return f"foveal {name}"
    return None


def _commands() -> list[str]:
    from foveal.cli.app import COMMANDS

    return list(COMMANDS)
