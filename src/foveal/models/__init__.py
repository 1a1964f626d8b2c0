"""Models: functions that return layer specs, and `build`, which finds them by name."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from foveal.errors import ShapeError, UsageError
from foveal.layers import BatchNorm, Dropout, Layer, Residual, Sequential
from foveal.models.airbench import airbench
from foveal.models.choice import Choice, choose
from foveal.models.lenet import lenet
from foveal.models.mlp import mlp
from foveal.models.nin import nin
from foveal.models.resnet import resnet
from foveal.models.vgg import vgg
from foveal.spelling import nearest

MODELS: Final[dict[str, Callable[..., Sequential]]] = {
    "mlp": mlp,
    "lenet": lenet,
    "nin": nin,
    "vgg": vgg,
    "resnet": resnet,
    "airbench": airbench,
}

__all__ = [
    "MODELS",
    "Choice",
    "advice",
    "airbench",
    "build",
    "choose",
    "lenet",
    "mlp",
    "nin",
    "places",
    "resnet",
    "settings_of",
    "vgg",
]


def settings_of(name: str) -> tuple[str, ...]:
    """Names of the settings that a model takes, such as "head" and "width". Raises UsageError for an unknown model.

    These are the keyword-only arguments, which mean the same in every model that has them; `mlp` also takes `hidden`.
    """
    if name not in MODELS:
        raise UsageError(f"no model is called {name!r}; {_hint(name, MODELS)}")
    parameters = inspect.signature(MODELS[name]).parameters.values()
    return tuple(item.name for item in parameters if item.kind is item.KEYWORD_ONLY)


def build(name: str, classes: int, input_shape: tuple[int, int, int], **settings: Any) -> Sequential:
    """The model of that name for images (C, H, W).

    Raises UsageError for an unknown model, a setting that it does not take, or images that are too small for it.
    """
    shared = settings_of(name)
    for setting in settings:
        if setting not in inspect.signature(MODELS[name]).parameters:
            raise UsageError(f"model {name} has no setting {setting!r}; {_hint(setting, shared)}")
    net = MODELS[name](classes, **settings)
    channels, high, wide = input_shape
    if not _fits(net, input_shape):
        least = next((side for side in range(1, 1 + max(64, high, wide)) if _fits(net, (channels, side, side))), None)
        needs = f"; it needs at least {least}×{least}" if least else ""
        raise UsageError(f"images of {wide}×{high} pixels are too small for model {name}{needs}")
    return net


def _hint(name: str, known: Iterable[str]) -> str:
    known = list(known)
    near = nearest(name, known)
    return f"did you mean {near}?" if near else f"there are {', '.join(known)}"


def _fits(net: Sequential, input_shape: tuple[int, int, int]) -> bool:
    try:
        net.out_shape(input_shape)
    except ShapeError:
        return False
    return True


def advice(net: Sequential) -> tuple[str, ...]:
    """What may be unwise about a network, one line each."""
    layers = list(places(net))
    lines = []
    for position, (place, layer) in enumerate(layers):
        later = [
            name
            for name, item in layers[position + 1 :]
            if isinstance(item, BatchNorm) and not _side_by_side(place, name)
        ]
        if isinstance(layer, Dropout) and layer.p and later:
            lines.append(
                f"layer {place} (Dropout) comes before layer {later[0]} (BatchNorm): the variance differs between "
                f"training and use; put dropout after the last BatchNorm"
            )
    return tuple(lines)


def places(net: Sequential, prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """("0", layer), ("1.body.0", layer), …: the layers in order, also those inside a Sequential or a Residual."""
    for position, layer in enumerate(net.layers):
        place = f"{prefix}{position}"
        if isinstance(layer, Sequential):
            yield from places(layer, f"{place}.")
        elif isinstance(layer, Residual):
            for name, branch in layer.branches.items():
                yield from places(branch, f"{place}.{name}.")
        else:
            yield place, layer


def _side_by_side(place: str, other: str) -> bool:
    """Whether two layers lie in the two branches of one Residual, so that neither comes before the other."""
    pairs = zip(place.split("."), other.split("."), strict=False)
    first = next(((a, b) for a, b in pairs if a != b), ("", ""))
    return set(first) == {"body", "shortcut"}
