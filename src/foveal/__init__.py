"""foveal: train convolutional image classifiers on the computer at hand.

data = foveal.load_dataset("flowers/")
run = foveal.fit("lenet", data, epochs=10)
run.evaluate(data.test).accuracy; run.predict(["a.jpg"])
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from foveal import models
    from foveal.data import Augment, Dataset, Images, Preprocess, load_dataset
    from foveal.errors import DataError, DivergedError, FovealError, RunError, ShapeError, UsageError
    from foveal.fitting import Watch, fit, resume, search_rate
    from foveal.layers import (
        GELU,
        AvgPool2d,
        BatchNorm,
        Context,
        Conv2d,
        Dense,
        Dropout,
        Flatten,
        GlobalAvgPool,
        Layer,
        LeakyReLU,
        MaxPool2d,
        ReLU,
        Residual,
        Sequential,
        Sigmoid,
        Tanh,
        layer,
    )
    from foveal.metrics import Evaluation
    from foveal.optim import SGD, AdaGrad, Adam, AdamW, Momentum, Optimizer, RMSProp, Schedule
    from foveal.params import ParamSlot
    from foveal.plan import Plan
    from foveal.run import Prediction, Run, load_run
    from foveal.train import Interrupted, TrainSettings

    __version__: str

# Everything is loaded when it is asked for: the program begins at once, and answers Ctrl-C from its first moment on.
_LATER: Final = {
    "foveal.data": ("Augment", "Dataset", "Images", "Preprocess", "load_dataset"),
    "foveal.errors": ("DataError", "DivergedError", "FovealError", "RunError", "ShapeError", "UsageError"),
    "foveal.fitting": ("Watch", "fit", "resume", "search_rate"),
    "foveal.layers": (
        "GELU",
        "AvgPool2d",
        "BatchNorm",
        "Context",
        "Conv2d",
        "Dense",
        "Dropout",
        "Flatten",
        "GlobalAvgPool",
        "Layer",
        "LeakyReLU",
        "MaxPool2d",
        "ReLU",
        "Residual",
        "Sequential",
        "Sigmoid",
        "Tanh",
        "layer",
    ),
    "foveal.metrics": ("Evaluation",),
    "foveal.optim": ("SGD", "AdaGrad", "Adam", "AdamW", "Momentum", "Optimizer", "RMSProp", "Schedule"),
    "foveal.params": ("ParamSlot",),
    "foveal.plan": ("Plan",),
    "foveal.run": ("Prediction", "Run", "load_run"),
    "foveal.train": ("Interrupted", "TrainSettings"),
}
_MODULES: Final = ("errors", "kernels", "layers", "models", "optim", "params", "plan", "rng", "shapes")
_HOMES: Final = {name: module for module, names in _LATER.items() for name in names}

__all__ = [
    "GELU",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Augment",
    "AvgPool2d",
    "BatchNorm",
    "Context",
    "Conv2d",
    "DataError",
    "Dataset",
    "Dense",
    "DivergedError",
    "Dropout",
    "Evaluation",
    "Flatten",
    "FovealError",
    "GlobalAvgPool",
    "Images",
    "Interrupted",
    "Layer",
    "LeakyReLU",
    "MaxPool2d",
    "Momentum",
    "Optimizer",
    "ParamSlot",
    "Plan",
    "Prediction",
    "Preprocess",
    "RMSProp",
    "ReLU",
    "Residual",
    "Run",
    "RunError",
    "Schedule",
    "Sequential",
    "ShapeError",
    "Sigmoid",
    "Tanh",
    "TrainSettings",
    "UsageError",
    "Watch",
    "__version__",
    "fit",
    "layer",
    "load_dataset",
    "load_run",
    "models",
    "resume",
    "search_rate",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = import_module("foveal.run.environment").version()
    elif name in _MODULES:
        value = import_module(f"foveal.{name}")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module 'foveal' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES, "__version__"})
