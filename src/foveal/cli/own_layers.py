"""Models with layers of one's own: --layers FILE.py imports the file that defines them before the model is read."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import click

from foveal.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


def layers_option(function: F) -> F:
    """The flag --layers, for commands that read a model."""
    text = "Python file that defines the model's own layers, run before the model is read."
    return click.option("--layers", metavar="FILE", help=text)(function)


def import_layers(file: str | None) -> frozenset[str]:
    """Run a Python file; the kinds of layers that it has registered (none without a file). Raises UsageError."""
    from foveal.layers.base import registered

    if file is None:
        return frozenset()
    before, path = registered(), Path(file).expanduser()
    if not path.is_file():
        raise UsageError(f"--layers: there is no file {file}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or path.stem in sys.modules:
        why = "is no Python file" if path.stem not in sys.modules else "has the name of a module that is loaded already"
        raise UsageError(f"--layers: {file} {why}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[path.stem]
        raise UsageError(f"--layers: {file} cannot be imported: {type(error).__name__}: {error}") from error
    new = registered() - before
    if not new:
        raise UsageError(f"--layers: {file} defines no layer (a class made by @foveal.layer)")
    return frozenset(new)


def import_layers_of_run(file: str | None, run: str) -> None:
    """Import the layers that a run's network has. Raises UsageError as `import_layers` and `check_used` do."""
    from foveal.run import RunFolder

    own = import_layers(file)
    if file is not None:
        check_used(file, own, RunFolder.open(run).read_config()["spec"])


def check_used(file: str | None, own: frozenset[str], spec: Any) -> None:
    """Raise UsageError if layers were imported and a spec, as JSON, has none of them."""
    if file is not None and not own & set(_kinds(spec)):
        raise UsageError(f"--layers would change nothing: the model has none of {', '.join(sorted(own))} from {file}")


def _kinds(spec: Any) -> Iterator[str]:
    if isinstance(spec, dict):
        yield str(spec.get("kind"))
        spec = list(spec.values())
    if isinstance(spec, list):
        for item in spec:
            yield from _kinds(item)
