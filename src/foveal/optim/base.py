"""What an optimizer is: an immutable spec and a rule, elementwise over the flat buffer.

w weights, g gradient of the loss, lr learning rate, t the number of this update (1, 2, …). Weight decay comes before
the rule, on the decayed stretch of the buffer only (`foveal.params`).
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

    def decay(self, w: Vector, g: Vector, lr: float, share: float) -> Vector:
        """Weight decay of a stretch, `share` being `weight_decay` or 0; returns the gradient for the rule.

        It is added to the gradient, g + share · w (L2), but for AdamW.
        """
        return g + w.dtype.type(share) * w if share else g

    def update(self, w: Vector, g: Vector, state: State, lr: float, t: int) -> None:
        """One step of the rule, in place on w and the state; g is what `decay` gave."""
        raise NotImplementedError(f"{type(self).__name__} has no update")


OPTIMIZERS: dict[str, type[Optimizer]] = {}
O = TypeVar("O", bound=type[Optimizer])  # noqa: E741


@dataclass_transform(frozen_default=True)
def optimizer(cls: O) -> O:
    """Make a class an optimizer spec: a frozen dataclass, registered under its `name`."""
    made = dataclasses.dataclass(frozen=True)(cls)
    OPTIMIZERS[made.name] = made
    return cast(O, made)
