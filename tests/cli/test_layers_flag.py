"""Models with layers of one's own, used from the command line by --layers."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import foveal as fv
from foveal.layers import base

SOURCE = '''
import foveal


@foveal.layer
class {kind}(foveal.Layer):
    """y = x²."""

    def forward(self, x, params, ctx):
        return x * x, x

    def backward(self, dy, saved, params, ctx):
        return 2 * saved * dy, {{}}
'''


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Path]:
    """A run whose model has a layer from squares.py, which this process has forgotten again."""
    from foveal.cli.own_layers import import_layers

    kinds = dict(base._KINDS)
    file = tmp_path / "squares.py"
    file.write_text(SOURCE.format(kind="Square"))
    assert import_layers(str(file)) == {"Square"}
    net = fv.Sequential(fv.Flatten(), fv.Dense(16), base._KINDS["Square"](), fv.Dense(10))
    fv.fit(net, "digits", epochs=1, lr=0.001, run_dir=tmp_path / "run", progress=False)
    forget(kinds)
    yield file
    forget(kinds)


def forget(kinds: dict) -> None:
    base._KINDS.clear()
    base._KINDS.update(kinds)
    for name in ("squares", "others"):
        sys.modules.pop(name, None)


def test_a_model_needs_its_layers(foveal: Callable, own: Path) -> None:
    result = foveal("evaluate", "run")
    assert (result.code, result.out) == (1, "")
    assert "has a layer of kind 'Square', which is none of foveal's: import squares first" in result.err
    assert "--layers FILE.py" in result.err


@pytest.mark.parametrize("command", ["evaluate", "summary"])
def test_it_gets_them_from_a_file(foveal: Callable, own: Path, command: str) -> None:
    result = foveal(command, "run", "--layers", own, "--json")
    assert result.code == 0, result.err


def test_resume_with_them(foveal: Callable, own: Path) -> None:
    result = foveal("train", "--resume", "run", "--epochs", "+1", "--layers", own, "--json")
    assert json.loads(result.out)["epochs"] == 2


def test_predict_with_them(foveal: Callable, own: Path, pictures: Path) -> None:
    assert foveal("predict", "run", pictures, "--layers", own).code == 0


def test_files_that_do_not_help(foveal: Callable, own: Path, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "others.py").write_text(SOURCE.format(kind="Other"))
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "json.py").write_text("")
    (tmp_path / "text.txt").write_text("")
    for file, words in (
        ("others.py", "would change nothing: the model has none of Other from others.py"),
        ("empty.py", "empty.py defines no layer"),
        ("broken.py", "broken.py cannot be imported: ZeroDivisionError: division by zero"),
        ("json.py", "has the name of a module that is loaded already"),
        ("text.txt", "is no Python file"),
        ("missing.py", "there is no file missing.py"),
    ):
        result = foveal("evaluate", trained, "--layers", file)
        assert (result.code, result.out) == (2, "")
        assert words in result.err
    result = foveal("train", "digits", "--layers", own)
    assert (result.code, "--layers would change nothing without --resume" in result.err) == (2, True)
