"""Whole models, by their definitions, against the same networks in PyTorch with the same weights."""

from typing import Any

import numpy as np
import pytest

from foveal.bench.peer import torch_network
from foveal.layers import Context, SoftmaxCrossEntropy
from foveal.models import build

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = pytest.mark.peers


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mlp", {}),
    "mlp_bn": ("mlp", {"batch_norm": True}),
    "lenet": ("lenet", {}),
    "lenet_gap_bn": ("lenet", {"head": "gap", "batch_norm": True}),
    "vgg": ("vgg", {}),
    "vgg_fc": ("vgg", {"head": "fc", "batch_norm": False}),
    "resnet": ("resnet", {}),
    "airbench": ("airbench", {}),
    "airbench_author": ("airbench", {"variant": "author"}),
    "resnet_fc_without_bn": ("resnet", {"head": "fc", "batch_norm": False}),
    "nin": ("nin", {"dropout": 0.0}),
    "nin_author_fc": ("nin", {"dropout": 0.0, "variant": "author", "head": "fc"}),
    "nin_caffe_bn": ("nin", {"dropout": 0.0, "variant": "caffe", "batch_norm": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_loss_and_every_gradient(case: str) -> None:
    name, settings = CASES[case]
    shape, ctx, random = (3, 12, 12), Context(training=True), np.random.default_rng(0)
    net = build(name, 10, shape, width=0.1, **settings)
    theirs = torch_network(net, shape).double()
    # ours, with PyTorch's names and shapes: a state dict fits without a change
    state = {key: value for key, value in theirs.state_dict().items() if not key.endswith(".num_batches_tracked")}
    assert {slot.name: slot.shape for slot in net.param_slots(shape)} == {
        key: tuple(value.shape) for key, value in state.items()
    }
    params = {key: value.numpy().copy() for key, value in state.items()}

    x, labels = random.standard_normal((4, *shape)), random.integers(0, 10, 4)
    their_loss = nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(labels))
    their_loss.backward()

    y, tape = net.forward(x, params, ctx)
    loss, saved = SoftmaxCrossEntropy().forward(y, labels)
    assert loss == pytest.approx(float(their_loss.detach()), rel=1e-10)
    _, dparams = net.backward(SoftmaxCrossEntropy().backward(saved, labels), tape, params, ctx)
    gradients = dict(theirs.named_parameters())
    assert dparams.keys() == gradients.keys()
    for key, ours in dparams.items():
        np.testing.assert_allclose(ours, gradients[key].grad.numpy(), rtol=1e-8, atol=1e-10)
    for key in (key for key in params if "running" in key):
        np.testing.assert_allclose(params[key], theirs.state_dict()[key].numpy(), rtol=1e-10, atol=1e-12)
