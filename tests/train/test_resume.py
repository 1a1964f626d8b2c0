"""A run that is killed anywhere and resumed ends in the same bits as one that was never interrupted."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_training import QUIET, SETTINGS

import foveal
from foveal.errors import RunError, UsageError
from foveal.fitting import Watch, fit_settings, resume
from foveal.kernels import available_isas
from foveal.optim import OPTIMIZERS, Schedule
from foveal.optim.schedules import NAMES
from foveal.run import Run
from foveal.run.checkpoint import Progress, pack_checkpoint, read_checkpoint
from foveal.train.events import BatchDone, Warned
from foveal.train.interrupt import Interrupted
from foveal.train.settings import TrainSettings

EXACT = next(isa for isa in available_isas() if isa not in ("baseline", "reference"))

# Trains in the folder argv[1] until it kills itself: "step N" right after update N; "file NAME K" between writing the
# temporary file and renaming it, at the K-th writing of that file; "after NAME K" right after that renaming.
CHILD = """
import json, os, signal, sys
from foveal.fitting import Watch, fit_settings
from foveal.train.events import BatchDone
from foveal.train.settings import TrainSettings

out, settings, every, what, *where = sys.argv[1:]
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
def listen(event):
    if what == "step" and isinstance(event, BatchDone) and event.updates == int(where[0]):
        die()
replace, written = os.replace, []
def watched(source, target):
    name = os.path.basename(target)
    hit = what in ("file", "after") and name == where[0] and written.count(name) + 1 == int(where[1])
    written.append(name)
    if hit and what == "file":
        die()
    replace(source, target)
    if hit:
        die()
os.replace = watched
watch = Watch(progress=False, listeners=[listen], checkpoint_every=float(every))
fit_settings(TrainSettings(**json.loads(settings)), "digits", run_dir=out, watch=watch)
"""


def killed(out: Path, *how: str, every: float = 0, **settings: Any) -> Path:
    """A run folder as a killed process leaves it."""
    command = [
        sys.executable,
        "-c",
        CHILD,
        str(out),
        json.dumps({**SETTINGS, "threads": 1, **settings}),
        str(every),
        *how,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return out


@pytest.mark.parametrize(
    "how",
    [
        ("step", "1"),
        ("step", "5"),
        ("step", "8"),
        ("step", "9"),
        ("step", "24"),
        ("file", "last.safetensors", "1"),
        ("file", "last.safetensors", "7"),
        ("file", "last.safetensors", "8"),
        ("file", "model.safetensors", "1"),
        ("after", "model.safetensors", "1"),
        ("after", "model.safetensors", "2"),
        ("after", "last.safetensors", "8"),
        ("file", "metrics.csv", "2"),
        ("file", "metrics.csv", "4"),
        ("file", "evaluation.json", "1"),
    ],
    ids=" ".join,
)
def test_killed_and_resumed_to_the_same_bits(
    tmp_path: Path, small_run: Run, result_of: Callable[[Path], Any], how: tuple[str, ...]
) -> None:
    out = killed(tmp_path / "run", *how)
    resume(out, threads=2, watch=QUIET)
    assert result_of(out) == result_of(small_run.path)


def test_killed_before_any_checkpoint_in_a_long_epoch(
    tmp_path: Path, small_run: Run, result_of: Callable[[Path], Any]
) -> None:
    out = killed(tmp_path / "run", "step", "6", every=1e9)
    assert not (out / "last.safetensors").exists()
    resume(out, watch=QUIET)
    assert result_of(out) == result_of(small_run.path)


@pytest.mark.parametrize("more", [{"augment": "standard,cutout"}, {"augment": "cutout", "fraction": 0.6}], ids=str)
def test_killed_with_cutout_and_a_part_of_the_images(
    tmp_path: Path, small_run: Run, result_of: Callable[[Path], Any], more: dict[str, Any]
) -> None:
    whole = fit_settings(TrainSettings(**{**SETTINGS, **more}), "digits", run_dir=tmp_path / "whole", watch=QUIET)
    out = killed(tmp_path / "run", "step", "7", **more)
    resume(out, threads=2, watch=QUIET)
    assert result_of(out) == result_of(whole.path)
    assert result_of(out)["model"] != result_of(small_run.path)["model"]


@pytest.mark.parametrize(
    ("model", "choices"),
    [
        ("lenet", {"optimizer": "adam"}),
        ("resnet", {"optimizer": "adam"}),
        *(("mlp", {"optimizer": name, "weight_decay": 0.01}) for name in OPTIMIZERS),
        ("mlp", {"clip_norm": 0.1, "max_norm": 0.5}),
        ("mlp", {"label_smoothing": 0.2, "class_weight": "balanced"}),
        *(("mlp", {"schedule": name, "warmup": 0.1 * (name != "one-cycle")}) for name in NAMES),
    ],
    ids=str,
)
def test_killed_with_any_choice_and_steps(
    tmp_path: Path, result_of: Callable[[Path], Any], model: str, choices: dict[str, Any]
) -> None:
    settings = {
        **SETTINGS, "momentum": None, "lr": 0.01, "epochs": None, "steps": 13, "schedule": "cosine", "model": model,
        **choices,
    }  # fmt: skip
    whole = fit_settings(TrainSettings(**settings), "digits", run_dir=tmp_path / "whole", watch=QUIET)
    out = killed(tmp_path / "run", "step", "10", **settings)
    resume(out, watch=QUIET)
    assert result_of(out) == result_of(whole.path)
    assert resume(out, watch=QUIET).summary()["steps"] == 13
    rule = OPTIMIZERS[settings["optimizer"]] if "optimizer" in settings else foveal.Momentum
    state, _ = read_checkpoint(out / "last.safetensors")
    kept = {name.split(".")[1] for name, value in state.items() if name.startswith("optimizer.") and value.any()}
    assert kept == set(rule.state), "the optimizer's state is in the checkpoint"


def test_the_bits_depend_on_the_seed_and_training_moves_the_loss(tmp_path: Path, small_run: Run) -> None:
    other = fit_settings(TrainSettings(**{**SETTINGS, "seed": 4}), "digits", run_dir=tmp_path / "b", watch=QUIET)
    assert other.summary()["model_sha256"] != small_run.summary()["model_sha256"]
    assert small_run.metrics[-1].train_loss < 0.8 * small_run.metrics[0].train_loss


def test_the_same_settings_give_the_same_files(
    tmp_path: Path, small_run: Run, result_of: Callable[[Path], Any]
) -> None:
    watch = Watch(progress=False, checkpoint_every=0)
    again = fit_settings(TrainSettings(**SETTINGS, threads=1), "digits", run_dir=tmp_path / "b", watch=watch)
    assert result_of(again.path) == result_of(small_run.path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed_to_the_same_bits(
    tmp_path: Path, small_run: Run, result_of: Callable[[Path], Any], number: int
) -> None:
    def strike(event: object) -> None:
        if isinstance(event, BatchDone) and event.updates == 11:
            os.kill(os.getpid(), number)

    out = tmp_path / "run"
    watch = Watch(progress=False, listeners=[strike])
    with pytest.raises(Interrupted, match=f"after step 11 and saved; continue with foveal train --resume {out}"):
        fit_settings(TrainSettings(**SETTINGS), "digits", run_dir=out, watch=watch)
    resume(out, watch=QUIET)
    assert result_of(out) == result_of(small_run.path)


def copy(run: Run, to: Path) -> Path:
    return Path(shutil.copytree(run.path, to))


def test_a_finished_run_is_returned_as_it_is(tmp_path: Path, small_run: Run) -> None:
    out = copy(small_run, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.name != ".lock"}
    assert resume(out, watch=QUIET).summary()["steps"] == 24
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.name != ".lock"} == before


@pytest.mark.parametrize("schedule", NAMES)
def test_an_extended_schedule_covers_the_new_total(tmp_path: Path, schedule: str) -> None:
    """What is done stays; the rates of what is added are those of the longer training."""
    settings = {**SETTINGS, "lr": 0.01, "epochs": 2, "schedule": schedule}
    out = fit_settings(TrainSettings(**settings), "digits", run_dir=tmp_path / "run", watch=QUIET).path
    heard: list[BatchDone] = []
    watch = Watch(progress=False, listeners=[lambda event: heard.append(event) if isinstance(event, BatchDone) else 0])
    resume(out, more_epochs=1, watch=watch)
    assert [event.lr for event in heard] == [Schedule(schedule).rate(0.01, step, 24) for step in range(16, 24)]


def test_more_epochs_extend_a_run(tmp_path: Path, small_run: Run) -> None:
    out = copy(small_run, tmp_path / "run")
    run = resume(out, more_epochs=2, watch=QUIET)
    assert [row.step for row in run.metrics] == [8, 16, 24, 32, 40]
    assert run.metrics[:3] == small_run.metrics
    assert run.config["settings"]["epochs"] == 5


class Killed(BaseException):
    """What a kill looks like from the inside: nothing catches it."""


def kill_at(update: int) -> Watch:
    def listen(event: object) -> None:
        if isinstance(event, BatchDone) and event.updates == update:
            raise Killed

    return Watch(progress=False, listeners=[listen], checkpoint_every=1e9)


@pytest.mark.parametrize("update", [25, 31, 33, 40])
def test_an_extension_that_is_killed_goes_on(
    tmp_path: Path, small_run: Run, result_of: Callable[[Path], Any], update: int
) -> None:
    whole, out = copy(small_run, tmp_path / "whole"), copy(small_run, tmp_path / "run")
    resume(whole, more_epochs=2, watch=QUIET)
    with pytest.raises(Killed):
        resume(out, more_epochs=2, watch=kill_at(update))
    assert foveal.load_run(out).summary()["test_accuracy"] == small_run.summary()["test_accuracy"]
    resume(out, watch=QUIET)
    assert result_of(out) == result_of(whole)
    assert json.loads((out / "evaluation.json").read_text()) == json.loads((whole / "evaluation.json").read_text())


def test_a_test_result_of_other_weights_is_not_shown(tmp_path: Path, small_run: Run) -> None:
    out = copy(small_run, tmp_path / "run")
    evaluation = json.loads((out / "evaluation.json").read_text())
    (out / "evaluation.json").write_text(json.dumps({**evaluation, "accuracy": 0.123, "model_sha256": "of another"}))
    assert foveal.load_run(out).summary()["test_accuracy"] is None
    assert resume(out, watch=QUIET).summary()["test_accuracy"] == evaluation["accuracy"]


def test_an_extension_counts_from_where_training_stopped(tmp_path: Path) -> None:
    settings = TrainSettings(**{**SETTINGS, "epochs": 30, "patience": 1})
    stopped = fit_settings(settings, "digits", run_dir=tmp_path / "run", watch=QUIET)
    done = len(stopped.metrics)
    assert done < 30
    longer = resume(stopped.path, more_epochs=1, watch=QUIET)
    assert longer.summary()["epochs"] == longer.config["settings"]["epochs"] == done + 1


def test_data_that_are_split_otherwise_are_refused(tmp_path: Path) -> None:
    settings = TrainSettings(**SETTINGS)
    data = foveal.load_dataset("digits", seed=3)
    with pytest.raises(Killed):
        fit_settings(settings, data, run_dir=tmp_path / "run", watch=kill_at(12))
    for other in (foveal.load_dataset("digits", seed=7), foveal.load_dataset("digits", seed=3, validation=0)):
        with pytest.raises(RunError, match="were split differently when it was begun"):
            resume(tmp_path / "run", data=other, watch=QUIET)
    with pytest.raises(RunError, match="given its data from Python"):
        resume(tmp_path / "run", watch=QUIET)
    assert resume(tmp_path / "run", data=data, watch=QUIET).summary()["steps"] == 24


def test_classes_that_have_other_names_are_refused(tmp_path: Path) -> None:
    data = foveal.load_dataset("digits")
    arrays = {"x_train": data.train.pixels[..., 0], "y_train": data.train.labels}
    np.savez(tmp_path / "d.npz", **arrays)
    settings = TrainSettings(**{**SETTINGS, "batch_size": 100})
    with pytest.raises(Killed):
        fit_settings(settings, tmp_path / "d.npz", run_dir=tmp_path / "run", watch=kill_at(9))
    np.savez(tmp_path / "d.npz", **{**arrays, "y_train": 10 * data.train.labels})
    with pytest.raises(RunError, match=r"the classes of .*run were 0, 1, .* and are 0, 10, .* now; train anew"):
        resume(tmp_path / "run", watch=QUIET)


@pytest.mark.parametrize("isa", ["baseline", "reference"])
def test_a_run_goes_on_with_the_instruction_set_that_its_bits_depend_on(
    tmp_path: Path, result_of: Callable[[Path], Any], isa: str
) -> None:
    settings = TrainSettings(**SETTINGS, isa=isa, threads=1)
    whole = fit_settings(settings, "digits", run_dir=tmp_path / "whole", watch=QUIET)
    out = tmp_path / "run"
    with pytest.raises(Killed):
        fit_settings(settings, "digits", run_dir=out, watch=kill_at(11))
    shutil.copytree(out, tmp_path / "other")
    resumed = resume(out, watch=QUIET)
    assert (resumed.plan.isa, resumed.plan.threads) == (isa, 1)
    assert result_of(out) == result_of(whole.path)
    heard: list[object] = []
    resume(tmp_path / "other", isa=EXACT, watch=Watch(progress=False, listeners=[heard.append]))
    messages = [event.message for event in heard if isinstance(event, Warned)]
    assert any(f"begun with isa {isa} and goes on with {EXACT}" in message for message in messages)


@pytest.mark.parametrize("state", ["finished", "unfinished"])
def test_a_model_that_is_gone_is_said_to_be(tmp_path: Path, small_run: Run, state: str) -> None:
    out = copy(small_run, tmp_path / "run")
    if state == "unfinished":
        shutil.rmtree(out)
        with pytest.raises(Killed):
            fit_settings(TrainSettings(**SETTINGS), "digits", run_dir=out, watch=kill_at(20))
    (out / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"model.safetensors is missing that this run wrote after epoch 2; train anew"):
        resume(out, watch=QUIET)
    with pytest.raises(RunError, match=r"has no model.safetensors"):
        foveal.load_run(out)


def test_a_model_that_was_exchanged_is_said_to_be(tmp_path: Path, small_run: Run) -> None:
    out = copy(small_run, tmp_path / "run")
    other = fit_settings(TrainSettings(**{**SETTINGS, "seed": 4}), "digits", run_dir=tmp_path / "b", watch=QUIET)
    shutil.copy(other.path / "model.safetensors", out)
    with pytest.raises(RunError, match=r"model.safetensors is not the file that this run wrote"):
        resume(out, watch=QUIET)


def test_a_folder_that_a_run_left_before_it_began_is_used(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / ".lock").write_text("1\n")
    (out / "config.json.tmp").write_text("{")
    with pytest.raises(RunError, match="not a run folder"):
        resume(out, watch=QUIET)
    assert fit_settings(TrainSettings(**SETTINGS), "digits", run_dir=out, watch=QUIET).summary()["steps"] == 24


def test_an_extension_is_refused_where_the_model_is_ahead_of_the_checkpoint(tmp_path: Path) -> None:
    out = killed(tmp_path / "run", "after", "model.safetensors", "2")
    with pytest.raises(RunError, match="was killed while saving: finish it first with foveal train --resume"):
        resume(out, more_epochs=1, watch=QUIET)


def test_an_extension_of_counted_steps_is_refused(tmp_path: Path) -> None:
    settings = TrainSettings(**{**SETTINGS, "epochs": None, "steps": 2})
    out = fit_settings(settings, "digits", run_dir=tmp_path / "run", watch=QUIET).path
    with pytest.raises(UsageError, match="counts --steps"):
        resume(out, more_epochs=1, watch=QUIET)


def test_a_run_in_use_is_refused(tmp_path: Path, small_run: Run) -> None:
    out = copy(small_run, tmp_path / "run")
    with foveal.run.RunFolder(out).lock(), pytest.raises(RunError, match="is in use by process"):
        resume(out, watch=QUIET)


def unfinished(run: Run, to: Path) -> Path:
    """The run as it was before its first step."""
    out = copy(run, to)
    (out / "last.safetensors").unlink()
    return out


def test_changed_data_are_refused(tmp_path: Path, small_run: Run) -> None:
    out = unfinished(small_run, tmp_path / "run")
    data = foveal.load_dataset("digits")
    pixels = data.train.pixels.copy()
    pixels[0, 0, 0, 0] ^= 1
    with pytest.raises(RunError, match="are no longer those it was begun with"):
        resume(out, data=foveal.load_dataset((pixels, data.train.labels)), watch=QUIET)


def test_a_run_on_arrays_needs_them_again(tmp_path: Path) -> None:
    data = foveal.load_dataset("digits", seed=3)
    settings = TrainSettings(**{**SETTINGS, "epochs": 1})
    out = fit_settings(settings, data, run_dir=tmp_path / "run", watch=QUIET).path
    (out / "last.safetensors").unlink()
    with pytest.raises(RunError, match="given its data from Python and cannot load them again"):
        resume(out, watch=QUIET)
    assert resume(out, data=data, watch=QUIET).summary()["epochs"] == 1


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path, small_run: Run) -> None:
    out = unfinished(small_run, tmp_path / "run")
    (out / "last.safetensors").write_bytes(pack_checkpoint({"0.weight": np.zeros(3, np.float32)}, Progress()))
    with pytest.raises(RunError, match="does not fit the network in"):
        resume(out, watch=QUIET)


@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"mystery": 1}},
        {"settings": {"epochs": 0}},
        {"settings": None},
        {"spec": {"kind": "Warp"}},
        {"optimizer": {}},
        {"data": {}},
        {"data": None},
    ],
    ids=str,
)
def test_a_config_that_cannot_be_used_is_one_clear_line(tmp_path: Path, small_run: Run, change: dict[str, Any]) -> None:
    out = unfinished(small_run, tmp_path / "run")
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(RunError) as caught:
        resume(out, watch=QUIET)
    assert "\n" not in str(caught.value)


def test_missing_data_are_named(tmp_path: Path, small_run: Run) -> None:
    out = unfinished(small_run, tmp_path / "run")
    config = json.loads((out / "config.json").read_text())
    config["data"]["source"] = str(tmp_path / "gone")
    (out / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"are no longer at .*gone: put them back, or say where they are now"):
        resume(out, watch=QUIET)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path, small_run: Run) -> None:
    out = copy(small_run, tmp_path / "run")
    data = bytearray((out / "last.safetensors").read_bytes())
    data[-1] ^= 1
    (out / "last.safetensors").write_bytes(data)
    with pytest.raises(RunError, match="is damaged"):
        resume(out, watch=QUIET)


def test_metrics_are_rebuilt_from_the_checkpoint(tmp_path: Path, small_run: Run) -> None:
    out = killed(tmp_path / "run", "step", "20")
    (out / "metrics.csv").write_text("nonsense")
    assert len(read_checkpoint(out / "last.safetensors")[1].rows) == 2
    resume(out, watch=QUIET)
    assert len((out / "metrics.csv").read_text().splitlines()) == 4
