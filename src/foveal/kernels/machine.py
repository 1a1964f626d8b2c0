"""The machine at hand: which instruction sets it has and how many threads are worth starting."""

import difflib
import math
import os
from pathlib import Path
from typing import Final

from foveal.checks import integer
from foveal.errors import UsageError
from foveal.kernels import _native

REFERENCE: Final = "reference"  # not an instruction set: the definitions in NumPy
MOST_THREADS: Final = 1024
_NAMES: Final = ("avx512", "avx2", "neon", "baseline", REFERENCE)


def available_isas() -> tuple[str, ...]:
    """Instruction sets that this processor can run, best first; "reference" (the NumPy definitions) last."""
    return (*_native.targets(), REFERENCE)


def resolve_isa(isa: str | None = None) -> str:
    """The instruction set to use: the argument, else FOVEAL_ISA, else the best there is. Raises UsageError."""
    source = "isa" if isa is not None else "FOVEAL_ISA"
    name = isa if isa is not None else os.environ.get("FOVEAL_ISA") or available_isas()[0]
    if name not in _NAMES:
        near = difflib.get_close_matches(name, _NAMES, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(_NAMES)}"
        raise UsageError(f"{source}: no instruction set is called {name!r}{hint}")
    if name not in available_isas():
        raise UsageError(f"{source}: this processor has no {name}; it has {', '.join(available_isas())}")
    return name


def resolve_threads(threads: int | None = None) -> int:
    """The number of threads to use: the argument, else FOVEAL_THREADS, else `default_threads()`. Raises UsageError."""
    if threads is None:
        text = os.environ.get("FOVEAL_THREADS")
        if not text:
            return default_threads()
        if not (text.isascii() and text.isdigit()):
            raise UsageError(f"FOVEAL_THREADS must be a number from 1 to {MOST_THREADS}, not {text!r}")
        return integer(int(text), "FOVEAL_THREADS", 1, MOST_THREADS)
    return integer(threads, "threads", 1, MOST_THREADS)


def default_threads(cgroup: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc/self/cgroup")) -> int:
    """Processors this process may use: the smaller of its affinity and its cgroup's CPU quota (v1, v2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota(cgroup, proc)
    return max(1, min(cores, math.ceil(quota))) if quota else cores


def _cgroup_quota(cgroup: Path, proc: Path) -> float | None:
    """The tightest CPU quota on the way from this process's cgroup to the root, in processors."""
    quotas = []
    for line in _read(proc).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folder, top = cgroup / path.lstrip("/"), cgroup
        elif "cpu" in controllers.split(","):
            top = cgroup / "cpu" if (cgroup / "cpu").exists() else cgroup / controllers
            folder = top / path.lstrip("/")
        else:
            continue
        for place in (folder, *folder.parents):
            quotas.append(_quota_of(place))
            if place == top:
                break
    finite = [quota for quota in quotas if quota]
    return min(finite) if finite else None


def _quota_of(folder: Path) -> float | None:
    numbers = _read(folder / "cpu.max").split()  # v2: "200000 100000" or "max 100000"
    if not numbers:
        numbers = [*_read(folder / "cpu.cfs_quota_us").split(), *_read(folder / "cpu.cfs_period_us").split()]
    if len(numbers) != 2 or not numbers[0].isdigit() or int(numbers[1]) <= 0:
        return None
    return int(numbers[0]) / int(numbers[1])


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
