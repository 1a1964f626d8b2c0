"""The search at work: the same answer whoever runs the trials and however often it is killed, and nothing touched."""

import dataclasses
import json
import math
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foveal
from foveal.data import Dataset, load_dataset
from foveal.errors import DataError, RunError
from foveal.fitting import Watch, fit_settings, search_settings
from foveal.layers import BatchNorm, Conv2d, Dense, Flatten, GlobalAvgPool, ReLU, Residual, Sequential
from foveal.lrsearch import NothingTrainedError, Result, Search, State, Trial, observe, propose
from foveal.plan import Plan
from foveal.run import RunFolder
from foveal.search import find_rate
from foveal.search import run as search_run
from foveal.search.data import with_held_out
from foveal.search.run import Found, job_of, search_of
from foveal.search.trials import Half, Job, PlanState, run_half, settle_statistics
from foveal.train.interrupt import Interrupted
from foveal.train.session import Session
from foveal.train.settings import TrainSettings

GUESS = math.log(10)
SMALL: dict[str, Any] = {"model": "mlp", "width": 0.1, "batch_norm": True, "epochs": 6, "augment": "shift", "seed": 5}


def processes(workers: int) -> Executor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("fork"))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", seed=5)


def session_of(data: Dataset, threads: int = 1, isa: str | None = None, **settings: Any) -> Session:
    resolved = TrainSettings(**{**SMALL, **settings}, threads=threads, isa=isa).resolved(train_count=len(data.train))
    net = foveal.models.build("mlp", 10, input_shape=(1, 8, 8), width=0.1, batch_norm=True)
    return Session(net, foveal.Momentum(), resolved, data)


def new_folder(path: Path) -> RunFolder:
    return RunFolder.create("search", path)


def answer(found: Found) -> dict[str, Any]:
    return {**found.to_json(), "seconds": None}


@pytest.fixture(scope="module")
def whole(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one worker finds, undisturbed."""
    return answer(find_rate(session_of(digits), new_folder(tmp_path_factory.mktemp("whole") / "run"), workers=1))


def test_it_finds_a_rate_that_trains(whole: dict[str, Any], digits: Dataset, tmp_path: Path) -> None:
    assert whole["evidence"] == "strong"
    assert whole["bracket"][0] < whole["lr"] < whole["bracket"][1]
    fit = {name: value for name, value in SMALL.items() if name != "model"}
    run = foveal.fit("mlp", digits, run_dir=tmp_path / "run", progress=False, lr=whole["lr"], **fit)
    assert (run.summary()["test_accuracy"] or 0) > 0.9


@pytest.mark.parametrize(
    ("workers", "threads", "executor"),
    [(2, 2, ThreadPoolExecutor), (3, 1, ThreadPoolExecutor), (2, 1, processes)],
    ids=["2 threads", "3 threads", "2 processes"],
)
def test_the_answer_does_not_depend_on_the_workers(
    whole: dict[str, Any], digits: Dataset, tmp_path: Path, workers: int, threads: int, executor: Any
) -> None:
    session = session_of(digits, threads)
    assert answer(find_rate(session, new_folder(tmp_path / "run"), workers=workers, executor=executor)) == whole


def test_another_seed_tries_other_rates(whole: dict[str, Any], digits: Dataset, tmp_path: Path) -> None:
    other = find_rate(session_of(digits, seed=6), new_folder(tmp_path / "run"), workers=2)
    assert not {t["lr"] for t in other.trials} & {t["lr"] for t in whole["trials"]}


def test_the_session_is_left_as_it_was(digits: Dataset, tmp_path: Path) -> None:
    session = session_of(digits)
    before = {name: value.copy() for name, value in session.plan.state_dict().items()}
    pixels = digits.train.pixels.copy()
    find_rate(session, new_folder(tmp_path / "run"))
    after = session.plan.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert session.plan.updates == 0
    assert np.array_equal(pixels, digits.train.pixels)


def test_training_with_the_found_rate_given_by_hand_ends_with_the_same_bits(tmp_path: Path) -> None:
    quiet = Watch(progress=False)
    searched = fit_settings(TrainSettings(**SMALL), "digits", run_dir=tmp_path / "auto", watch=quiet)
    rate = searched.config["settings"]["lr"]
    assert searched.config["search"]["lr"] == rate == searched.summary()["lr"]
    assert searched.summary()["search_cost"] == searched.config["search"]["cost"] > 0
    by_hand = fit_settings(TrainSettings(**SMALL, lr=rate), "digits", run_dir=tmp_path / "hand", watch=quiet)
    assert (tmp_path / "auto/model.safetensors").read_bytes() == (tmp_path / "hand/model.safetensors").read_bytes()
    assert by_hand.summary()["search_cost"] == 0


def test_the_cost_counts_every_image(whole: dict[str, Any], digits: Dataset) -> None:
    full = 6 * (len(digits.train) + len(digits.validation or ()))
    assert whole["cost"] == pytest.approx(sum(t["passes"] for t in whole["trials"]) / full)
    assert 0.2 < whole["cost"] < 1.5


# ---- what is held out


def test_trials_are_scored_on_images_they_never_train_on(digits: Dataset) -> None:
    data = with_held_out(dataclasses.replace(digits, validation=None), 0)
    assert data.validation is not None
    assert data.test is None
    assert len(data.train) + len(data.validation) == len(digits.train)
    assert len(data.validation) >= 190
    trained = {image.tobytes() for image in data.train.pixels}
    assert not any(image.tobytes() in trained for image in data.validation.pixels)
    assert min(data.validation.counts) > 0


def test_a_validation_part_that_is_large_enough_is_taken_as_it_is(digits: Dataset) -> None:
    data = load_dataset("digits", validation=0.3)
    assert with_held_out(data, 0).validation is data.validation
    assert with_held_out(data, 0).train is data.train


def test_a_handful_of_images_is_refused_in_one_line(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (4, 8, 8), np.uint8)
    data = load_dataset((x, [0, 0, 1, 2]), validation=0, test=0)
    net = Sequential(Flatten(), Dense(3))
    session = Session(net, foveal.SGD(), TrainSettings(model="custom").resolved(train_count=4), data)
    with pytest.raises(DataError, match=r"too few images to search for a learning rate.*--lr"):
        find_rate(session, new_folder(tmp_path / "run"))


def test_forty_images_are_enough_for_a_sensible_answer(tmp_path: Path) -> None:
    random_ = np.random.default_rng(0)
    labels = np.arange(40) % 2
    x = np.clip(random_.normal(100 + 60 * labels[:, None, None], 30, (40, 16, 16)), 0, 255).astype(np.uint8)
    run = foveal.fit("lenet", (x, labels), run_dir=tmp_path / "run", progress=False)
    assert 1e-4 < run.summary()["lr"] < 1
    assert (run.summary()["test_accuracy"] or 0) >= 0.75


def test_a_network_that_cannot_learn_is_told(digits: Dataset, tmp_path: Path) -> None:
    resolved = TrainSettings(model="custom", epochs=2).resolved(train_count=len(digits.train))
    net = Sequential(Flatten(), Dense(10, bias=False), ReLU(), Dense(10, bias=False))
    blank = dataclasses.replace(digits.train, pixels=np.zeros_like(digits.train.pixels))
    still = dataclasses.replace(digits.preprocess, mean=(0.0,), deviation=(1.0,))
    data = dataclasses.replace(digits, train=blank, validation=None, test=None, preprocess=still)
    with pytest.raises((NothingTrainedError, DataError)):
        find_rate(Session(net, foveal.SGD(), resolved, data), new_folder(tmp_path / "run"))


# ---- batch normalization


def test_statistics_are_freed_of_what_they_began_with() -> None:
    net = Sequential(
        Conv2d(4, 3), BatchNorm(momentum=0.2), ReLU(), Residual(Sequential(Conv2d(4, 1), BatchNorm())), GlobalAvgPool(),
        Dense(3),
    )  # fmt: skip
    plan = Plan(net, (1, 6, 6), 8, foveal.SGD(), seed=1)
    first = plan.state_dict()
    random_ = np.random.default_rng(0)
    x, y = random_.normal(3, 2, (8, 1, 6, 6)).astype(np.float32), random_.integers(0, 3, 8)
    for _ in range(4):
        plan.train_step(x, y, 0.0)  # the weights stay, so each batch has the same statistics
    biased = plan.params["1.running_mean"]
    settle_statistics(plan, first, 4)
    inner = x.astype(np.float64)
    weights = plan.params["0.weight"].astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(inner, (3, 3), axis=(2, 3))[:, 0]
    maps = np.einsum("nhwij,oij->nohw", windows, weights[:, 0]) + plan.params["0.bias"][None, :, None, None]
    np.testing.assert_allclose(plan.params["1.running_mean"], maps.mean(axis=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(plan.params["1.running_var"], maps.var(axis=(0, 2, 3), ddof=1), rtol=1e-4)
    np.testing.assert_allclose(biased, (1 - 0.8**4) * maps.mean(axis=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert (plan.params["3.body.1.running_var"] >= 0).all()
    assert not np.allclose(plan.params["3.body.1.running_var"], first["3.body.1.running_var"])


def test_a_trial_in_halves_is_a_trial_in_one(digits: Dataset) -> None:
    session = session_of(digits)
    job = job_of(session, search_of(session).guess, 1)
    trial = Trial(0, 0, 0.05, 0.2, 77)
    first = run_half(job, trial, 1)
    assert first.state is not None
    second, again = run_half(job, trial, 2, first.state), run_half(job, trial, 2)
    assert second.result == again.result
    assert second.result.score is not None
    assert again.passes == second.passes  # so that the cost is the same after a kill


# ---- killed, interrupted, damaged

CHILD = """
import json, sys
from pathlib import Path
from foveal.fitting import Watch, resume_search, search_settings
from foveal.train.events import TrialDone
from foveal.train.settings import TrainSettings

def listen(event, said=[]):
    if isinstance(event, TrialDone) and not said:
        said.append(print("searching", flush=True))

watch = Watch(progress=False, listeners=[listen])
if Path(sys.argv[1], "config.json").exists():
    resume_search(sys.argv[1], watch=watch)
else:
    search_settings(TrainSettings(**json.loads(sys.argv[2])), "digits", run_dir=sys.argv[1], watch=watch)
"""


def test_killed_at_ten_random_moments_and_resumed(tmp_path: Path) -> None:
    settings = {**SMALL, "width": 0.5, "epochs": 40, "threads": 1, "workers": 2}
    found, _ = search_settings(
        TrainSettings(**settings), "digits", run_dir=tmp_path / "whole", watch=Watch(progress=False)
    )
    whole = found.to_json()
    out, moment, kills, inside = tmp_path / "run", random.Random(3), 0, 0
    command = [sys.executable, "-c", CHILD, str(out), json.dumps(settings)]
    while kills < 10:
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            if child.stdout.readline() != "searching\n":
                raise AssertionError(f"the search ended after {kills} kills")
            time.sleep(moment.uniform(0, whole["seconds"] / 14))
            child.send_signal(signal.SIGKILL)
        kills += child.returncode == -signal.SIGKILL
        done = RunFolder(out).read_search()
        inside += done is not None and 0 < len(done["results"]) < len(whole["trials"])
    assert inside >= 8
    subprocess.run(command, check=True, timeout=120)
    ended = json.loads((out / "config.json").read_text())["search"]
    assert {**ended, "seconds": 0} == {**whole, "seconds": 0}


def die_once(job: Job, trial: Trial, half: int, begun: PlanState | None = None) -> Half:
    """run_half in a process that is killed the first time it is given trial 0.2."""
    marker = Path(os.environ["DIED"])
    if trial.key == "0.2" and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return run_half(job, trial, half, begun)


def die(job: Job, trial: Trial, half: int, begun: PlanState | None = None) -> Half:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def test_a_worker_that_dies_is_replaced(
    whole: dict[str, Any], digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIED", str(tmp_path / "died"))
    monkeypatch.setattr(search_run, "run_half", die_once)
    found = find_rate(session_of(digits), new_folder(tmp_path / "run"), workers=2, executor=processes)
    assert (tmp_path / "died").exists()
    assert answer(found) == whole


def test_workers_that_keep_dying_end_the_search_in_one_line(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_run, "run_half", die)
    with pytest.raises(RunError, match="died 3 times"):
        find_rate(session_of(digits), new_folder(tmp_path / "run"), workers=2, executor=processes)


def test_interrupted_it_keeps_what_is_done(digits: Dataset, tmp_path: Path, whole: dict[str, Any]) -> None:
    def listen(event: object) -> None:
        if type(event).__name__ == "TrialDone" and not done:
            done.append(event)
            os.kill(os.getpid(), signal.SIGINT)

    done: list[object] = []
    folder = new_folder(tmp_path / "run")
    with pytest.raises(Interrupted, match="trials of the search, which are kept; continue with foveal train --resume"):
        find_rate(session_of(digits), folder, workers=1, listeners=[listen])
    kept = folder.read_search()
    assert kept is not None
    assert 1 <= len(kept["results"]) < len(whole["trials"])
    assert answer(find_rate(session_of(digits), folder, workers=1)) == whole


def test_trials_of_another_search_are_refused(digits: Dataset, tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run")
    find_rate(session_of(digits), folder)
    with pytest.raises(RunError, match="holds another search"):
        find_rate(session_of(digits, seed=9), folder)


def test_damaged_trials_are_refused(digits: Dataset, tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run")
    folder.write_search({"search": {}, "seconds": 0, "results": []})
    folder.trials.write_text(folder.trials.read_text()[:-10])
    with pytest.raises(RunError, match=r"trials\.json is damaged"):
        find_rate(session_of(digits), folder)


def test_trials_without_what_they_need_are_refused(digits: Dataset, tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "run")
    find_rate(session_of(digits), folder)
    kept = folder.read_search()
    assert kept is not None
    del kept["results"][3]["seed"]
    folder.write_search(kept)
    with pytest.raises(RunError, match=r"trials\.json is damaged: remove it"):
        find_rate(session_of(digits), folder)


def test_weights_that_know_something_are_to_be_improved(digits: Dataset, tmp_path: Path) -> None:
    """Short trainings only spoil them; so a rate that changes nothing would look best."""
    options: dict[str, Any] = {"epochs": 4, "progress": False}
    begun = foveal.fit("mlp", digits, width=0.1, lr=0.05, run_dir=tmp_path / "first", **{**options, "epochs": 1})
    run = foveal.fit("mlp", digits, width=0.1, init_from=begun.path, run_dir=tmp_path / "second", **options)
    search = run.config["search"]
    before = begun.evaluate(digits.validation).loss  # type: ignore[arg-type]
    assert before is not None
    assert min(t["score"] for t in search["trials"] if t["score"] is not None) < before
    assert search["lr"] > 1e-3


def test_weights_that_nothing_improves_are_spoilt_least_and_it_says_so() -> None:
    search, state = Search(GUESS, known=1.8), State()
    for half in (1, 2):
        trials = propose(Search(GUESS), state)
        assert {t.rung for t in trials} == {0}
        scores = {t.key: 1.9 + 0.05 * abs(math.log10(t.lr) + 4) for t in trials}
        state = observe(state, [Result(t, half, scores[t.key], scores[t.key] if half == 2 else None) for t in trials])
    answer = search_run._answer(search, state)
    assert answer.evidence == "weak"
    assert answer.reason == "no short training improved on the weights that it started from"
    assert 1e-5 < answer.lr < 1e-3
    with pytest.raises(NothingTrainedError):
        search_run._answer(dataclasses.replace(search, guess=1.8, known=None), state)
