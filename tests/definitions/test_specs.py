"""Specs are values: immutable, hashable, picklable, saved as JSON and read back; arguments are checked."""

import dataclasses
import json
import pickle

import pytest

from foveal.errors import RunError, UsageError
from foveal.layers import (
    GELU,
    AvgPool2d,
    BatchNorm,
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
    base,
    from_json,
    layer,
    to_json,
)
from foveal.models import nin, resnet, vgg

SPECS = [
    Conv2d(8, 3),
    Conv2d(8, (3, 5), stride=(2, 1), padding="same", bias=False),
    Conv2d(8, 3, padding=(0, 1, 2, 3)),
    Conv2d(8, 3, dilation=(2, 1)),
    Conv2d(8, 3, groups=4),
    MaxPool2d(2),
    MaxPool2d((3, 2), 2, padding=(1, 0), ceil_mode=True),
    AvgPool2d(3, 2, padding=1, ceil_mode=True, count_padding=True),
    GlobalAvgPool(),
    BatchNorm(),
    BatchNorm(eps=1e-3, momentum=0.01),
    Dropout(0.1),
    Dense(10),
    Dense(10, bias=False),
    Flatten(),
    ReLU(),
    LeakyReLU(),
    LeakyReLU(0.2),
    GELU(),
    Sigmoid(),
    Tanh(),
    Sequential(),
    Sequential(Conv2d(4, 3), ReLU(), Flatten(), Dense(2)),
    Residual(Conv2d(4, 3, padding=1)),
    Residual(Sequential(Conv2d(4, 3), ReLU()), shortcut=Conv2d(4, 3)),
    Residual(Residual(ReLU(), Tanh()), Sequential(Residual(GELU()))),
    Conv2d(24, 2, init="whitening"),
    nin(10, variant="author"),
    resnet(4, width=0.5),
    vgg(3, head="fc", dropout=0.25),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_a_spec_is_a_value(spec: Layer) -> None:
    read_back = from_json(json.loads(json.dumps(to_json(spec))))
    pickled = pickle.loads(pickle.dumps(spec))
    for copy in (read_back, pickled):
        assert copy == spec
        assert hash(copy) == hash(spec)
        assert repr(copy) == repr(spec)
        assert to_json(copy) == to_json(spec)
    for field in dataclasses.fields(spec):  # type: ignore[arg-type]
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(spec, field.name, None)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.kind)
def test_repr_is_the_constructor_call(spec: Layer) -> None:
    assert eval(repr(spec)) == spec


def test_every_registered_layer_is_in_the_list() -> None:
    ours = {kind for kind, cls in base._KINDS.items() if cls.__module__.startswith("foveal.")}
    assert ours == {spec.kind for spec in SPECS}


def test_specs_with_other_settings_differ() -> None:
    assert len(set(SPECS)) == len(SPECS)


def test_settings_that_came_later_are_written_only_where_they_are_used() -> None:
    assert set(to_json(Conv2d(8, 3))) == {"kind", "filters", "kernel_size", "stride", "padding", "bias"}
    assert to_json(Conv2d(8, 3, groups=2))["groups"] == 2
    assert to_json(Conv2d(8, 3, dilation=2))["dilation"] == [2, 2]


def test_spellings_of_the_same_layer_are_equal() -> None:
    assert Conv2d(8, 3, stride=2, dilation=2) == Conv2d(8, (3, 3), stride=(2, 2), dilation=(2, 2))
    assert MaxPool2d(2) == MaxPool2d((2, 2), (2, 2), (0, 0))
    assert AvgPool2d(3, padding=1) == AvgPool2d(3, 3, padding=(1, 1))
    assert Residual(ReLU(), Conv2d(4, 1)) == Residual(Sequential(ReLU()), Sequential(Conv2d(4, 1)))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Conv2d(0, 3), r"Conv2d\(filters=...\)"),
        (lambda: Conv2d(8, 0), r"Conv2d\(kernel_size=...\)"),
        (lambda: Conv2d(8, 3, stride=0), r"Conv2d\(stride=...\)"),
        (lambda: Conv2d(8, 3, padding="full"), "padding must be"),  # type: ignore[arg-type]
        (lambda: Conv2d(8, 3, dilation=0), r"Conv2d\(dilation=...\)"),
        (lambda: Conv2d(8, 3, groups=0), r"Conv2d\(groups=...\)"),
        (lambda: Conv2d(8, 3, groups=3), r"Conv2d\(groups=3\) must divide its filters, but there are 8$"),
        (lambda: MaxPool2d(0), r"MaxPool2d\(size=...\)"),
        (lambda: AvgPool2d(2, 0), r"AvgPool2d\(stride=...\)"),
        (lambda: MaxPool2d(3, padding=2), r"MaxPool2d\(padding=...\) must be at most half of size \(3, 3\)"),
        (lambda: AvgPool2d((4, 1), padding=(2, 1)), r"AvgPool2d\(padding=...\) must be at most half"),
        (lambda: MaxPool2d(2, padding=-1), r"MaxPool2d\(padding=...\)"),
        (lambda: BatchNorm(eps=0), r"BatchNorm\(eps=...\)"),
        (lambda: BatchNorm(momentum=0), r"BatchNorm\(momentum=...\)"),
        (lambda: BatchNorm(momentum=1.5), r"BatchNorm\(momentum=...\)"),
        (lambda: Dropout(1), r"Dropout\(p=...\)"),
        (lambda: Dropout(-0.1), r"Dropout\(p=...\)"),
        (lambda: Dropout(float("nan")), r"Dropout\(p=...\)"),
        (lambda: LeakyReLU(0), r"LeakyReLU\(slope=...\) must be at least 1.17549e-38"),
        (lambda: LeakyReLU(float("inf")), r"LeakyReLU\(slope=...\)"),
        (lambda: Dense(0), r"Dense\(units=...\)"),
        (lambda: Dense(2.5), r"Dense\(units=...\)"),  # type: ignore[arg-type]
        (lambda: Residual(3), r"Residual\(body=...\) must be a layer, or a Sequential of several, not 3"),  # type: ignore[arg-type]
        (lambda: Residual(None), r"Residual\(body=...\) must be a layer"),  # type: ignore[arg-type]
        (lambda: Residual(ReLU(), "identity"), r"Residual\(shortcut=...\) must be a layer"),  # type: ignore[arg-type]
        (lambda: Sequential(ReLU(), 3), "item 1 is 3"),  # type: ignore[arg-type]
    ],
)
def test_arguments_out_of_range_are_named(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]


def test_unknown_kind_names_what_is_missing() -> None:
    with pytest.raises(
        RunError, match="kind 'Mystery', which is none of foveal's: import the module that defines it first"
    ):
        from_json({"kind": "Mystery"})
    with pytest.raises(RunError, match="import riddles first"):
        from_json({"kind": "Mystery", "module": "riddles", "depth": 3})


def test_a_layer_of_ones_own_names_its_module() -> None:
    own = layer(type("OfMyOwn", (Layer,), {"__module__": "riddles"}))
    assert to_json(own()) == {"kind": "OfMyOwn", "module": "riddles"}
    assert from_json(to_json(own())) == own()
    assert "module" not in to_json(Dense(3))


def test_settings_of_another_version_are_refused() -> None:
    with pytest.raises(RunError, match="Dense does not fit this version"):
        from_json({"kind": "Dense", "units": 3, "dilation": 2})


def test_two_layers_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="a layer named ReLU is already registered by foveal"):
        layer(type("ReLU", (Layer,), {"__module__": "elsewhere"}))
