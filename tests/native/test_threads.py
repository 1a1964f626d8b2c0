"""Threads: how many by default, and that plans stay right in several Python threads and in forked children."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import foveal as fv
from foveal.kernels import default_threads, resolve_isa, resolve_threads
from foveal.kernels.machine import available_isas

NET = fv.Sequential(
    fv.Conv2d(16, 3, padding=1), fv.BatchNorm(), fv.ReLU(), fv.Dropout(0.2), fv.GlobalAvgPool(), fv.Dense(4)
)
SHAPE, BATCH, STEPS = (3, 12, 12), 24, 60


def trained(seed: int, threads: int = 2) -> bytes:
    """The parameters after some steps, and whether the loss moved is checked here."""
    random = np.random.default_rng(seed)
    x, y = random.standard_normal((BATCH, *SHAPE), np.float32), random.integers(0, 4, BATCH)
    plan = fv.Plan(NET, SHAPE, BATCH, fv.Momentum(), seed, threads)
    losses = [plan.train_step(x, y, lr=0.05) for _ in range(STEPS)]
    assert losses[-1] < losses[0]
    return b"".join(value.tobytes() for value in plan.state_dict().values())


def test_plans_in_several_python_threads_do_not_disturb_each_other() -> None:
    alone = [trained(seed) for seed in range(4)]
    together: dict[int, bytes] = {}

    def train(seed: int) -> None:
        together[seed] = trained(seed)

    workers = [threading.Thread(target=train, args=(seed,)) for seed in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert [together[seed] for seed in range(4)] == alone


def test_a_step_runs_without_the_gil() -> None:
    """Another Python thread goes on while a long step runs: seen from inside the one native call."""
    net = fv.Sequential(fv.Conv2d(64, 5, padding=2), fv.ReLU(), fv.Conv2d(64, 5, padding=2), fv.GlobalAvgPool())
    plan = fv.Plan(net, (3, 48, 48), 64, fv.SGD(), threads=1)
    pixels, one = np.zeros((64, 48, 48, 3), np.uint8), np.ones(3, np.float32)
    source = plan.attach(pixels, np.zeros(64, np.int32), one, one)
    program = source.training
    assert program is not None
    ticks, stop = [0], threading.Event()

    def tick() -> None:
        while not stop.wait(1e-3):
            ticks[0] += 1

    ticker = threading.Thread(target=tick)
    ticker.start()
    counts = []
    for _ in range(3):
        began = time.perf_counter()
        before = ticks[0]
        program._native.run(0, len(program.steps), 1, 64, 0.0, 1, 0, 0, 0)  # type: ignore[union-attr]
        counts.append((ticks[0] - before, time.perf_counter() - began))
    stop.set()
    ticker.join()
    assert max(count for count, _ in counts) >= 5, counts  # a step takes some hundred milliseconds


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("busy", [False, True], ids=["idle_pool", "pool_in_use"])
def test_a_forked_child_trains_too(busy: bool) -> None:
    """In a process of its own: forking the test's would warn of its threads."""
    program = f"""
import os, sys, threading, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_threads import trained
alone = trained(1)
stop = threading.Event()
def work():
    while not stop.is_set():
        trained(2)
worker = threading.Thread(target=work)
if {busy}:
    worker.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        os._exit(0 if trained(1) == alone else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
assert trained(1) == alone
print("the same in parent and children")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout == "the same in parent and children\n", done.stderr


def test_many_more_threads_than_processors() -> None:
    assert trained(3, threads=3 * (os.cpu_count() or 1) + 1) == trained(3, threads=1)


# ---- how many


def cgroup_files(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("process", "files", "threads"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/job\n", {"job/cpu.max": "150000 100000\n"}, 2),
        ("0::/job/part\n", {"job/cpu.max": "300000 100000\n", "job/part/cpu.max": "max 100000\n"}, 3),
        ("0::/job\n", {"job/cpu.max": "5000 100000\n"}, 1),
        ("0::/job\n", {"job/cpu.max": "6400000 100000\n"}, 8),
        ("4:cpu,cpuacct:/job\n", {"cpu/job/cpu.cfs_quota_us": "400000", "cpu/job/cpu.cfs_period_us": "100000"}, 4),
        ("4:cpu,cpuacct:/job\n", {"cpu/job/cpu.cfs_quota_us": "-1", "cpu/job/cpu.cfs_period_us": "100000"}, 8),
        ("3:memory:/job\n", {"memory/job/cpu.max": "100000 100000"}, 8),
        ("", {}, 8),
    ],
    ids=[
        "v2_no_limit", "v2_limit", "v2_limit_of_one_and_a_half", "v2_limit_further_up", "v2_less_than_one",
        "v2_more_than_there_are", "v1_limit", "v1_no_limit", "v1_other_controller", "no_cgroups",
    ],
)  # fmt: skip
def test_default_threads_respect_quotas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: str, files: dict[str, str], threads: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    cgroup_files(tmp_path / "cgroup", files)
    (tmp_path / "self").write_text(process)
    assert default_threads(tmp_path / "cgroup", tmp_path / "self") == threads


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_default_threads_respect_affinity(tmp_path: Path) -> None:
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert default_threads(tmp_path, tmp_path / "none") == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert default_threads(tmp_path, tmp_path / "none") == len(allowed)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_a_number_of_threads_that_cannot_be_is_refused(threads: object) -> None:
    with pytest.raises(fv.UsageError, match=r"threads must be (an integer )?from 1 to 1024"):
        resolve_threads(threads)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["0", "-2", "two", "1.5"])
def test_the_environment_is_checked_too(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("FOVEAL_THREADS", text)
    with pytest.raises(fv.UsageError, match=r"FOVEAL_THREADS must be (a number )?from 1 to 1024"):
        resolve_threads()


def test_an_instruction_set_that_the_processor_lacks_is_refused_by_name() -> None:
    missing = next(name for name in ("neon", "avx512", "avx2") if name not in available_isas())
    with pytest.raises(fv.UsageError, match=f"this processor has no {missing}; it has .*{available_isas()[0]}"):
        resolve_isa(missing)
    with pytest.raises(fv.UsageError, match="did you mean avx512"):
        resolve_isa("avx51")
