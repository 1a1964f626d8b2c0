"""TrainSettings: every choice of a training, checked once; the flags of `foveal train` are made from its fields.

A field's metadata says what the command line needs: `help`, `choices` (empty: free; a registry counts as it
is when the settings are made) and `metavar`. Messages name the
flag as it is typed. `threads` and `isa` are here because users set them, but no result depends on them, so they are
never part of a model file.
"""

import dataclasses
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypedDict

from foveal.checks import LARGEST, SMALLEST, integer, real, switch
from foveal.data.augment import AUGMENTS, TTA, parse_augment
from foveal.data.groups import pattern_of
from foveal.errors import UsageError
from foveal.models import MODELS, Choice, settings_of
from foveal.optim import OPTIMIZERS, schedules
from foveal.spelling import did_you_mean

CUSTOM: Final = "custom"  # the model was given as layers, not by name
AUTO: Final = "auto"  # the model is chosen when the data are known
CLASS_WEIGHTS: Final = ("none", "balanced")
_MODEL: Final = ("variant", "head", "dropout", "batch_norm", "width")  # settings that only some models take
RULE: Final = ("momentum", "nesterov", "weight_decay")  # settings that only some optimizers take
DEFAULT_EPOCHS: Final = 10
DEFAULT_VALIDATION: Final = 0.1
MOST_MINUTES: Final = 1e5  # ten weeks


def _setting(default: Any, help: str, choices: Collection[str] = (), metavar: str = "") -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices, "metavar": metavar})


def flag(name: str) -> str:
    """The flag of a field: "batch_size" → "--batch-size"."""
    return "--" + name.replace("_", "-")


@dataclass(frozen=True)
class TrainSettings:
    """All settings of one training; None stands for "decide when the data are known" (see `resolved`).

    Raises UsageError at construction: a value out of range, two settings that contradict each other, or one that
    would change nothing.
    """

    model: str = _setting(AUTO, "network to train; auto chooses by size and number of the images", (AUTO, *MODELS))
    variant: str | None = _setting(
        None, "form of the network (nin: ours, author or caffe; airbench: ours or author)", ("ours", "author", "caffe")
    )
    head: str | None = _setting(None, "end of the network: global average pooling or dense layers", ("gap", "fc"))
    dropout: float | None = _setting(None, "fraction of activations to drop in training (0; nin: 0.5)", metavar="P")
    batch_norm: bool | None = _setting(
        None, "batch normalization after each hidden layer (on for vgg, resnet and airbench, off for others)"
    )
    width: float | None = _setting(
        None, "multiply the channels of every hidden layer by X, to a multiple of 16", metavar="X"
    )
    optimizer: str = _setting("momentum", "rule that updates the weights", OPTIMIZERS)
    momentum: float | None = _setting(None, "momentum of the optimizer (0.9)", metavar="M")
    nesterov: bool = _setting(False, "use Nesterov's form of momentum")
    weight_decay: float = _setting(0.0, "pull weights towards 0 by D times their value", metavar="D")
    clip_norm: float | None = _setting(
        None, "scale the gradient of all weights to an L2 norm of at most X before each update (off)", metavar="X"
    )
    max_norm: float | None = _setting(
        None, "scale the weights of each unit or filter to an L2 norm of at most X after each update (off)", metavar="X"
    )
    label_smoothing: float = _setting(
        0.0, "train towards 1 - E for the right class, sharing E among all, instead of towards 1", metavar="E"
    )
    class_weight: str = _setting(
        "none", "weights of the classes in the loss; balanced: all classes count the same", CLASS_WEIGHTS
    )
    lr: float | str = _setting(
        AUTO, "learning rate, the schedule's highest; auto searches for it with short trainings", metavar="auto|X"
    )
    schedule: str = _setting(
        "one-cycle",
        "how the learning rate changes over the training; step: to a tenth at 1/2 and again at 3/4 of it, "
        "exponential: evenly to a hundredth, cosine and linear: to 0, one-cycle: up to --lr and down to 0, "
        "inverse-sqrt: as 1/√step, after --warmup",
        schedules.NAMES,
    )
    warmup: float = _setting(0.0, "fraction of the training in which the rate rises from 0", metavar="FRACTION")
    epochs: int | None = _setting(None, f"passes over the training images ({DEFAULT_EPOCHS})", metavar="N")
    steps: int | None = _setting(None, "exact number of updates, instead of --epochs", metavar="N")
    minutes: float | None = _setting(
        None,
        "train as many epochs as fit into M minutes, the search included, instead of --epochs; the number is measured, "
        "shown, and kept in config.json",
        metavar="M",
    )
    patience: int | None = _setting(None, "stop after N epochs without a better validation loss", metavar="N")
    batch_size: int | None = _setting(None, "images in one update (128, less for small data)", metavar="N")
    size: int | None = _setting(None, "side of the images in pixels (as they are if at most 64, else 64)", metavar="PX")
    augment: str = _setting(
        "none",
        "random changes to the training images, several with commas between; standard is flip and shift",
        AUGMENTS,
    )
    tta: str = _setting(
        "none", "views by which images are judged in validation, test and use; flip: by the mean with the mirror image",
        TTA,
    )  # fmt: skip
    validation: float | None = _setting(
        None,
        f"part of the training images held back to choose by ({DEFAULT_VALIDATION:g}; 0: none)",
        metavar="FRACTION",
    )
    fraction: float | None = _setting(
        None, "part of the training images to use, of each class (all of them)", metavar="F"
    )
    group_by: str | None = _setting(
        None,
        "keep images in whose paths REGEX matches the same (its first group in parentheses, or all of it) on one side "
        "of the split",
        metavar="REGEX",
    )
    init_from: str | None = _setting(
        None,
        "start from the weights of a run or a model file; a head for other classes begins anew; without --model the "
        "network is that model's",
        metavar="RUN|FILE",
    )
    seed: int = _setting(0, "number that all randomness follows from", metavar="N")
    threads: int | None = _setting(
        None, "threads to use (all processors allowed); results do not depend on it", metavar="N"
    )
    workers: int | None = _setting(
        None, "trials of the search for a learning rate at a time (one for each thread); results do not depend on it",
        metavar="N",
    )  # fmt: skip
    isa: str | None = _setting(
        None, "instruction set to use (the best there is); only baseline and reference change results, by rounding",
        ("avx2", "avx512", "neon", "baseline", "reference"),
    )  # fmt: skip
    skip_bad: bool = _setting(False, "leave out images that cannot be read instead of stopping")

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_numbers()
        self._check_contradictions()

    def _check_choices(self) -> None:
        for field in dataclasses.fields(self):
            value, choices = getattr(self, field.name), field.metadata["choices"]
            if field.name == "augment":
                parse_augment(value)
                continue
            if not choices or value is None or (field.name == "model" and value == CUSTOM):
                continue
            if value not in choices:
                hint = did_you_mean(str(value), choices)
                raise UsageError(f"{flag(field.name)} must be one of {', '.join(choices)}, not {value!r}{hint}")

    def _check_numbers(self) -> None:
        for name in ("epochs", "steps", "patience", "batch_size", "size", "threads", "workers"):
            self._settle(name, integer, 1)
        self._settle("seed", integer, 0, 2**64 - 1)
        self._check_rate()
        self._settle("minutes", real, above=0, high=MOST_MINUTES)
        self._settle("width", real, above=0, high=100)
        self._settle("weight_decay", real, 0)
        for name in ("clip_norm", "max_norm"):
            self._settle(name, real, above=0, high=LARGEST)
        for name in ("dropout", "momentum", "label_smoothing", "warmup", "validation"):
            self._settle(name, real, 0, 1)
        self._settle("fraction", real, above=0, below=1)
        if self.group_by is not None:
            pattern_of(self.group_by)
        for name in ("nesterov", "skip_bad", "batch_norm"):
            self._settle(name, switch)
        if self.init_from is not None:
            object.__setattr__(self, "init_from", os.fspath(self.init_from))

    def _check_rate(self) -> None:
        if self.lr is None or self.lr == AUTO:
            object.__setattr__(self, "lr", AUTO)
            return
        if isinstance(self.lr, str):
            raise UsageError(f"--lr must be a number above 0 or {AUTO}, not {self.lr!r}")
        self._settle("lr", real, above=0)
        if not SMALLEST <= self.lr <= LARGEST:
            raise UsageError(
                f"--lr must be from {SMALLEST:.2g} to {LARGEST:.2g}, as far as float32 goes, not {self.lr:g}"
            )

    def _settle(self, name: str, check: Callable[..., Any], *limits: Any, **more: Any) -> None:
        """Check a field, where it is given, and store it as a plain number."""
        if (given := getattr(self, name)) is not None:
            object.__setattr__(self, name, check(given, flag(name), *limits, **more))

    def _check_contradictions(self) -> None:
        if self.model == AUTO and self.init_from is not None:
            for name in _MODEL:
                if getattr(self, name) is not None:
                    raise UsageError(f"{flag(name)} would change nothing: --init-from brings its network; add --model")
        lengths = [flag(name) for name in ("epochs", "steps", "minutes") if getattr(self, name) is not None]
        if len(lengths) > 1:
            raise UsageError(f"{lengths[0]} and {lengths[1]} contradict each other: give one of them")
        if self.patience is not None and self.validation == 0:
            raise UsageError("--patience needs validation images, but --validation is 0")
        if self.warmup and self.schedule == "one-cycle":
            raise UsageError("--warmup would change nothing: the one-cycle schedule has its own; add --schedule cosine")
        for name in _MODEL:
            if getattr(self, name) is not None and name not in _model_settings(self.model):
                owners = [model for model in MODELS if name in settings_of(model)]
                raise UsageError(
                    f"{flag(name)} would change nothing with --model {self.model}; it belongs to {_list(owners)}"
                )
        for name in RULE:
            if getattr(self, name) != getattr(type(self), name) and name not in _rule_settings(self.optimizer):
                owners = [rule for rule in OPTIMIZERS if name in _rule_settings(rule)]
                rule = self.optimizer
                raise UsageError(
                    f"{flag(name)} would change nothing with --optimizer {rule}; it belongs to {_list(owners)}"
                )
        if self.workers is not None and self.lr != AUTO:
            raise UsageError(
                f"--workers would change nothing beside --lr {self.lr:g}: it is for the search for a rate; "
                "--threads is for training"
            )
        if self.nesterov and self.momentum == 0:
            raise UsageError("--nesterov needs a --momentum above 0")

    def resolved(self, *, train_count: int) -> "TrainSettings":
        """The same settings with epochs and batch_size decided, for `train_count` images; lr may still be "auto", and
        epochs is None where they have to be measured (minutes).

        Batch size: 128, halved while an epoch would have fewer than 32 batches, but not below 16 (nor above the
        number of images).
        """
        return dataclasses.replace(
            self,
            epochs=DEFAULT_EPOCHS if self.epochs is self.steps is self.minutes is None else self.epochs,
            batch_size=min(self.batch_size or default_batch_size(train_count), max(train_count, 1)),
        )

    def with_model(self, choice: Choice) -> "TrainSettings":
        """The same settings with model "auto" decided; what was given by hand is kept.

        Raises UsageError for a setting that the chosen model does not take.
        """
        chosen = {name: value for name, value in choice.settings.items() if getattr(self, name) is None}
        try:
            return dataclasses.replace(self, model=choice.model, **chosen)
        except UsageError as error:
            raise UsageError(f"{error} (--model auto chose {choice.model}: {choice.reason})") from None

    def model_arguments(self) -> dict[str, Any]:
        """The settings that were given for the network, by name."""
        return {name: value for name in _model_settings(self.model) if (value := getattr(self, name)) is not None}

    def optimizer_arguments(self) -> dict[str, Any]:
        """The settings that were given for the optimizer, by name."""
        return {name: value for name in _rule_settings(self.optimizer) if (value := getattr(self, name)) is not None}

    def to_json(self) -> dict[str, Any]:
        """All fields by name, as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainSettings":
        """What `to_json` wrote. Raises UsageError for fields that this version does not know."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UsageError(f"settings that this version of foveal does not know: {', '.join(unknown)}")
        return cls(**values)


class Options(TypedDict, total=False):
    """The fields of `TrainSettings` beside model and optimizer, as keyword arguments."""

    variant: str
    head: str
    dropout: float
    batch_norm: bool
    width: float
    momentum: float
    nesterov: bool
    weight_decay: float
    clip_norm: float | None
    max_norm: float | None
    label_smoothing: float
    class_weight: str
    lr: float | str
    schedule: str
    warmup: float
    epochs: int
    steps: int
    minutes: float | None
    patience: int | None
    batch_size: int
    size: int
    augment: str
    tta: str
    validation: float | None
    fraction: float | None
    group_by: str | None
    init_from: str | None
    seed: int
    threads: int | None
    workers: int | None
    isa: str | None
    skip_bad: bool


def default_batch_size(train_count: int) -> int:
    """128, halved while an epoch would have fewer than 32 batches, but not below 16."""
    size = 128
    while size > 16 and train_count < 32 * size:
        size //= 2
    return size


def _model_settings(model: str) -> tuple[str, ...]:
    if model == AUTO:
        return _MODEL
    return () if model == CUSTOM else settings_of(model)


def _rule_settings(optimizer: str) -> tuple[str, ...]:
    known = {field.name for field in dataclasses.fields(OPTIMIZERS[optimizer])}  # type: ignore[arg-type]
    return tuple(name for name in RULE if name in known)


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
