"""The group of commands, and how every error becomes one line that begins with "foveal: ".

Exit codes: 0 done, 1 it failed and says why, 2 wrong usage, 130 interrupted (after saving).
"""

import importlib
import os
import sys
from typing import Any, Final

import click

from foveal.cli.hints import explain
from foveal.errors import FovealError

# command → what it does; each is the function of that name in the module of that name, imported when it is used
COMMANDS: Final = {
    "train": "Train a network on images, evaluate it, keep it.",
    "evaluate": "Judge a trained model on labelled images.",
    "predict": "Say what a trained model sees in image files.",
    "summary": "Show a model's layers, shapes, parameters and FLOPs.",
    "info": "Show version, instruction sets, threads and compute kernels.",
}


class Commands(click.Group):
    """Commands that are imported only when used, so that the program starts quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"foveal.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="foveal", message="foveal %(version)s")
def cli() -> None:
    """Train convolutional image classifiers on the computer at hand.

    \b
    Example:
      foveal train flowers/                        a folder of class folders
      foveal predict runs/flowers-1 new/*.jpg
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run a command; returns the exit code. `--traceback` anywhere shows where an error comes from."""
    wants_traceback = "--traceback" in arguments
    arguments = [argument for argument in arguments if argument != "--traceback"]
    try:
        result: Any = cli.main(arguments, prog_name="foveal", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BrokenPipeError:  # the reader of our output has gone: no one is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", 130)
    except click.UsageError as error:
        return _fail(explain(error), 2)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except FovealError as error:
        if wants_traceback:
            raise
        return _fail(str(error), error.exit_code)
    except MemoryError:
        return _fail("out of memory; try a smaller --batch-size, --size or --width", 1)
    except Exception as error:
        if wants_traceback:
            raise
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _fail(f"unexpected error, please report it: {what} (add --traceback to see where)", 1)


def _fail(message: str, code: int) -> int:
    print(f"foveal: {' '.join(message.split())}", file=sys.stderr)
    return code
