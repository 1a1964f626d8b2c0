"""Run docs/first-photographs.md as a new user would, and write down what comes out; see make_transcripts.py.

.venv/bin/python docs/make_first_photographs.py FOLDER/trashnet-128.tar

The photographs (TrashNet, MIT licence, https://github.com/garythung/trashnet) are not part of foveal. All happens in an
empty folder with a fresh virtual environment, the source of foveal beside it as `git clone` would leave it.
"""

import contextlib
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
from pathlib import Path

from make_transcripts import DOCS, renewed_here

PAGE = DOCS / "first-photographs.md"
NEW = ("glass/glass12.jpg", "paper/paper34.jpg", "cardboard/cardboard56.jpg")  # taken out before training


def main(archive: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        with tarfile.open(archive) as photographs:
            photographs.extractall("unpacked", filter="data")
        classes = next(path.parent.parent for path in Path("unpacked").rglob("*.jpg"))
        classes.rename("photographs")
        Path("new").mkdir()
        for number, name in enumerate(NEW, 1):
            Path("photographs", name).rename(Path("new", f"{number}.jpg"))
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(DOCS.parent), "foveal"], check=True)
        venv.create("environment", with_pip=True)
        programs = str(Path("environment/bin").absolute())
        os.environ["XDG_CACHE_HOME"] = str(Path("cache").absolute())
        os.environ["PIP_QUIET"] = "2"  # no warnings about where this machine looks for packages
        PAGE.write_text(renewed_here(PAGE.read_text(), programs))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
