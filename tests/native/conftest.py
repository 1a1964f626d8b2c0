"""Options of the tests of compute kernels."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-kernels", type=Path, default=None, help="folder to write a recording of every compute kernel test to"
    )


@pytest.fixture
def record_folder(request: pytest.FixtureRequest) -> Path | None:
    """The folder given by --record-kernels, known when tests/native is named on the command line."""
    folder: Path | None = request.config.getoption("--record-kernels", default=None)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return folder
