"""Starting from another model (`--init-from`): its weights where the names and shapes agree, a new head where not.

Every parameter is taken over by name. Only the head, that is the last Dense or Conv2d, may differ, and only in the
number of classes. For other classes, as many or not, it begins as it would without the other model: what told cats from
dogs does not tell roses from tulips. Anything else that does not fit is refused.

The images are normalised with the other model's mean and deviation, not with those of the new training images: the
first layer learnt its weights for inputs made that way, so the network starts out as exactly the function it was (with
the same classes, its first validation would be the other model's). How the pixels are spread is a fact of the old
images that the weights have in them; measuring the new ones would shift and stretch every activation. For the same
reason image files are brought to the other model's size unless --size says otherwise.

The trained weights are a function of data, settings, seed and that other model, whose hash is in config.json.
"""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from foveal.data import Dataset
from foveal.errors import DataError, RunError, ShapeError, UsageError
from foveal.layers import Conv2d, Dense, Layer, Sequential
from foveal.plan import Plan
from foveal.run.folder import RunFolder
from foveal.run.model_file import Model, read_model

_HEADS: Final = ("Dense", "Conv2d")


@dataclass(frozen=True, eq=False)
class Initial:
    """A model to start from. path, sha256: of its file, the path as it was given; name: of the network as its run was
    asked for it, or None."""

    model: Model
    path: Path
    sha256: str
    name: str | None = None

    @property
    def size(self) -> int | None:
        """The side of its images, None if they were not square."""
        preprocess = self.model.preprocess
        return preprocess.height if preprocess.height == preprocess.width else None

    def to_json(self) -> dict[str, Any]:
        """What config.json keeps of it: enough to go on without the file once there is a checkpoint."""
        preprocess = self.model.preprocess
        return {
            "path": str(self.path.absolute()),
            "sha256": self.sha256,
            "mean": list(preprocess.mean),
            "deviation": list(preprocess.deviation),
        }


def read_initial(where: str) -> Initial:
    """The model of a run folder or a file. Raises RunError, naming it, if there is none."""
    path, name = Path(where).expanduser(), None
    if not path.is_file():
        folder = RunFolder.open(path)
        name, path = folder.read_config()["settings"].get("model"), folder.model
        if not path.is_file():
            raise RunError(f"--init-from: {where} has no {path.name}: no epoch of its training has ended")
    model = read_model(path)
    return Initial(model, path, hashlib.sha256(path.read_bytes()).hexdigest(), name)


def initial_again(folder: RunFolder, record: Mapping[str, Any]) -> Initial:
    """The model that a run began with, for one that was killed before its first checkpoint. Raises RunError."""
    path = Path(record["path"])
    if not path.is_file():
        raise RunError(f"{folder.path} has no checkpoint yet and begins with {path}, which is no longer there")
    initial = read_initial(str(path))
    if initial.sha256 != record["sha256"]:
        raise RunError(f"{folder.path} has no checkpoint yet and begins with {path}, which is no longer what it was")
    return initial


def normalised_as(data: Dataset, record: Mapping[str, Any]) -> Dataset:
    """The dataset with another model's mean and deviation. record: `Initial.to_json`. Raises DataError where one is
    grey and the other is not."""
    mean, deviation = tuple(record["mean"]), tuple(record["deviation"])
    if len(mean) != data.preprocess.channels:
        kinds = {1: "grey", 3: "colour"}
        raise DataError(
            f"--init-from: the images are {kinds[data.preprocess.channels]}, but those of the model were "
            f"{kinds.get(len(mean), 'others')}"
        )
    return dataclasses.replace(data, preprocess=dataclasses.replace(data.preprocess, mean=mean, deviation=deviation))


def with_classes(net: Sequential, classes: int) -> Sequential:
    """The network with its last Dense or Conv2d giving scores of so many classes. Raises UsageError if none ends it."""
    for position in reversed(range(len(net.layers))):
        layer = _with_outputs(net.layers[position], classes)
        if layer is not None:
            return Sequential(*net.layers[:position], layer, *net.layers[position + 1 :])
    raise UsageError("--init-from: the model has no Dense or Conv2d that its classes could be changed in; give --model")


def _with_outputs(layer: Layer, classes: int) -> Layer | None:
    if isinstance(layer, Dense):
        return dataclasses.replace(layer, units=classes)
    if isinstance(layer, Conv2d):
        return dataclasses.replace(layer, filters=classes)
    if isinstance(layer, Sequential) and layer.layers:
        return with_classes(layer, classes)
    return None


def start_from(plan: Plan, initial: Initial, class_names: Sequence[str]) -> str:
    """Put the other model's weights into a plan for `class_names`; returns what to tell of it.

    Raises ShapeError, naming the layer and both shapes, if they do not fit.
    """
    theirs, entries = initial.model.weights, plan.layout.entries
    head = next((e.name.rpartition(".")[0] for e in reversed(list(entries.values())) if e.init_key[0] in _HEADS), "")
    places = {name.rpartition(".")[0]: entry.init_key[0] for name, entry in entries.items()}
    may_differ = list(places)[list(places).index(head) :] if head else []  # the head and what normalises its scores
    classes = len(initial.model.class_names)
    same = tuple(class_names) == tuple(initial.model.class_names)
    new: set[str] = set()
    for name, entry in entries.items():
        place, _, slot = name.rpartition(".")
        shape, other = entry.slot.shape, theirs[name].shape if name in theirs else None
        if shape == other and (same or place not in may_differ or shape[:1] != (classes,)):
            continue
        if place in may_differ and other is not None and shape == (plan.classes, *other[1:]) and other[0] == classes:
            new.add(place)
            continue
        where = f"layer {place} ({places[place]})"
        there = (
            f"{slot} has shape {shape} here, but {other}" if other else f"it has {slot} {shape} here, but there is none"
        )
        raise ShapeError(f"--init-from: {where}: {there} in {initial.path}{_images(plan, initial)}")
    if missing := [name for name in theirs if name not in entries]:
        first = min(missing, key=lambda name: (name.rpartition(".")[0], not name.endswith(".weight")))
        shape = theirs[first].shape
        raise ShapeError(
            f"--init-from: {initial.path} has {first} of shape {shape}, which this network has no layer for"
        )
    for name in entries:
        if name.rpartition(".")[0] not in new:
            plan.params[name] = theirs[name]
    return _note(initial, [f"{place} ({places[place]})" for place in new], plan.classes, classes)


def _note(initial: Initial, new: list[str], classes: int, before: int) -> str:
    kept = "all layers"
    if new:
        layers = f"layer{'s' * (len(new) > 1)} {', '.join(sorted(new))}"
        why = f"{classes} classes instead of {before}" if classes != before else "other classes"
        kept = f"all layers but {layers}, new for {why}"
    return (
        f"weights of {kept}, from {initial.path} (sha256 {initial.sha256[:12]}); images are normalised as that model's"
    )


def _images(plan: Plan, initial: Initial) -> str:
    """The likely reason: images of another size."""
    (_, high, wide), (_, height, width) = plan.input_shape, initial.model.input_shape
    if (high, wide) == (height, width):
        return ""
    return f"; the images are {wide}×{high} here and were {width}×{height} there"
