"""Models: functions that return layer specs, and `build`, which finds them by name."""

import difflib
import inspect
from collections.abc import Callable
from typing import Any, Final

from foveal.errors import ShapeError, UsageError
from foveal.layers import BatchNorm, Dropout, Sequential
from foveal.models.lenet import lenet
from foveal.models.mlp import mlp
from foveal.models.nin import nin
from foveal.models.vgg import vgg

MODELS: Final[dict[str, Callable[..., Sequential]]] = {"mlp": mlp, "lenet": lenet, "nin": nin, "vgg": vgg}

__all__ = ["MODELS", "advice", "build", "lenet", "mlp", "nin", "settings_of", "vgg"]


def settings_of(name: str) -> tuple[str, ...]:
    """Names of the settings that a model takes, such as "head" and "width". Raises UsageError for an unknown model."""
    if name not in MODELS:
        near = difflib.get_close_matches(name, MODELS, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(MODELS)}"
        raise UsageError(f"no model is called {name!r}; {hint}")
    return tuple(inspect.signature(MODELS[name]).parameters)[1:]


def build(name: str, classes: int, *, input_shape: tuple[int, int, int], **settings: Any) -> Sequential:
    """The model of that name for images (C, H, W).

    Raises UsageError for an unknown model, a setting that it does not take, or images that are too small for it.
    """
    unknown = sorted(set(settings) - set(settings_of(name)))
    if unknown:
        raise UsageError(f"model {name} has no {', '.join(unknown)}; it takes {', '.join(settings_of(name))}")
    net = MODELS[name](classes, **settings)
    try:
        net.out_shape(input_shape)
    except ShapeError as error:
        _, high, wide = input_shape
        raise UsageError(f"images of {wide}×{high} pixels are too small for model {name}: {error}") from None
    return net


def advice(net: Sequential) -> tuple[str, ...]:
    """What may be unwise about a network, one line each."""
    lines = []
    for position, layer in enumerate(net.layers):
        later = [k for k, item in enumerate(net.layers) if k > position and isinstance(item, BatchNorm)]
        if isinstance(layer, Dropout) and layer.p and later:
            lines.append(
                f"layer {position} (Dropout) comes before layer {later[0]} (BatchNorm): the variance differs between "
                f"training and use; put dropout after the last BatchNorm"
            )
    return tuple(lines)
