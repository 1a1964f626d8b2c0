"""A small run on the built-in digits, made once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_training import QUIET, SETTINGS

from foveal.fitting import fit_settings
from foveal.run import Run
from foveal.run.checkpoint import read_checkpoint
from foveal.train.settings import TrainSettings


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three epochs of eight steps, never interrupted."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    run = fit_settings(TrainSettings(**SETTINGS), "digits", run_dir=folder, watch=QUIET)
    assert run.progress.best_epoch == 2, "choose another seed, so that the last epoch is not the best"
    return run


Result = dict[str, Any]


@pytest.fixture(scope="session")
def result_of() -> Callable[[Path], Result]:
    """All that a run leaves behind, but for what measures time."""

    def result(path: Path) -> Result:
        state, progress = read_checkpoint(path / "last.safetensors")
        progress.seconds = progress.epoch_seconds = 0
        metrics = [line.rsplit(",", 2)[0] for line in (path / "metrics.csv").read_text().splitlines()]
        rows = [str(row).partition(", seconds=")[0] for row in progress.rows]
        progress.rows = []
        return {
            "model": (path / "model.safetensors").read_bytes(),
            "state": {name: np.asarray(value).tobytes() for name, value in state.items()},
            "progress": progress,
            "rows": rows,
            "metrics": metrics,
            "evaluation": (path / "evaluation.json").read_text(),
        }

    return result
