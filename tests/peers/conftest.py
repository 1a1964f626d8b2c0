"""PyTorch with one thread: on arrays as small as these its threads mostly wait for each other, thirty times slower."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    pytest.importorskip("torch").set_num_threads(1)
