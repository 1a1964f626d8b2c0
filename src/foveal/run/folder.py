"""The run folder: which files it has and how they are written. Nothing else in foveal writes results.

config.json         the command, every setting as resolved, versions, processor, data fingerprint
metrics.csv         a line per epoch
model.safetensors   the weights kept: best by validation, or else last
last.safetensors    the checkpoint to resume from
evaluation.json     the test part, once at the end
search/trials.json  every trial of the search for a learning rate, as it ends
search/search.svg   a plot of them, made by foveal search
.lock               held by the process that trains
"""

import csv
import dataclasses
import hashlib
import io
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from foveal.errors import RunError, UsageError
from foveal.run.atomic import TEMPORARY, write_atomic
from foveal.run.checkpoint import EpochRow
from foveal.run.lock import NAME as LOCK
from foveal.run.lock import locked

RUNS: Final = Path("runs")
# what config.json must have, and of what kind
_CONFIG: Final[dict[str, type]] = {
    "settings": dict, "spec": dict, "optimizer": dict, "data": dict, "extended_from": int, "isa": str,
    "environment": dict,
}  # fmt: skip
_CONFIG_DATA: Final[dict[str, type | tuple[type, ...]]] = {
    "source": (str, type(None)), "fingerprint": str, "class_names": list, "split": dict, "counts": dict, "parts": dict,
}  # fmt: skip
_SEARCH: Final[dict[str, type | tuple[type, ...]]] = {"search": dict, "seconds": (int, float), "results": list}
_COLUMNS: Final = tuple(field.name for field in dataclasses.fields(EpochRow))


@dataclass(frozen=True)
class RunFolder:
    """A folder that holds one run."""

    path: Path

    @classmethod
    def create(cls, name: str, out: str | os.PathLike[str] | None = None) -> "RunFolder":
        """Make a new folder: `out`, which must not exist, or else runs/<name>-N with the lowest free N."""
        if out is not None:
            return cls(_make(Path(out).expanduser()))
        stem = re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.") or "run"
        number = 1
        while True:
            path = RUNS / f"{stem}-{number}"
            if not path.exists():
                try:
                    return cls(_make(path))
                except UsageError:  # another process was faster
                    pass
            number += 1

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "RunFolder":
        """An existing run's folder. Raises RunError if it is none."""
        folder = cls(Path(path).expanduser())
        if not folder.path.is_dir():
            raise RunError(f"there is no run folder {path}")
        if not folder.config.is_file():
            raise RunError(f"{path} is not a run folder: it has no {folder.config.name}")
        return folder

    @property
    def resume_command(self) -> str:
        """What to type to go on."""
        return f"foveal train --resume {shlex.quote(str(self.path))}"

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def checkpoint(self) -> Path:
        return self.path / "last.safetensors"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation.json"

    @property
    def trials(self) -> Path:
        return self.path / "search" / "trials.json"

    @property
    def plot(self) -> Path:
        return self.path / "search" / "search.svg"

    def lock(self) -> AbstractContextManager[None]:
        """Refuse other processes while the block runs; raises RunError if one is there already."""
        return locked(self.path)

    def discard(self) -> None:
        """Remove the folder of a run that could not begin: it holds nothing but its lock."""
        with suppress(OSError):
            (self.path / LOCK).unlink()
            self.path.rmdir()
            if self.path.parent == RUNS:
                RUNS.rmdir()  # only if this was to be the first run

    def read_config(self) -> dict[str, Any]:
        """config.json. Raises RunError if it is damaged or lacks what a run needs."""
        config = read_json(self.config)
        data = config["data"] if isinstance(config.get("data"), dict) else {}
        wrong = [name for name, kind in _CONFIG.items() if not isinstance(config.get(name, ...), kind)]
        wrong += [f"data.{name}" for name, kind in _CONFIG_DATA.items() if not isinstance(data.get(name, ...), kind)]
        if wrong:
            raise RunError(f"{self.config} does not fit this version of foveal: it has no usable {', '.join(wrong)}")
        return config

    def read_evaluation(self) -> dict[str, Any] | None:
        """The test results of the weights in model.safetensors, or None before they are there. Raises RunError."""
        evaluation = read_json(self.evaluation) if self.evaluation.is_file() else {}
        return evaluation if evaluation and evaluation.get("model_sha256") == self.model_sha256() else None

    def read_search(self) -> dict[str, Any] | None:
        """What `write_search` wrote, None if nothing. Raises RunError."""
        if not self.trials.is_file():
            return None
        found = read_json(self.trials)
        wrong = [name for name, kind in _SEARCH.items() if not isinstance(found.get(name), kind)]
        if wrong:
            raise RunError(f"{self.trials} is damaged: it has no usable {', '.join(wrong)}; remove it to search anew")
        return found

    def write_search(self, found: Mapping[str, Any]) -> None:
        """Write the trials of the search so far."""
        self._write_of_search(self.trials, _pretty(found))

    def write_plot(self, picture: bytes) -> None:
        """Write the plot of the search."""
        self._write_of_search(self.plot, picture)

    def _write_of_search(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot create {path.parent}: {error.strerror}") from None
        write_atomic(path, data)

    def write_config(self, config: Mapping[str, Any]) -> None:
        write_atomic(self.config, _pretty(config))

    def write_evaluation(self, evaluation: Mapping[str, Any]) -> None:
        """Write what the test part says of the weights in model.safetensors."""
        write_atomic(self.evaluation, _pretty({**evaluation, "model_sha256": self.model_sha256()}))

    def write_metrics(self, rows: Sequence[EpochRow]) -> None:
        """The whole of metrics.csv; called with the rows of a checkpoint, so the two always agree."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(_COLUMNS)
        for row in rows:
            seconds = {"seconds": round(row.seconds, 3), "images_per_second": round(row.images_per_second, 1)}
            values = {**dataclasses.asdict(row), **seconds}
            table.writerow("" if values[name] is None else values[name] for name in _COLUMNS)
        write_atomic(self.metrics, text.getvalue().encode())

    def write_model(self, data: bytes) -> str:
        """Write model.safetensors and return its SHA-256."""
        write_atomic(self.model, data)
        return hashlib.sha256(data).hexdigest()

    def write_checkpoint(self, data: bytes) -> None:
        write_atomic(self.checkpoint, data)

    def model_sha256(self) -> str | None:
        """SHA-256 of model.safetensors, None while there is none."""
        return hashlib.sha256(self.model.read_bytes()).hexdigest() if self.model.is_file() else None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises RunError."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: {error}") from None
    if not isinstance(value, dict):
        raise RunError(f"{path} is damaged: not a JSON object")
    return value


def _make(path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
    except FileExistsError:
        if not path.parent.is_dir():  # a file is in the way
            raise RunError(f"cannot create {path}: {path.parent} is a file") from None
        if _abandoned(path):
            return path
        resume = f", or continue it with {RunFolder(path).resume_command}" if RunFolder(path).config.is_file() else ""
        raise UsageError(f"{path} exists already; choose another name{resume}") from None
    except OSError as error:
        raise RunError(f"cannot create {path}: {error.strerror}") from None
    return path


def _abandoned(path: Path) -> bool:
    """Whether a folder is what a run left that was killed before it had begun: a lock, no file that is whole."""
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    return LOCK in names and all(name == LOCK or name.endswith(TEMPORARY) for name in names)


def _pretty(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
