"""How small and how quick to start: sizes and times of an installation made from nothing.

    python benchmarks/footprint.py [--json FILE]

Makes a virtual environment in a temporary folder, builds the wheel, installs it there, and measures:

    wheel          megabytes of the wheel
    environment    megabytes of all that is installed, without pip and setuptools, which a venv begins with
    build          seconds from the sources to the wheel
    import         seconds of `import foveal; foveal.Plan` beyond `import numpy` (median of processes run in turn)
    first batch    seconds from the start of a process to the end of the first training step of LeNet on digits
    step           microseconds of Python in one `Plan.train_step` and one `Plan.train_on`, the native part taken off
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRST_BATCH = """
import os, sys, foveal
from foveal.train.events import BatchDone

def listen(event):
    if isinstance(event, BatchDone):
        os._exit(0)

foveal.fit("lenet", "digits", lr=0.02, run_dir=sys.argv[1], progress=False, listeners=[listen])
"""
STEP = """
import statistics, time
import numpy as np, foveal as fv

def median(call):
    times = []
    for _ in range(5000):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times)

plan = fv.Plan(fv.Sequential(fv.Flatten(), fv.Dense(10)), (1, 4, 4), 16, fv.Momentum(), threads=1)
x, y = np.zeros((16, 1, 4, 4), np.float32), np.zeros(16, np.int64)
one = np.ones(1, np.float32)
source = plan.attach(np.zeros((64, 4, 4, 1), np.uint8), np.zeros(64, np.int32), one, one)
index, moves = np.arange(16), np.zeros((16, 7), np.int32)

def native(program):
    return median(lambda: program._native.run(0, len(program.steps), 1, 16, 0.01, 1, 0, 0, 0))

print(median(lambda: plan.train_step(x, y, 0.01)) - native(plan._training))
print(median(lambda: plan.train_on(source, index, moves, 0.01, epoch=0, step=0)) - native(source.training))
"""


def megabytes(folder: Path, without: tuple[str, ...] = ()) -> float:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    kept = [path for path in files if not path.relative_to(folder).parts[0].startswith(without)]
    return sum(path.stat().st_size for path in kept) / 1e6


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - start


def measure(folder: Path) -> dict[str, float]:
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    build = seconds([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)])
    wheel = next(folder.glob("foveal-*.whl"))
    seconds([*pip, "install", str(wheel)])
    packages = next((folder / "venv" / "lib").glob("python*/site-packages"))
    programs: dict[str, list[list[str]]] = {
        "python": [[python, "-c", "pass"]] * 15,
        "numpy": [[python, "-c", "import numpy"]] * 15,
        "foveal": [[python, "-c", "import foveal; foveal.Plan"]] * 15,
        "first": [[python, "-c", FIRST_BATCH, str(folder / f"run-{n}")] for n in range(15)],
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(15):
        for name, commands in programs.items():
            times[name].append(seconds(commands[turn]))
    median = {name: statistics.median(values[1:]) for name, values in times.items()}  # the first may compile Python
    step = subprocess.run([python, "-c", STEP], check=True, capture_output=True, text=True).stdout.split()
    return {
        "wheel_mb": wheel.stat().st_size / 1e6,
        "environment_mb": megabytes(packages, ("pip", "setuptools", "_distutils_hack", "pkg_resources")),
        "build_seconds": build,
        "import_numpy_seconds": median["numpy"] - median["python"],
        "import_beyond_numpy_seconds": median["foveal"] - median["numpy"],
        "first_batch_seconds": median["first"],
        "train_step_python_us": float(step[0]),
        "train_on_python_us": float(step[1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder))
    for name, value in figures.items():
        print(f"{name:28} {value:10.3f}", file=sys.stderr)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
