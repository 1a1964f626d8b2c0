"""Models: the networks as published or stated, their sizes, settings, and what is refused."""

import inspect
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from foveal.errors import UsageError
from foveal.layers import (
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    GlobalAvgPool,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
)
from foveal.models import MODELS, advice, airbench, build, choose, lenet, mlp, nin, resnet, settings_of, vgg
from foveal.models.choice import FEW_IMAGES, SMALL_SIDE

ORDER = ("variant", "head", "dropout", "batch_norm", "width")  # of settings, where they are listed
Shape = tuple[int, int, int]


def parameters(net: Sequential, shape: Shape) -> int:
    """Trainable numbers; running statistics are not counted."""
    slots = [slot for layer, before, _ in net.shapes(shape) for slot in layer.param_slots(before)]
    return sum(slot.size for slot in slots if slot.kind == "trainable")


def kinds(net: Sequential) -> Counter[str]:
    return Counter(layer.kind for layer in net.layers)


SIZES = {
    # NIN on CIFAR-10 has 966,986 parameters
    "nin": (nin(10), (3, 32, 32), 966_986),
    "nin_hundred_classes": (nin(100), (3, 32, 32), 966_986 + 90 * 193),
    "nin_fc": (nin(10, head="fc"), (3, 32, 32), 966_986 + 640 * 10 + 10),
    "nin_batch_norm": (nin(10, batch_norm=True), (3, 32, 32), 966_986 + 160 + 96 + 192 * 6),
    "lenet": (lenet(10), (1, 28, 28), 32 * 26 + 64 * (800 + 1) + 128 * (7 * 7 * 64 + 1) + 10 * 129),
    "lenet_gap": (lenet(10, head="gap"), (1, 28, 28), 32 * 26 + 64 * 801 + 10 * 65),
    "mlp": (mlp(10), (1, 28, 28), 800 * 785 + 800 * 801 + 10 * 801),
    "mlp_one_hidden": (mlp(10, hidden=(32,)), (1, 28, 28), 32 * 785 + 10 * 33),
    "mlp_no_hidden": (mlp(10, hidden=()), (1, 28, 28), 10 * 785),
    "vgg": (
        vgg(10),
        (3, 32, 32),
        9 * (3 * 64 + 64 * 64 + 64 * 128 + 128 * 128 + 128 * 256 + 256 * 256) + 2 * 2 * (64 + 128 + 256) + 10 * 257,
    ),
    "vgg_fc_without_bn": (
        vgg(10, head="fc", batch_norm=False),
        (3, 32, 32),
        9 * (3 * 64 + 64 * 64 + 64 * 128 + 128 * 128 + 128 * 256 + 256 * 256)
        + 2 * (64 + 128 + 256)
        + 256 * (8 * 8 * 256 + 1)
        + 10 * 257,
    ),
}

_STAGES = 9 * (32 * 64 + 3 * 64 * 64 + 64 * 128 + 3 * 128 * 128) + 32 * 64 + 64 * 128  # the second and the third
SIZES |= {
    "airbench": (
        airbench(10),
        (3, 32, 32),
        9 * (3 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 3 * 128 * 128) + 2 * (32 + 2 * (64 + 128 + 128)) + 10 * 129,
    ),
    "airbench_author": (
        airbench(10, variant="author"),
        (3, 32, 32),
        4 * 3 * 24 + 24
        + 9 * (24 * 64 + 64 * 64 + 64 * 256 + 3 * 256 * 256) + 2 * 2 * (64 + 256 + 256) + 10 * 257,
    ),
    "resnet": (
        resnet(10),
        (3, 32, 32),
        9 * (3 * 32 + 4 * 32 * 32) + _STAGES + 2 * (5 * 32 + 5 * 64 + 5 * 128) + 10 * 129,
    ),
    "resnet_without_bn": (
        resnet(10, batch_norm=False),
        (1, 28, 28),
        9 * (32 + 2 * 32 * 32) + 3 * 32
        + 9 * (32 * 64 + 64 * 64) + 32 * 64 + 3 * 64
        + 9 * (64 * 128 + 128 * 128) + 64 * 128 + 3 * 128
        + 10 * 129,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SIZES)
def test_numbers_of_parameters(case: str) -> None:
    net, shape, expected = SIZES[case]
    assert parameters(net, shape) == expected


def test_multiply_adds_of_nin() -> None:
    assert nin(10).flops((3, 32, 32)) / 2 == pytest.approx(222.5e6, rel=1e-3)  # pooling is not counted


def test_lenet_is_as_stated() -> None:
    assert [repr(layer).split("(")[0] for layer in lenet(10).layers] == [
        "Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "MaxPool2d", "Flatten", "Dense", "ReLU", "Dense",
    ]  # fmt: skip
    assert lenet(10).layers[3] == Conv2d(64, 5, padding="same")


def test_vgg_is_as_stated() -> None:
    net = vgg(10)
    assert kinds(net) == {"Conv2d": 6, "BatchNorm": 6, "ReLU": 6, "MaxPool2d": 2, "GlobalAvgPool": 1, "Dense": 1}
    assert [layer.filters for layer in net.layers if isinstance(layer, Conv2d)] == [64, 64, 128, 128, 256, 256]
    assert not any(layer.bias for layer in net.layers if isinstance(layer, Conv2d))
    assert net.layers[:4] == (Conv2d(64, 3, padding="same", bias=False), BatchNorm(), ReLU(), net.layers[3])


def test_resnet_is_as_stated() -> None:
    net = resnet(10)
    assert kinds(net) == {"Conv2d": 1, "BatchNorm": 1, "ReLU": 7, "Residual": 6, "GlobalAvgPool": 1, "Dense": 1}
    body = Sequential(
        Conv2d(32, 3, padding=1, bias=False), BatchNorm(), ReLU(), Conv2d(32, 3, padding=1, bias=False), BatchNorm()
    )
    assert net.layers[3:7] == (Residual(body), ReLU(), Residual(body), ReLU())
    projections = [layer.shortcut for layer in net.layers if isinstance(layer, Residual)]
    assert projections == [
        None, None, Sequential(Conv2d(64, 1, 2, bias=False), BatchNorm()), None,
        Sequential(Conv2d(128, 1, 2, bias=False), BatchNorm()), None,
    ]  # fmt: skip
    maps = [after for _, _, after in net.shapes((3, 32, 32)) if len(after) == 3]
    assert sorted(set(maps)) == [(32, 32, 32), (64, 16, 16), (128, 8, 8)]
    assert kinds(resnet(10, 1))["Residual"] == kinds(resnet(10, batch_norm=False))["Residual"] == 3
    assert resnet(10, 5, batch_norm=False).out_shape((1, 1, 1)) == (10,)
    with pytest.raises(UsageError, match="blocks must be at least 1, not 0"):
        resnet(10, 0)


def test_blocks_of_airbench_pool_before_batch_norm() -> None:
    conv, norm, relu = "Conv2d", "BatchNorm", "ReLU"
    block = [conv, "MaxPool2d", norm, relu, conv, norm, relu]
    assert [layer.kind for layer in airbench(10).layers] == [conv, norm, relu, *block * 3, "GlobalAvgPool", "Dense"]
    author = airbench(10, variant="author").layers
    assert author[:2] == (Conv2d(24, 2, init="whitening"), ReLU())
    assert [layer.kind for layer in author[2:]] == [*block * 3, "GlobalAvgPool", "Dense"]
    assert [layer.filters for layer in author if isinstance(layer, Conv2d)] == [24, 64, 64, 256, 256, 256, 256]
    with pytest.raises(UsageError, match="airbench: variant must be ours or author, not 'caffe'"):
        airbench(10, variant="caffe")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("variant", "second", "rectified"),
    [("ours", AvgPool2d, False), ("author", MaxPool2d, True), ("caffe", AvgPool2d, True)],
)
def test_variants_of_nin(variant: str, second: type, rectified: bool) -> None:
    net = nin(10, variant=variant)  # type: ignore[arg-type]
    pools = [layer for layer in net.layers if isinstance(layer, (MaxPool2d, AvgPool2d))]
    assert pools == [MaxPool2d(3, 2, ceil_mode=True), second(3, 2, ceil_mode=True)]
    assert isinstance(net.layers[-1], GlobalAvgPool)
    assert isinstance(net.layers[-2], ReLU if rectified else Conv2d)
    places = [position for position, layer in enumerate(net.layers) if isinstance(layer, Dropout)]
    assert [net.layers[place - 1] for place in places] == pools
    assert [net.layers[place] for place in places] == [Dropout(0.5)] * 2
    maps = [after for _, _, after in net.shapes((3, 32, 32)) if len(after) == 3]
    assert sorted({after[1] for after in maps}, reverse=True) == [32, 16, 8]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("side", [8, 9, 28, 32, 33])
@pytest.mark.parametrize("channels", [1, 3])
def test_sizes_of_images(name: str, side: int, channels: int) -> None:
    assert build(name, 7, (channels, side, side)).out_shape((channels, side, side)) == (7,)


def every_setting(name: str) -> list[tuple[str, object]]:
    values = {
        "head": ["gap", "fc"], "dropout": [0.0, 0.25], "batch_norm": [False, True], "width": [0.25, 1.0, 2.0],
        "variant": ["ours", "author", *(["caffe"] if name == "nin" else [])],
    }  # fmt: skip
    return [(setting, value) for setting in settings_of(name) for value in values[setting]]


@pytest.mark.parametrize("name", MODELS)
def test_every_setting_changes_the_network(name: str) -> None:
    start = {key: item.default for key, item in inspect.signature(MODELS[name]).parameters.items()}
    for setting, value in every_setting(name):
        net = build(name, 10, (3, 32, 32), **{setting: value})
        assert net.out_shape((3, 32, 32)) == (10,)
        assert (net == build(name, 10, (3, 32, 32))) == (value == start[setting])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("width", [0.01, 0.25, 0.5, 1.5, 2])
def test_widths_are_multiples_of_sixteen(name: str, width: float) -> None:
    hidden = [
        getattr(layer, "filters", getattr(layer, "units", 16))
        for layer in build(name, 16, (3, 32, 32), width=width).layers
    ]
    assert all(channels % 16 == 0 and channels >= 16 for channels in hidden)


@pytest.mark.parametrize("name", ["lenet", "mlp", "vgg"])
def test_batch_norm_comes_with_convolutions_without_bias(name: str) -> None:
    layers = build(name, 10, (3, 32, 32), batch_norm=True).layers
    for layer, after in itertools.pairwise(layers):
        if isinstance(layer, (Conv2d, Dense)):
            assert isinstance(after, BatchNorm)
            assert not layer.bias


@pytest.mark.parametrize(
    ("shape", "images", "chosen"),
    [
        ((1, 8, 8), 60_000, ("lenet", {})),
        ((3, 15, 200), 60_000, ("lenet", {})),
        ((3, 64, 64), 999, ("lenet", {})),
        ((3, 64, 64), 1000, ("vgg", {"width": 0.5})),
        ((1, 16, 16), 1000, ("vgg", {"width": 0.5})),
    ],
)
def test_auto_chooses_by_size_and_number(
    shape: tuple[int, int, int], images: int, chosen: tuple[str, dict[str, float]]
) -> None:
    choice = choose(shape, images)
    assert (choice.model, choice.settings) == chosen
    assert choice.reason
    assert build(choice.model, 5, shape, **choice.settings).out_shape(shape) == (5,)


def test_the_docs_print_the_rule() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    rows = [
        f"| a side of less than {SMALL_SIDE} pixels | `--model {choose((1, SMALL_SIDE - 1, 99), 10**6).model}` |",
        f"| fewer than {FEW_IMAGES:,} images | `--model {choose((1, 99, 99), FEW_IMAGES - 1).model}` |",
    ]
    for row in rows:
        assert row in page
    usual = str(choose((1, SMALL_SIDE, SMALL_SIDE), FEW_IMAGES)).split(":")[0]
    assert f"| else | `{usual}` |" in page
    for name in MODELS:
        listed = " ".join("--" + setting.replace("_", "-") for setting in sorted(settings_of(name), key=ORDER.index))
        assert f"| `{name}` |" in page
        assert f"| `{listed}` |" in page


@pytest.mark.parametrize(
    ("wrong", "meant"), [("nim", "nin"), ("le-net", "lenet"), ("vgg16", "vgg"), ("MLP ", "mlp"), ("zzz", None)]
)
def test_unknown_models(wrong: str, meant: str | None) -> None:
    words = f"did you mean {meant}\\?" if meant else "there are mlp, lenet, nin, vgg, resnet, airbench"
    with pytest.raises(UsageError, match=f"no model is called '{wrong}'; {words}"):
        build(wrong, 10, (3, 32, 32))


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        ("lenet", "batchnorm", "did you mean batch_norm"),
        ("nin", "varient", "did you mean variant"),
        ("mlp", "head", "there are dropout, batch_norm, width"),
        ("vgg", "variant", "there are head, dropout, batch_norm, width"),
    ],
)
def test_settings_a_model_does_not_take(name: str, setting: str, words: str) -> None:
    with pytest.raises(UsageError, match=f"model {name} has no setting '{setting}'; {words}"):
        build(name, 10, (3, 32, 32), **{setting: 1})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"head": "flat"}, "head must be gap or fc"), ({"variant": "mine"}, "variant must be ours, author or caffe"),
        ({"width": 0}, "width must be"), ({"width": float("inf")}, "width must be"),
        ({"width": float("nan")}, "width must be"), ({"dropout": 1.0}, "Dropout"),
    ],
    ids=["head", "variant", "no_width", "infinite_width", "nan_width", "dropout"],
)  # fmt: skip
def test_settings_out_of_range(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build("nin", 10, (3, 32, 32), **settings)


@pytest.mark.parametrize(("name", "least"), [("lenet", 4), ("vgg", 4), ("nin", 4)])
def test_images_too_small(name: str, least: int) -> None:
    assert build(name, 10, (3, least, least)).out_shape((3, least, least)) == (10,)
    with pytest.raises(UsageError) as caught:
        build(name, 10, (3, 2, 40))
    assert str(caught.value) == (
        f"images of 40×2 pixels are too small for model {name}; it needs at least {least}×{least}"
    )


def test_advice_looks_into_residual_blocks() -> None:
    norm, drop = BatchNorm(), Dropout(0.2)
    (line,) = advice(Sequential(ReLU(), Residual(Sequential(Conv2d(4, 3), drop, ReLU(), norm), Conv2d(4, 3))))
    assert line.startswith("layer 1.body.1 (Dropout) comes before layer 1.body.3 (BatchNorm)")
    lines = advice(Sequential(Residual(Sequential(drop, Residual(drop)), norm), Sequential(Residual(ReLU(), norm))))
    assert [line.split(":")[0] for line in lines] == [
        "layer 0.body.0 (Dropout) comes before layer 1.0.shortcut.0 (BatchNorm)",
        "layer 0.body.1.body.0 (Dropout) comes before layer 1.0.shortcut.0 (BatchNorm)",
    ]
    assert advice(Sequential(Residual(drop, norm))) == ()  # neither is before the other


def test_advice_on_dropout_before_batch_norm() -> None:
    (line,) = advice(Sequential(Conv2d(4, 3), Dropout(0.2), ReLU(), BatchNorm(), Dropout(0.1)))
    assert line.startswith("layer 1 (Dropout) comes before layer 3 (BatchNorm)")
    assert advice(Sequential(BatchNorm(), Dropout(0.5))) == ()
    assert advice(Sequential(Dropout(0.0), BatchNorm())) == ()
    assert len(advice(nin(10, batch_norm=True))) == 2


@pytest.mark.parametrize("name", MODELS)
def test_defaults_need_no_advice(name: str) -> None:
    assert advice(build(name, 10, (3, 32, 32))) == ()


def test_he_normal_deviations() -> None:
    for layer, before, _ in vgg(10).shapes((3, 32, 32)):
        if isinstance(layer, Conv2d):
            (weight,) = layer.param_slots(before)
            assert weight.init.deviation == pytest.approx(np.sqrt(2 / (9 * before[0])))
