"""What holds for every command: --help, --json, exit codes, no colours where none are wanted."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from foveal.cli.app import COMMANDS

USES = {  # a use of each command, RUN being a trained run and IMAGES a folder of class folders
    "train": "train digits --model mlp --width 0.1 --lr 0.02 --epochs 1 --out new",
    "search": "search digits --model mlp --width 0.1 --epochs 4 --out new",
    "inspect": "inspect IMAGES",
    "evaluate": "evaluate RUN",
    "predict": "predict RUN IMAGES",
    "summary": "summary RUN",
    "bench": "bench --nets lenet --repeats 1 --batch-size 2 --threads 1",
    "info": "info",
}


@pytest.fixture
def use(trained: Path, pictures: Path) -> Callable[[str], list[str]]:
    """The words of a use of a command."""
    places = {"RUN": str(trained), "IMAGES": str(pictures)}
    return lambda command: [places.get(word, word) for word in USES[command].split()]


def test_all_are_here() -> None:
    assert list(USES) == list(COMMANDS)


@pytest.mark.parametrize("command", USES)
def test_json_is_one_object_and_nothing_else(program: Callable, use: Callable, command: str) -> None:
    result = program(*use(command), "--json")
    assert result.code == 0, result
    assert isinstance(json.loads(result.out), dict)
    assert result.out.count("\n") == 1


@pytest.mark.parametrize("command", USES)
def test_words_are_plain_where_nobody_watches(program: Callable, use: Callable, command: str) -> None:
    result = program(*use(command))
    assert result.code == 0, result
    assert result.out
    assert "\x1b" not in result.out + result.err
    assert "foveal: " not in result.err


@pytest.mark.parametrize("command", USES)
def test_help_has_an_example(foveal: Callable, command: str) -> None:
    for flag in ("--help", "-h"):
        result = foveal(command, flag)
        assert (result.code, result.err) == (0, "")
        assert f"Usage: foveal {command}" in result.out
        assert f"Example:\n    foveal {command} " in result.out or f"Example:\n    foveal {command}\n" in result.out
    options = result.out.split("Options:\n")[1]
    texts = re.findall(r"^  -\S.*?  +(\S.*)$", options, re.MULTILINE)
    assert texts
    assert [text for text in texts if not (text[0].isupper() or text.startswith("-"))] == []


@pytest.mark.parametrize("command", USES)
def test_a_wrong_flag_is_wrong_usage(foveal: Callable, use: Callable, command: str) -> None:
    for more in ((), ("--json",)):
        result = foveal(*use(command), *more, "--nonsense")
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("foveal: there is no flag --nonsense")
        assert result.err.count("\n") == 1


def read_all(terminal: int) -> bytes:
    """What a terminal shows next, b"" at its end."""
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other end is closed
        return b""


@pytest.mark.parametrize("no_color", ["1", None])
def test_colours_on_a_terminal_only_if_wanted(tmp_path: Path, use: Callable, no_color: str | None) -> None:
    """stderr is a terminal: the bar moves, stdout stays one JSON object."""
    import pty

    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "120"} | ({"NO_COLOR": no_color} if no_color else {})
    command = [sys.executable, "-m", "foveal", *use("train"), "--epochs", "30", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        shown = b"".join(iter(lambda: read_all(ours), b""))
        assert process.stdout is not None
        assert json.loads(process.stdout.read())["epochs"] == 30
    assert process.returncode == 0
    os.close(ours)
    assert b"\x1b[?25l" in shown, "there was no bar"
    coloured = re.search(rb"\x1b\[[0-9;]*3[0-9][0-9;]*m", shown)
    assert (coloured is None) == bool(no_color)
