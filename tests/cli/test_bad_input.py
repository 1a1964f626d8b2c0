"""Bad input: one clear line that begins with "foveal: ", the right exit code, no traceback, nothing half written.

The cases are in bad_inputs.py; docs/errors.md is the table of them, with the lines that came out. Write it anew:

    python -m pytest tests/cli/test_bad_input.py --write-errors
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_inputs import CASES, SECTIONS, Case
from bad_makers import Tools
from command_result import Result

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
INTRODUCTION = """# What foveal answers to bad input

Every error is one line on stderr that begins with `foveal: ` and says what is wrong, where, and what to do. The exit
code is 2 for wrong usage and 1 for everything else; nothing is printed on stdout, no file that was there is touched,
and none is left half written. Made by `tests/cli/test_bad_input.py --write-errors` from running these commands.
"""
# what differs from machine to machine: process numbers, instruction sets, other libraries' words
MASKS = [
    (r"in use by process \d+", "in use by process N"),
    (r"(not a safetensors file|config.json is damaged|cannot be read as .npz): .*", r"\1: …"),
    (r"(flowers.tar.gz is damaged): .*", r"\1: …"),
    (r"more than \d{6,}\)", "more than N)"),
    (r"the loss became \S+ at step \d+", "the loss became nan at step 3"),
    (r"x{300}", "xxx…"),
]
messages: dict[str, str] = {}  # of the cases that have been run


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder, by path; None for folders."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def shell(command: str, folder: Path) -> Result:
    """Run a command that needs a shell, with `foveal` as it is here."""
    program = f'foveal() {{ {shlex.quote(sys.executable)} -m foveal "$@"; }}; {command}'
    done = subprocess.run(["bash", "-c", program], cwd=folder, capture_output=True, text=True, timeout=120)
    return Result(done.returncode, done.stdout, done.stderr)


def complains(result: Result, code: int, words: str, *, alone: bool = True) -> str:
    """Check that a result is one line of complaint; returns it. alone: nothing else was said before."""
    lines = result.err.splitlines()
    assert result.code == code, result
    assert [line for line in lines if line.startswith("foveal: ")] == lines[-1:], result
    assert len(lines) == 1 or not alone, result
    assert words in lines[-1], result
    assert "Traceback" not in result.err
    assert result.out == ""
    return lines[-1]


@pytest.mark.parametrize("case", CASES, ids=[case.title for case in CASES])
def test_one_clear_line(
    foveal: Callable, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    tools = Tools(tmp_path, trained, monkeypatch)
    case.made(tools)
    before = snapshot(tmp_path)
    if any(mark in case.command for mark in ";>|"):
        result = shell(case.command, tmp_path)
    else:
        words = shlex.split(case.command)
        while "=" in words[0]:
            monkeypatch.setenv(*words.pop(0).split("=", 1))
        result = foveal(*words[1:])
    if hasattr(Tools, "lock"):
        Tools.lock.__exit__(None, None, None)
    line = complains(result, case.code, case.says, alone=not case.leaves)
    messages[case.title] = line.replace(str(tmp_path), "/…")
    after = snapshot(tmp_path)
    assert {name: after.get(name) for name in before} == before, "something that was there has changed"
    left = [name for name in after if name not in before and name != "run/.lock"]
    assert all(case.leaves and name.split("/")[0] == case.leaves for name in left), f"left behind: {left}"
    assert not [name for name in left if name.endswith((".tmp", "model.safetensors"))], left


def page() -> str:
    """docs/errors.md, from the messages of all cases."""
    parts = [INTRODUCTION]
    for section, cases in SECTIONS.items():
        parts += [f"## {section}", "", "| what is wrong | command | answer | exit |", "|---|---|---|---|"]
        for case in cases:
            command, message = case.command, messages[case.title]
            for pattern, plain in MASKS:
                command, message = re.sub(pattern, plain, command), re.sub(pattern, plain, message)
            cells = (case.title, f"`{command}`", f"`{message}`", str(case.code))
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts.append("")
    return "\n".join(parts)


def test_the_page_of_errors_has_not_drifted(request: pytest.FixtureRequest) -> None:
    missing = [case.title for case in CASES if case.title not in messages]
    if missing:
        assert request.config.args != ["tests"], f"these did not run, or failed: {missing}"
        pytest.skip("only some of the cases were run")
    if request.config.getoption("--write-errors"):
        PAGE.write_text(page())
    assert PAGE.read_text() == page(), "run python -m pytest tests/cli/test_bad_input.py --write-errors"


def test_titles_are_unique_and_many() -> None:
    assert len({case.title for case in CASES}) == len(CASES) >= 100


# ---- what takes more than a command in a folder

UNPRIVILEGED = """
import contextlib, io, os, sys
from foveal.cli.app import run
small = ["--model", "mlp", "--width", "0.1", "--epochs", "1"]
with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
    # all is imported before rights are given up: the interpreter may lie where others cannot read
    assert run(["train", "digits", *small, "--out", sys.argv[1]]) == 0
os.chdir("locked")
if os.geteuid() == 0:
    os.seteuid(65534)
sys.exit(run(["train", "digits", *small, *sys.argv[2:]]))
"""


@pytest.mark.parametrize(
    ("more", "words"),
    [((), "cannot create runs/digits-1: Permission denied"), (("--out", "x"), "cannot create x: Permission denied")],
)
def test_a_folder_that_cannot_be_written(tmp_path: Path, more: tuple[str, ...], words: str) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    (tmp_path / "locked").chmod(0o555)
    command = [sys.executable, "-c", UNPRIVILEGED, str(tmp_path / "warm"), *more]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    complains(Result(done.returncode, done.stdout, done.stderr), 1, words)
    assert list((tmp_path / "locked").iterdir()) == []


def test_a_disk_that_fills_up_later(tmp_path: Path) -> None:
    """The settings still fit, the model no longer does: what is there stays whole."""
    command = "ulimit -f 8; foveal train digits --model mlp --lr 0.02 --epochs 1"
    complains(shell(command, tmp_path), 1, "cannot write runs/digits-1/model.safetensors: File too large", alone=False)
    names = {path.name for path in (tmp_path / "runs" / "digits-1").iterdir()}
    assert names == {".lock", "config.json", "metrics.csv"}


def test_a_disk_that_fills_up_while_going_on(tmp_path: Path, trained: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    before = snapshot(tmp_path)
    result = shell("ulimit -f 8; foveal train --resume run --epochs +1", tmp_path)
    complains(result, 1, "cannot write run/", alone=False)
    after = snapshot(tmp_path)
    kept = ("run/model.safetensors", "run/last.safetensors", "run/evaluation.json")
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert not [name for name in after if name.endswith(".tmp")]


@pytest.mark.parametrize(
    "command", ["info", "train digits --epochs 1 --lr 0.02 --model mlp --width 0.1", "--help", "summary mlp"]
)
def test_an_output_that_is_closed_or_goes_away(tmp_path: Path, command: str) -> None:
    for redirection in (">&-", "| head -c 0; (exit ${PIPESTATUS[0]})"):
        result = shell(f"foveal {command} {redirection}", tmp_path)
        assert (result.code, result.out) == (0, ""), (redirection, result)
        assert "foveal: " not in result.err


def test_errors_go_nowhere_else_when_stderr_is_closed(tmp_path: Path) -> None:
    for redirection in ("2>&-", "2>/dev/full", ">&- 2>&-"):
        assert shell(f"foveal frobnicate {redirection}", tmp_path) == Result(2, "", "")


@pytest.mark.parametrize("form", [("--json",), ("--csv",), ()])
def test_errors_leave_stdout_empty_whatever_the_form(foveal: Callable, trained: Path, form: tuple[str, ...]) -> None:
    complains(foveal("predict", trained, "none.png", *form), 1, "there is no file none.png")


def test_a_display_that_goes_away_does_not_end_the_training(tmp_path: Path) -> None:
    for number, redirection in enumerate(("2>&1 | head -1", "2>/dev/full", "2>&-")):
        out = f"run{number}"
        shell(f"foveal train digits --model mlp --width 0.1 --lr 0.02 --epochs 20 --out {out} {redirection}", tmp_path)
        rows = (tmp_path / out / "metrics.csv").read_text().splitlines()
        assert len(rows) == 21, redirection


# The program as it starts, but for a word when it has begun: before that, a Ctrl-C is the interpreter's to answer.
STARTED = """
import os, sys
import foveal.__main__ as program
os.write(1, b"up")
sys.argv = ["foveal", "train", "digits", "--model", "mlp", "--epochs", "500"]
program.main()
"""


@pytest.mark.parametrize("after", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6])
def test_ctrl_c_at_any_moment(tmp_path: Path, after: float) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STARTED], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.read(2) == "up"
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("foveal: interrupted")


def test_settings_that_are_damaged(foveal: Callable, trained: Path, tmp_path: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    shutil.copytree(trained, tmp_path / "run")
    for change in ({"environment": 3}, {"settings": []}, {"data": {**config["data"], "source": 7}}, {"data": 1}):
        (tmp_path / "run" / "config.json").write_text(json.dumps({**config, **change}))
        complains(foveal("train", "--resume", "run"), 1, "config.json does not fit this version of foveal")


def test_a_name_that_is_no_text(program: Callable, trained: Path, tmp_path: Path) -> None:
    from PIL import Image

    name = os.fsdecode(b"caf\xe9.png")
    Image.new("L", (8, 8)).save(tmp_path / name)
    result = program("predict", trained, name, PYTHONUTF8="1")
    assert (result.code, result.err) == (0, "")
    assert "caf\\udce9.png" in result.out
    assert json.loads(program("predict", trained, name, "--json").out)["predictions"][0]["path"] == name


def test_no_traceback_unless_asked(program: Callable) -> None:
    assert "Traceback" not in program("train", "nothing-here").err
    assert "Traceback" in program("train", "nothing-here", "--traceback").err
