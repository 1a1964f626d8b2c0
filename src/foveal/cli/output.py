"""What commands print on stdout: one JSON object, or text; and nothing else."""

import codecs
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click


def print_json(value: Any) -> None:
    """One JSON object: in UTF-8, or where stdout is of another encoding in ASCII with escapes, which is UTF-8 too."""
    utf8 = codecs.lookup(sys.stdout.encoding or "ascii").name == "utf-8"
    click.echo(json.dumps(value, ensure_ascii=not utf8, allow_nan=False))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Columns, as wide as their widest cell; those numbered in `right` are aligned to the right."""
    from rich.cells import cell_len, set_cell_size

    cells = [list(map(plain, row)) for row in (head, *rows)]
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


def plain(text: str) -> str:
    r"""Text that cannot break a line or steer a terminal: a file may be called "a\nb"."""
    return "".join(c if c.isprintable() or "\ud800" <= c <= "\udfff" else ascii(c)[1:-1] for c in text)


def percent(fraction: float | None) -> str:
    """A fraction as "98.6 %", a dash where there is none."""
    return "–" if fraction is None else f"{100 * fraction:.1f} %"


def megabytes(count: int) -> str:
    """Bytes as "12.3 MB"."""
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"


def note(text: str) -> None:
    """A remark on stderr."""
    click.echo(f"note: {text}", err=True)
