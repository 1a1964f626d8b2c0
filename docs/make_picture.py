"""Draw docs/train-digits.svg: a real `foveal train digits`, as a terminal shows it.

.venv/bin/python docs/make_picture.py
"""

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).with_name("train-digits.svg")
WIDTH = 118


def main() -> None:
    command = [sys.executable, "-m", "foveal", "train", "digits"]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "COLUMNS": str(WIDTH)}
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text("$ foveal train digits", style="bold"))
    for line in done.stdout.splitlines():
        console.print(Text(line, style="bold green" if line.startswith("test accuracy") else ""))
    picture = console.export_svg(title="foveal")
    # no fonts from a network: the reader's own monospaced one will do
    picture = re.sub(r"@font-face \{.*?\}\n", "", picture, flags=re.DOTALL)
    PICTURE.write_text("\n".join(line.rstrip() for line in picture.splitlines()) + "\n")


if __name__ == "__main__":
    main()
