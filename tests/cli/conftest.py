"""A trained run and a way to call the program as a user does."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_result import Result

from foveal.cli.app import run as run_command


@pytest.fixture
def foveal(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        code = run_command([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., Result]:
    """Runs a command as a process of its own, in an empty folder."""

    def call(*arguments: object, **environment: str) -> Result:
        command = [sys.executable, "-m", "foveal", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: a small network trained on digits for an epoch."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    small = ["--model", "mlp", "--width", "0.1", "--lr", "0.02", "--epochs", "1"]
    assert run_command(["train", "digits", *small, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of class folders with small grey pictures, 8 × 8 pixels."""
    import numpy as np
    from PIL import Image

    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for label, level in (("dark", 40), ("light", 200)):
        (root / label).mkdir()
        for number in range(12):
            pixels = np.clip(random.normal(level, 20, (8, 8)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number}.png")
    return root
