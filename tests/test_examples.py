"""The examples run as their reader would run them, and say what they promise."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from foveal.testing import LayerConformance

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, in an empty folder."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def accuracy_in(output: str) -> float:
    found = re.search(r"test accuracy ([\d.]+)%", output)
    assert found, output
    return float(found[1])


def test_a_layer_of_ones_own_is_trained_saved_and_loaded(tmp_path: Path) -> None:
    done = run(tmp_path, EXAMPLES / "train_swish.py")
    assert done.returncode == 0, done.stderr
    assert accuracy_in(done.stdout) > 90
    lines = [line.split() for line in done.stdout.splitlines() if "Swish.forward" in line]
    assert [line[:5] for line in lines] == [
        ["forward", "1", "Swish", "Swish.forward", "python"],
        ["forward", "4", "Swish", "Swish.forward", "python"],
    ]
    # who does not import the layer is told what to do
    load = "import foveal; foveal.load_run('runs/digits-1')"
    assert "import swish first" in run(tmp_path, "-c", load).stderr
    known = f"import sys; sys.path.insert(0, {str(EXAMPLES)!r}); import swish; {load}"
    assert run(tmp_path, "-c", known).returncode == 0


def test_the_layer_takes_fifteen_lines() -> None:
    """Code only, without its docstring."""
    tree = ast.parse((EXAMPLES / "swish.py").read_text())
    layer = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    lines = {node.lineno for node in ast.walk(layer) if isinstance(node, (ast.stmt, ast.expr))} - {layer.body[0].lineno}
    assert len(lines) <= 15


def test_it_passes_the_tests_it_inherits(tmp_path: Path) -> None:
    pytest_ = ["-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLES / "test_swish.py"]
    done = run(tmp_path, *pytest_)
    assert done.returncode == 0, done.stdout
    inherited = sum(name.startswith("test_") for name in dir(LayerConformance))
    assert f"{2 * inherited} passed" in done.stdout


def test_a_loop_of_ones_own(tmp_path: Path) -> None:
    done = run(tmp_path, EXAMPLES / "own_loop.py")
    assert done.returncode == 0, done.stderr
    assert accuracy_in(done.stdout) > 95
    losses = [float(value) for value in re.findall(r"loss ([\d.]+)", done.stdout)]
    assert len(losses) == 10
    assert losses[-1] < losses[0] / 5


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_every_example_is_in_the_list(name: str) -> None:
    assert name in (EXAMPLES / "README.md").read_text()
