"""Recipes: named sets of settings, each tuned for one purpose on data that were not its test.

A recipe is nothing but flags of `foveal train`: what is given beside it counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from foveal.errors import UsageError
from foveal.spelling import did_you_mean
from foveal.train.settings import flag


@dataclass(frozen=True)
class Recipe:
    """purpose: what it is for, to be read after its name. settings: fields of `TrainSettings`."""

    purpose: str
    settings: Mapping[str, Any]

    @property
    def flags(self) -> str:
        """As they would be typed."""
        words = []
        for name, value in self.settings.items():
            words.append(flag(name) if value is True else f"{flag(name)} {value}")
        return " ".join(words)


RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType(
    {
        "lesson": Recipe(
            "for a classroom: ten epochs of 50,000 colour images of 32×32 in about a minute on two cores",
            {
                "model": "airbench", "width": 0.25, "nesterov": True, "weight_decay": 5e-4, "lr": 0.4,
                "schedule": "one-cycle", "batch_size": 128, "epochs": 10, "augment": "flip",
            },
        ),
        "record": Recipe(
            "for 90 % on CIFAR-10 (JPEG), 50,000 colour images, in 25 minutes on two cores",
            {
                "model": "airbench", "variant": "author", "nesterov": True, "weight_decay": 5e-4,
                "label_smoothing": 0.2, "lr": 0.4, "schedule": "linear", "warmup": 0.2, "batch_size": 128,
                "epochs": 20, "augment": "standard", "tta": "flip", "validation": 0,
            },
        ),
    }
)  # fmt: skip


def with_recipe(name: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a recipe, and what is given beside it in their place. Raises UsageError for an unknown name."""
    if name is None:
        return dict(given)
    if name not in RECIPES:
        raise UsageError(
            f"--recipe: none is called {name!r}{did_you_mean(name, RECIPES)}; there is {', '.join(RECIPES)}"
        )
    without = {"epochs"} if {"minutes", "steps"} & set(given) else set()  # which say how long in another way
    return {field: value for field, value in RECIPES[name].settings.items() if field not in without} | dict(given)
