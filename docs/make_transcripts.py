"""Run what the tutorial and its like tell their reader to do, and write down what comes out.

In a page listed in PAGES, in the order of the page and in one empty folder:
- a block ```console: each line "$ command" is run by bash; what stands below it is replaced by what it prints;
- a block ```python: run, all of a page in one namespace; the block ```text right below it is replaced by what it
  prints.
Blocks of other languages, and of Python with <!-- not run --> above, are left alone.

foveal gives the same bits everywhere, so losses and accuracies are the reader's too; a test runs the pages again and
compares all but what a machine decides: see `comparable`.

.venv/bin/python docs/make_transcripts.py [PAGE ...]
"""

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
PAGES = [DOCS / "tutorial.md", DOCS / "how-to.md"]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
NOT_RUN = "<!-- not run -->\n"


def renewed(text: str) -> str:
    """The page with what its blocks print now. Runs them in an empty folder; raises RuntimeError if one fails."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return renewed_here(text, str(Path(sys.executable).parent))


def renewed_here(text: str, programs: str) -> str:
    """The same in the current folder, with the programs of another one."""
    names: dict[str, Any] = {}

    def block(found: re.Match[str]) -> str:
        if text[: found.start()].endswith(NOT_RUN):
            return found[0]
        if found[1] == "console":
            return f"```console\n{_console(found[2], programs)}```\n"
        printed = _python(found[2], names)
        return f"```python\n{found[2]}```\n" + (f"\n```text\n{printed}```\n" if found[3] is not None else "")

    return BLOCK.sub(block, text)


def _console(text: str, programs: str) -> str:
    """A session: every command with what it prints, on either stream."""
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "110", "NO_COLOR": "1"}
    lines = []
    for command in re.findall(r"^\$ (.*(?:\\\n.*)*)$", text, re.MULTILINE):
        done = subprocess.run(
            ["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        if done.returncode:
            raise RuntimeError(f"$ {command}\n{done.stdout}")
        lines.append(f"$ {command}\n{_tidy(done.stdout)}")
    return "".join(lines)


def _python(code: str, names: dict[str, Any]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(code, "<page>", "exec"), names)
    return _tidy(printed.getvalue())


def _tidy(text: str) -> str:
    lines = [line.rstrip() for line in text.splitlines()]
    return "".join(f"{line}\n" for line in lines)


def comparable(text: str) -> str:
    """The page without what differs from machine to machine: speed, time, threads, instruction set."""
    text = re.sub(r"[\d,]+ images/s", "N images/s", text)
    text = re.sub(r"\b\d+(\.\d+)? s\b", "N s", text)
    text = re.sub(r"\b\d+ at a time with \d+ threads?( each)?", "N at a time with N threads", text)
    return re.sub(r"\b\d+ threads?, \w+", "N threads, isa", text)


if __name__ == "__main__":
    for page in [Path(name) for name in sys.argv[1:]] or PAGES:
        page.write_text(renewed(page.read_text()))
