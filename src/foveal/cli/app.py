"""The group of commands, and how every error becomes one line that begins with "foveal: ".

Exit codes: 0 done, 1 it failed and says why, 2 wrong usage, 130 interrupted (after saving).
"""

import importlib
import io
import os
import sys
import time
from contextlib import suppress
from typing import Any, Final

import click

from foveal.cli.hints import explain
from foveal.errors import FovealError

STARTED: Final = time.monotonic()  # of the process, but for what Python needs to get here
# command → what it does; each is the function of that name in the module of that name, imported when it is used
COMMANDS: Final = {
    "train": "Train a network on images, evaluate it, keep it.",
    "search": "Find the learning rate to train with.",
    "inspect": "Show what foveal sees in a set of images.",
    "evaluate": "Judge a trained model on labelled images.",
    "predict": "Say what a trained model sees in image files.",
    "summary": "Show a model's layers, shapes, parameters and FLOPs.",
    "bench": "Time training steps on this machine, alone or beside PyTorch.",
    "info": "Show version, instruction sets, threads and compute kernels.",
}


# raised by click 8.2 and newer; older ones print the help themselves
NO_ARGUMENTS: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())


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
    _open_streams()
    for stream in (sys.stdout, sys.stderr):  # a file's name may be no text: it is shown as well as can be
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        result: Any = cli.main(arguments, prog_name="foveal", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (BrokenPipeError, SystemExit):  # the reader of our output has gone; SystemExit is click's word for it
        _forget_output()
        return 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except NO_ARGUMENTS as error:
        print(error.ctx.get_help() if error.ctx else "", file=sys.stderr)
        return 2
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
        return _fail("out of memory: try smaller images, batches or networks", 1)
    except OSError as error:
        if wants_traceback:
            raise
        if error.filename is None:
            _forget_output()
        return _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)
    except Exception as error:
        if wants_traceback:
            raise
        if _was_interrupted(error):
            return _fail("interrupted", 130)
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _fail(f"unexpected error, please report it: {what} (add --traceback to see where)", 1)


def _fail(message: str, code: int) -> int:
    with suppress(OSError, ValueError):  # nobody is left to tell
        print(f"foveal: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return code


def _open_streams() -> None:
    """Where the caller has closed stdout or stderr, what would go there goes nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: PTH123, SIM115 (lives as long as the process)


def _forget_output() -> None:
    """What could not be written to stdout is not tried again when the process ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _was_interrupted(error: BaseException | None) -> bool:
    """Whether a Ctrl-C lies behind an error: one that comes while a library is imported may become another."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False
