"""What a layer is: an immutable spec that knows its output shape, its parameters, and its own definition.

Letters used in all layer files: N images, C channels (I in, O out), H height, W width, K classes; x and y are a
layer's input and output, dx and dy the gradients of the loss with respect to them. Shapes of specs leave N out.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol, TypeVar, cast, dataclass_transform

import numpy as np
from numpy.typing import NDArray

from foveal import rng
from foveal.errors import RunError, ShapeError, UsageError
from foveal.params import ParamSlot

Shape = tuple[int, ...]  # (C, H, W) of images or (F,) of vectors, without N
Tensor = NDArray[np.floating[Any]]  # float32 in training; tests run the definitions in float64
Params = Mapping[str, Tensor]


@dataclasses.dataclass(frozen=True)
class LayerRandom:
    """The random numbers of one layer in one step, computed from (seed, epoch, step, k-th layer of its kind, kind)."""

    seed: int
    epoch: int
    step: int
    k: int
    kind: str = "Dropout"

    def uniform(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Uniform in [0, 1) for a tensor (N, C, H, W) or (N, F), each value keyed by its own place in it.

        N counts positions in the global batch. Four neighbouring channels share one counter of Philox.
        """
        n, c, h, w = shape if len(shape) == 4 else (*shape, 1, 1)
        if self.kind == "Dropout":
            key = rng.stream_key(self.seed, "dropout", self.epoch, self.k)
        else:
            key = rng.stream_key(self.seed, "layer", self.epoch, self.k, rng.word_of(self.kind))
        quads = np.arange((c + 3) // 4)[:, None, None]
        pixels = np.arange(h * w).reshape(h, w)
        words = rng.philox((quads, pixels, np.arange(n)[:, None, None, None], self.step), key)
        lanes = np.stack(words, axis=2).reshape(n, -1, h, w)[:, :c]  # (N, quad, lane, H, W) → (N, C, H, W)
        return rng.uniform(lanes).reshape(shape)


@dataclasses.dataclass(frozen=True)
class Context:
    """What a layer may know beside its input: whether it trains, its random numbers, and the number of the step.

    counts: how many layers of each kind a network has met so far, while it goes through its layers.
    """

    training: bool = False
    rng: LayerRandom = LayerRandom(0, 0, 0, 0)
    step: int = 0
    counts: dict[str, int] | None = dataclasses.field(default=None, compare=False, repr=False)

    def counting(self) -> "Context":
        """The same, counting layers from here on unless a container around it does."""
        return self if self.counts is not None else dataclasses.replace(self, counts={})

    def of(self, layer_: "Layer") -> "Context":
        """The context of a container's next layer: it is the k-th of its kind."""
        counts = {} if self.counts is None else self.counts
        k = counts.get(layer_.kind, 0)
        counts[layer_.kind] = k + 1
        return dataclasses.replace(self, rng=dataclasses.replace(self.rng, k=k, kind=layer_.kind))


class Definition(Protocol):
    """The two halves of a layer in NumPy, float32 (N, C, H, W) or (N, F) in and out."""

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, Any]: ...
    def backward(self, dy: Tensor, saved: Any, params: Params, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]: ...


class Layer:
    """Base of all layer specs. A subclass is made by `@layer`, which turns it into a frozen dataclass.

    A spec holds settings, never arrays: it can be hashed, compared, pickled, printed and saved as JSON. `forward`
    returns the output and whatever `backward` needs; `backward` returns dx and the gradients by parameter name.
    Running statistics (slots of kind "running") are updated in place by `forward` when `ctx.training`.
    """

    kind: ClassVar[str]
    unwritten: ClassVar[Mapping[str, object]] = {}  # fields with the values at which `to_json` leaves them out

    def out_shape(self, in_shape: Shape) -> Shape:
        """Shape of one image's output. Raises ShapeError when the layer cannot take `in_shape`."""
        return in_shape

    def param_slots(self, in_shape: Shape) -> Iterator[ParamSlot]:
        """The parameters the layer needs for this input shape."""
        return iter(())

    def forward(self, x: Tensor, params: Params, ctx: Context) -> tuple[Tensor, Any]:
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Tensor, saved: Any, params: Params, ctx: Context) -> tuple[Tensor, dict[str, Tensor]]:
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def flops(self, in_shape: Shape) -> int:
        """Floating-point operations of the forward pass for one image (a multiply-add counts as two)."""
        return 0


_KINDS: dict[str, type[Layer]] = {}
L = TypeVar("L", bound=type[Layer])


def registered() -> frozenset[str]:
    """The kinds of layers that there are."""
    return frozenset(_KINDS)


@dataclass_transform(frozen_default=True)
def layer(cls: L) -> L:
    """Make a class a layer spec: a frozen dataclass, registered under its name for model files."""
    made = dataclasses.dataclass(frozen=True)(cls)
    made.kind = made.__name__
    known = _KINDS.setdefault(made.kind, made)
    if (known.__module__, known.__qualname__) != (made.__module__, made.__qualname__):
        raise UsageError(f"a layer named {made.kind} is already registered by {known.__module__}; choose another name")
    _KINDS[made.kind] = made
    return cast(L, made)


def need_image(layer_: Layer, in_shape: Shape) -> tuple[int, int, int]:
    """(C, H, W), or ShapeError when the input is not an image."""
    if len(in_shape) != 3:
        raise ShapeError(
            f"{layer_.kind} takes images (C, H, W), but its input is a vector of shape {in_shape}; "
            f"put it before Flatten, GlobalAvgPool and Dense"
        )
    return in_shape[0], in_shape[1], in_shape[2]


def too_small(what: str, window: tuple[int, int], in_shape: Shape, sides: tuple[int, int, int, int]) -> ShapeError:
    """The error of a window that does not fit: "its kernel of 5×5 does not fit into images of shape (3, 4, 8)"."""
    top, bottom, left, right = sides
    border = f", with its padding {(in_shape[0], in_shape[1] + top + bottom, in_shape[2] + left + right)}"
    return ShapeError(
        f"its {what} of {window[0]}×{window[1]} does not fit into its input, images (C, H, W) of shape "
        f"{in_shape}{border if any(sides) else ''}; use larger images, or fewer layers before it that make them smaller"
    )


def to_json(spec: Any) -> Any:
    """A spec as plain JSON values: {"kind": ..., field: ...}, recursively; a layer of one's own names its "module"."""
    if isinstance(spec, Layer):
        values = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec)}  # type: ignore[arg-type]
        usual = type(spec).unwritten
        fields = {name: to_json(value) for name, value in values.items() if name not in usual or value != usual[name]}
        module = type(spec).__module__
        return {"kind": spec.kind, **({} if module.startswith("foveal.") else {"module": module}), **fields}
    if isinstance(spec, (tuple, list)):
        return [to_json(value) for value in spec]
    return spec


def from_json(value: Any) -> Any:
    """The spec that `to_json` wrote. Raises RunError for a kind that no imported module registers."""
    if isinstance(value, list):
        return tuple(from_json(item) for item in value)
    if not isinstance(value, dict):
        return value
    settings = {name: from_json(item) for name, item in value.items() if name not in ("kind", "module")}
    kind = value.get("kind")
    if kind not in _KINDS:
        module = value.get("module", "__main__")
        where = "the module that defines it" if module == "__main__" else str(module)
        raise RunError(
            f"the model has a layer of kind {kind!r}, which is none of foveal's: import {where} first "
            "(on the command line: --layers FILE.py)"
        )
    cls = _KINDS[kind]
    if kind == "Sequential":
        return cls(*settings["layers"])
    try:
        return cls(**settings)
    except TypeError as error:
        raise RunError(f"the model's {kind} does not fit this version of foveal: {error}") from None
