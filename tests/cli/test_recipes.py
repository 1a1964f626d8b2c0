"""foveal train --recipe: nothing but flags, which others given beside it replace."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_result import Result

from foveal.errors import UsageError
from foveal.train.recipes import RECIPES, with_recipe
from foveal.train.settings import TrainSettings


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_a_set_of_flags(foveal: Callable[..., Result], name: str, tmp_path: Path) -> None:
    """Typed out they make the same run, and --help shows them."""
    shown = foveal("train", "--recipe", name, "--help")
    assert shown.code == 0
    assert RECIPES[name].flags in " ".join(shown.out.split())
    y = np.arange(60) % 3
    np.savez(tmp_path / "images.npz", x=np.random.default_rng(0).integers(0, 256, (60, 12, 12, 3), np.uint8), y=y)
    short = ("--epochs", "1", "--width", "0.05", "--augment", "none")
    for out, flags in (("by_name", ("--recipe", name)), ("typed", tuple(RECIPES[name].flags.split()))):
        done = foveal("train", "images.npz", *flags, *short, "--out", out)
        assert done.code == 0, done.err
    named, typed = (
        json.loads((tmp_path / out / "config.json").read_text())["settings"] for out in ("by_name", "typed")
    )
    assert named == typed
    assert named["epochs"] == 1
    assert named["lr"] == RECIPES[name].settings["lr"]


@pytest.mark.parametrize("name", RECIPES)
def test_its_settings_are_settings(name: str) -> None:
    TrainSettings(**RECIPES[name].settings)


def test_another_length_takes_the_place_of_its_epochs() -> None:
    assert "epochs" not in with_recipe("lesson", {"minutes": 1.0})
    assert with_recipe("lesson", {"epochs": 3})["epochs"] == 3
    assert with_recipe(None, {"epochs": 3}) == {"epochs": 3}


def test_unknown_names_are_refused(foveal: Callable[..., Result]) -> None:
    done = foveal("train", "digits", "--recipe", "leson")
    assert done.code == 2
    assert "did you mean lesson?" in done.err
    with pytest.raises(UsageError):
        with_recipe("fast", {})


def test_a_resumed_run_takes_none(foveal: Callable[..., Result]) -> None:
    done = foveal("train", "--resume", "run", "--recipe", "lesson")
    assert done.code == 2
    assert "leave out --recipe" in done.err


def test_help_lists_them(foveal: Callable[..., Result]) -> None:
    out = foveal("train", "--help").out
    assert all(name in out[out.index("Recipes:") :] for name in RECIPES)
