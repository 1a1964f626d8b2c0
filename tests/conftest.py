"""Options and rules of all tests.

--data FOLDER   the folder with fashion-mnist/ and so on; without it, tests that need it are skipped, but fail in CI.
In CI (environment CI=true) a skip is a failure unless tests/allowed_skips.txt lists it with its reason.
"""

import os
import signal
from pathlib import Path

import pytest

CI = os.environ.get("CI", "").lower() in ("1", "true")
ALLOWED = Path(__file__).with_name("allowed_skips.txt")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--data", type=Path, default=None, help="folder with fashion-mnist/, cifar10-jpeg.tar.xz, ...")
    parser.addoption("--write-errors", action="store_true", help="tests/cli: write docs/errors.md anew")
    parser.addoption("--full", action="store_true", help="tests/bits: train the networks at full width")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # begun in the background: the children would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "peers: compares with other frameworks; run by `make test-peers`")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """tests/peers needs other frameworks: only `-m peers` (make test-peers) looks there."""
    return True if collection_path.name == "peers" and "peers" not in config.option.markexpr else None


@pytest.fixture(scope="session")
def data_dir(request: pytest.FixtureRequest) -> Path:
    """The folder given by --data."""
    folder = request.config.getoption("--data")
    if folder is None:
        (pytest.fail if CI else pytest.skip)("needs --data FOLDER (make test DATA=FOLDER)")
    return Path(folder).resolve()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):  # type: ignore[no-untyped-def]
    outcome = yield
    report = outcome.get_result()
    if CI and report.skipped and not hasattr(report, "wasxfail") and not _allowed(item.nodeid):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, and not listed in {ALLOWED.name}: {report.longrepr}"


def _allowed(nodeid: str) -> bool:
    lines = ALLOWED.read_text().splitlines() if ALLOWED.exists() else []
    return any(nodeid.startswith(line.split("  ", 1)[0]) for line in lines if line and not line.startswith("#"))
