"""What commands print on stdout: one JSON object, or text; and nothing else."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click


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
