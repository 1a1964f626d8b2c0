"""model.safetensors: weights and all that it takes to use them, and nothing else.

Equal weights of an equal network give equal files: no time, path, host, number of threads or instruction set, nor how
the learning rate was found. The names and shapes are those of a `torch.nn.Sequential`, with the counter
`num_batches_tracked` that PyTorch expects beside each running mean; it is always 0 here, and ignored when read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foveal.checks import choice
from foveal.data import Preprocess
from foveal.data.augment import TTA
from foveal.errors import FovealError, RunError
from foveal.layers import Sequential
from foveal.layers.base import from_json, to_json
from foveal.plan import Plan
from foveal.run.tensors import pack, unpack

_COUNTER: Final = "num_batches_tracked"
_OPTIMIZER: Final = "optimizer."
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network: spec, preparation of images, class names, weights by name, and the views by which it judges
    images (`Plan.evaluate_on`)."""

    net: Sequential
    preprocess: Preprocess
    class_names: tuple[str, ...]
    weights: Mapping[str, Floats]
    tta: str = "none"

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return image_shape(self.preprocess)

    def plan(self, *, batch_size: int = 128, threads: int | None = None, isa: str | None = None) -> Plan:
        """A plan that predicts with these weights. Raises RunError if they do not fit the network."""
        plan = Plan(self.net, self.input_shape, batch_size, threads=threads, isa=isa)
        wanted, given = ({name: array.shape for name, array in side.items()} for side in (plan.params, self.weights))
        if wanted != given:
            wrong = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
            raise RunError(f"the model's weights do not fit its network: {', '.join(wrong)}")
        plan.load_state_dict(self.weights)
        return plan


def image_shape(preprocess: Preprocess) -> tuple[int, int, int]:
    """(C, H, W) of the images as the network sees them."""
    return preprocess.channels, preprocess.height, preprocess.width


def weights_of(state: Mapping[str, Floats]) -> dict[str, Floats]:
    """The parameters and running statistics in a plan's `state_dict`, without the optimizer's state."""
    return {name: value for name, value in state.items() if not name.startswith(_OPTIMIZER)}


def pack_model(model: Model) -> bytes:
    """The bytes of model.safetensors."""
    counters = {
        f"{name.removesuffix('running_mean')}{_COUNTER}": np.zeros((), np.int64)
        for name in model.weights
        if name.endswith(".running_mean")
    }
    record = {
        "spec": to_json(model.net),
        "preprocess": model.preprocess.to_json(),
        "class_names": list(model.class_names),
    }
    if model.tta != "none":
        record["tta"] = model.tta
    return pack("model", {**model.weights, **counters}, record)


def read_model(path: str | Path) -> Model:
    """The model in a file that `pack_model` made. Raises RunError, naming the file, if it is none or damaged."""
    arrays, record = unpack("model", Path(path))
    weights = {name: array for name, array in arrays.items() if not name.endswith(f".{_COUNTER}")}
    try:
        return _model(record, weights)
    except (FovealError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise RunError(f"{path} cannot be used: {reason}") from None


def _model(record: Mapping[str, Any], weights: Mapping[str, Floats]) -> Model:
    net = from_json(record["spec"])
    if not isinstance(net, Sequential):
        raise RunError("its spec is not a Sequential")
    tta = choice(record.get("tta", "none"), "tta", TTA)
    model = Model(net, Preprocess.from_json(record["preprocess"]), tuple(record["class_names"]), weights, tta)
    if net.out_shape(model.input_shape) != (len(model.class_names),):
        raise RunError("its network does not end in one score for each class")
    return model
