"""Whole models, layer by layer by their definitions, against the same networks in PyTorch with the same weights."""

from typing import Any

import numpy as np
import pytest

from foveal.layers import Context, Layer, SoftmaxCrossEntropy
from foveal.models import build

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = pytest.mark.peers


class Mean(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any) -> Any:
        return x.mean(dim=(2, 3))


def module(layer: Any, before: tuple[int, ...]) -> Any:
    """The PyTorch module of a layer spec."""
    if layer.kind == "Conv2d":
        (top, bottom, left, right), _ = layer.geometry(before)
        assert (top, left) == (bottom, right)
        return nn.Conv2d(before[0], layer.filters, layer.kernel, layer.strides, (top, left), bias=layer.bias)
    if layer.kind == "BatchNorm":
        return (nn.BatchNorm2d if len(before) == 3 else nn.BatchNorm1d)(before[0], layer.eps, layer.momentum)
    if layer.kind in ("MaxPool2d", "AvgPool2d"):
        return getattr(nn, layer.kind)(layer.window, layer.strides, ceil_mode=layer.ceil_mode)
    if layer.kind == "Dense":
        return nn.Linear(before[0], layer.units, layer.bias)
    return {"ReLU": nn.ReLU, "Flatten": nn.Flatten, "GlobalAvgPool": Mean}[layer.kind]()


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mlp", {}),
    "mlp_bn": ("mlp", {"batch_norm": True}),
    "lenet": ("lenet", {}),
    "lenet_gap_bn": ("lenet", {"head": "gap", "batch_norm": True}),
    "vgg": ("vgg", {}),
    "vgg_fc": ("vgg", {"head": "fc", "batch_norm": False}),
    "nin": ("nin", {"dropout": 0.0}),
    "nin_author_fc": ("nin", {"dropout": 0.0, "variant": "author", "head": "fc"}),
    "nin_caffe_bn": ("nin", {"dropout": 0.0, "variant": "caffe", "batch_norm": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_loss_and_every_gradient(case: str) -> None:
    name, settings = CASES[case]
    shape, ctx, random = (3, 12, 12), Context(training=True), np.random.default_rng(0)
    net = build(name, 10, shape, width=0.1, **settings)
    layers: list[tuple[Layer, tuple[int, ...]]] = [(layer, before) for layer, before, _ in net.shapes(shape)]
    theirs = nn.Sequential(*(module(layer, before) for layer, before in layers)).double()
    params = []  # ours, with PyTorch's names and shapes: a state dict fits without a change
    for position, (layer, before) in enumerate(layers):
        values = {slot.name: theirs.state_dict()[f"{position}.{slot.name}"] for slot in layer.param_slots(before)}
        assert {slot.name: slot.shape for slot in layer.param_slots(before)} == {
            n: tuple(v.shape) for n, v in values.items()
        }
        params.append({name: value.numpy().copy() for name, value in values.items()})

    x, labels = random.standard_normal((4, *shape)), random.integers(0, 10, 4)
    their_loss = nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(labels))
    their_loss.backward()

    y, tape = x, []
    for (layer, _), values in zip(layers, params, strict=True):
        y, saved = layer.forward(y, values, ctx)
        tape.append(saved)
    loss, saved = SoftmaxCrossEntropy().forward(y, labels)
    assert loss == pytest.approx(float(their_loss.detach()), rel=1e-10)
    dy = SoftmaxCrossEntropy().backward(saved, labels)
    gradients = dict(theirs.named_parameters())
    for position in reversed(range(len(layers))):
        dy, dparams = layers[position][0].backward(dy, tape[position], params[position], ctx)
        for slot, ours in dparams.items():
            np.testing.assert_allclose(ours, gradients[f"{position}.{slot}"].grad.numpy(), rtol=1e-8, atol=1e-10)
