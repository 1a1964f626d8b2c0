"""What commands print on stdout: one JSON object, or text; and nothing else."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

NO_MATTER = " Results do not depend on it, but for the last bits with baseline and reference."
STARTED = time.monotonic()  # of the process, but for what Python needs to get here
F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """The flag --json, as every command has it."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there."
    )(function)


def machine_options(function: F) -> F:
    """--threads and --isa, for commands that run a model."""
    for name, metavar, kind, text in (
        ("--isa", "NAME", str, "Instruction set to use (the best there is)." + NO_MATTER),
        ("--threads", "N", int, "Threads to use (all processors allowed). Results do not depend on it."),
    ):
        function = click.option(name, metavar=metavar, type=kind, default=None, help=text)(function)
    return function


def print_json(value: Any) -> None:
    """One JSON object."""
    click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Columns, as wide as their widest cell; those numbered in `right` are aligned to the right."""
    from rich.cells import cell_len, set_cell_size

    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(cell_len(row[i]) for row in cells) for i in range(len(head))]
    to_right = set(right)
    lines = []
    for row in cells:
        line = (
            " " * (w - cell_len(c)) + c if i in to_right else set_cell_size(c, w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(line).rstrip())
    return "\n".join(lines)


def percent(fraction: float | None) -> str:
    """A fraction as "98.6 %", a dash where there is none."""
    return "–" if fraction is None else f"{100 * fraction:.1f} %"
