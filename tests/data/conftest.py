"""What the tests of data share: a cache of their own, and small folders of images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foveal.data import cache

MakeFolder = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$XDG_CACHE_HOME, empty, for every test."""
    home = tmp_path_factory.mktemp("cache-home")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are cached however new they are."""
    monkeypatch.setattr(cache, "TICK", 0)


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """make_folder({"train/cat": 3, "train/dog": 2}, size=(8, 8)): different grey or RGB PNG images below tmp_path."""

    def make(
        classes: dict[str, int], *, size: tuple[int, int] = (8, 8), colour: bool = True, name: str = "pets"
    ) -> Path:
        root = tmp_path / name
        rng = np.random.default_rng(0)
        for place, count in classes.items():
            (root / place).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (size[1], size[0], 3) if colour else (size[1], size[0]), np.uint8)
                Image.fromarray(pixels).save(root / place / f"{i:03}.png")
        return root

    return make
