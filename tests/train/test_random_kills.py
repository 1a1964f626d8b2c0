"""One run, killed again and again at random moments, ends with the same file as an undisturbed one."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from small_training import QUIET, SETTINGS

from foveal.fitting import fit_settings
from foveal.run.checkpoint import read_checkpoint
from foveal.train.settings import TrainSettings

KILLS = 10
LONG = {**SETTINGS, "width": 0.3, "lr": 0.02, "epochs": 40}

# Begins the run in folder argv[1], or goes on with it; says when the first step is made.
CHILD = """
import json, sys
from pathlib import Path
from foveal.fitting import Watch, fit_settings, resume
from foveal.train.events import BatchDone
from foveal.train.settings import TrainSettings

def listen(event, said=[]):
    if isinstance(event, BatchDone) and not said:
        said.append(print("training", flush=True))

watch = Watch(progress=False, listeners=[listen], checkpoint_every=0)
if Path(sys.argv[1], "config.json").exists():
    resume(sys.argv[1], watch=watch)
else:
    fit_settings(TrainSettings(**json.loads(sys.argv[2])), "digits", run_dir=sys.argv[1], watch=watch)
"""


def test_killed_at_random_moments(tmp_path: Path) -> None:
    began = time.monotonic()
    whole = fit_settings(TrainSettings(**LONG), "digits", run_dir=tmp_path / "whole", watch=QUIET)
    seconds = time.monotonic() - began
    out = tmp_path / "run"
    moment = random.Random(11)
    inside_an_epoch = kills = 0
    for _ in range(3 * KILLS):
        command = [sys.executable, "-c", CHILD, str(out), json.dumps(LONG)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            if child.stdout.readline() != "training\n":  # nothing was left to train
                assert child.wait(timeout=60) == 0
                break
            time.sleep(moment.uniform(0, 1.2 * seconds / KILLS))  # 0.6 of the run in all: it may become faster
            child.send_signal(signal.SIGKILL)
        if child.returncode == -signal.SIGKILL:
            kills += 1
            if (out / "last.safetensors").exists():
                inside_an_epoch += read_checkpoint(out / "last.safetensors")[1].step > 0
        if kills == KILLS:
            break
    print(f"{kills} kills, {inside_an_epoch} of them resumed inside an epoch")
    assert kills == KILLS, "the run ended before it could be killed as often"
    assert inside_an_epoch >= KILLS // 2
    subprocess.run([sys.executable, "-c", CHILD, str(out), json.dumps(LONG)], check=True, timeout=120)
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert whole.summary()["steps"] == read_checkpoint(out / "last.safetensors")[1].updates
