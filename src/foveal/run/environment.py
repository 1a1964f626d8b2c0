"""What a run was made with, for its record: versions, machine. No result depends on it."""

import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np


def version() -> str:
    """The version of foveal that is installed."""
    return installed("foveal")


def installed(package: str) -> str:
    """The version of a package that is installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return version_of(package)
    except PackageNotFoundError:
        return "0+unknown"


def environment() -> dict[str, Any]:
    """Versions and machine as JSON values."""
    return {
        "foveal": version(),
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "pillow": installed("pillow"),
        "system": platform.platform(),
        "processor": _processor(),
    }


def _processor() -> str:
    """The processor's name as its maker gives it, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
