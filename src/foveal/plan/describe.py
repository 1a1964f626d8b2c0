"""A plan layer by layer: shapes, parameters, FLOPs, and which compute kernels run it, for `foveal summary`."""

from collections.abc import Sequence
from dataclasses import dataclass

from foveal.layers.base import Layer, Shape
from foveal.params import ParamLayout
from foveal.plan.program import Builder, Step


@dataclass(frozen=True)
class LayerFacts:
    """One layer at its place ("3.body.0"). in_shape, out_shape: of one image. parameters: trainable values of its own;
    flops: of its own, forward, for one image. kernels: what runs it, in order, without repetition; backward kernels
    only if the plan trains. runs: "native", "python", "fused" (into the layer before) or "" (nothing is left to do).
    container: whether layers within it follow.
    """

    place: str
    layer: Layer
    in_shape: Shape
    out_shape: Shape
    parameters: int
    flops: int
    kernels: tuple[str, ...]
    runs: str
    container: bool


def describe(apart: Builder, layout: ParamLayout, steps: Sequence[Step]) -> list[LayerFacts]:
    """apart: a builder that the network was lowered with, unfused; steps: of the plan's programs."""
    places = [place for place, _, _ in apart.placed]
    parents = {place: parent for place in places if (parent := _parent(place, places))}
    whole = {place: layer.flops(shape) for place, layer, shape in apart.placed}
    own = dict(whole)  # what a container does beside its layers is its FLOPs less theirs
    for place, parent in parents.items():
        own[parent] -= whole[place]
    unfused = {step.layer for step in apart.steps}
    facts = []
    for place, layer, in_shape in apart.placed:
        label = f"{place} {layer.kind}"
        mine = [step for step in steps if step.layer == label and step.phase in ("prepare", "forward", "backward")]
        runs = "python" if any(step.function for step in mine) else "native" if mine else ""
        facts.append(
            LayerFacts(
                place, layer, in_shape, tuple(layer.out_shape(in_shape)), _parameters(layout, place), own[place],
                tuple(dict.fromkeys(step.kernel for step in mine)), runs or ("fused" if label in unfused else ""),
                place in parents.values(),
            )
        )  # fmt: skip
    return facts


def _parent(place: str, places: Sequence[str]) -> str | None:
    """The nearest container of a place: "3" of "3.body.0", where "3.body" is no layer."""
    while "." in place:
        place = place.rpartition(".")[0]
        if place in places:
            return place
    return None


def _parameters(layout: ParamLayout, place: str) -> int:
    entries = [entry for name, entry in layout.entries.items() if name.rpartition(".")[0] == place]
    return sum(entry.slot.size for entry in entries if entry.slot.kind == "trainable")
