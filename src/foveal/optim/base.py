"""What an optimizer is: an immutable spec and a rule, elementwise over the flat buffer.

w weights, g gradient of the loss, lr learning rate, t the number of this update (1, 2, …). Weight decay is added to
the gradient, g ← g + weight_decay · w, on the decayed stretch of the buffer only (`foveal.params`), before the rule.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, cast, dataclass_transform

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.floating[Any]]
State = Mapping[str, Vector]


class Optimizer:
    """Base of all optimizer specs. `state` names the vectors it keeps, each as long as the weights, starting at 0."""

    name: ClassVar[str]
    default_lr: ClassVar[float]  # a sensible rate when none is given
    state: ClassVar[tuple[str, ...]] = ()
    weight_decay: float

    def update(self, w: Vector, g: Vector, state: State, lr: float, t: int) -> None:
        """One step of the rule, in place on w and the state; g already holds the weight decay."""
        raise NotImplementedError(f"{type(self).__name__} has no update")


OPTIMIZERS: dict[str, type[Optimizer]] = {}
O = TypeVar("O", bound=type[Optimizer])  # noqa: E741


@dataclass_transform(frozen_default=True)
def optimizer(cls: O) -> O:
    """Make a class an optimizer spec: a frozen dataclass, registered under its `name`."""
    made = dataclasses.dataclass(frozen=True)(cls)
    OPTIMIZERS[made.name] = made
    return cast(O, made)
