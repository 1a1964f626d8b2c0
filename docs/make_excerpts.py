"""Fill the code blocks of the pages that quote the source, so that a quotation cannot grow old; a test looks.

A block is filled where a comment stands above it:  <!-- from FILE: START -->,  START being how one line of FILE begins,
indentation aside. Quoted are that line, decorators above it, and what is indented below it. Several: START ‖ START.

.venv/bin/python docs/make_excerpts.py
"""

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
BLOCK = re.compile(r"(<!-- from (\S+): (.+?) -->\n```\w*\n)(.*?)(```\n)", re.DOTALL)


def filled(text: str) -> str:
    """The page with every quotation as the source has it now."""

    def quote(found: re.Match[str]) -> str:
        lines = (ROOT / found[2]).read_text().splitlines()
        parts = [excerpt(lines, start, found[2]) for start in found[3].split(" ‖ ")]
        gap = "\n" if not any("\n" in part for part in parts) else "\n\n\n" if found[2].endswith(".py") else "\n\n"
        return f"{found[1]}{gap.join(parts)}\n{found[5]}"

    return BLOCK.sub(quote, text)


def excerpt(lines: list[str], start: str, file: str) -> str:
    """One quotation. Raises ValueError unless exactly one line begins with `start`."""
    places = [n for n, line in enumerate(lines) if line.strip().startswith(start)]
    if len(places) != 1:
        raise ValueError(f"{file} has {len(places)} lines that begin with {start!r}, not one")
    first = end = places[0]
    margin = _indent(lines[first])
    while end + 1 < len(lines) and (not lines[end + 1].strip() or _indent(lines[end + 1]) > margin):
        end += 1
    if end + 1 < len(lines) and re.fullmatch(r"\s*[)}\]]+[;,]?( .*)?", lines[end + 1]) and end > first:
        end += 1
    while lines[first - 1].strip().startswith("@"):
        first -= 1
    return textwrap.dedent("\n".join(lines[first : end + 1])).rstrip()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text()))
