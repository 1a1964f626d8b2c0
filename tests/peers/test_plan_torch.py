"""Whole training steps of the native core against PyTorch, from the same weights: loss by loss, weight by weight."""

from pathlib import Path

import numpy as np
import pytest

import foveal as fv
from foveal.bench.networks import Case, cases
from foveal.bench.peer import torch_network
from foveal.kernels import available_isas

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.peers
STEPS, LR = 5, 0.0005  # small enough that no network passes through chaos, where rounding grows


def without_dropout(case: Case) -> fv.Sequential:
    """PyTorch draws other random numbers, so what is compared has no dropout."""
    return fv.Sequential(*(layer for layer in case.net.layers if not isinstance(layer, fv.Dropout)))


@pytest.mark.parametrize("isa", [isa for isa in available_isas() if isa != "reference"])
@pytest.mark.parametrize("name", ["mlp", "lenet", "vgg", "resnet", "nin", "depthwise"])
@pytest.mark.parametrize(
    ("optimizer", "rule"),
    [
        (fv.Momentum(nesterov=True, weight_decay=0.01), "SGD"),
        (fv.SGD(), "SGD"),
    ],
    ids=["nesterov", "sgd"],
)
def test_five_steps(name: str, isa: str, optimizer: fv.Optimizer, rule: str) -> None:
    case = cases()[name]
    five_steps(without_dropout(case), case.shape, isa, optimizer, rule)


def five_steps(net: fv.Sequential, shape: tuple[int, int, int], isa: str, optimizer: fv.Optimizer, rule: str) -> None:
    random = np.random.default_rng(0)
    x, y = random.standard_normal((8, *shape), np.float32), random.integers(0, 10, 8)
    plan = fv.Plan(net, shape, 8, optimizer, seed=1, isa=isa)
    other = torch_network(net, shape).double()
    other.load_state_dict({key: torch.tensor(value) for key, value in plan.params.items()}, strict=False)
    groups = [
        {"params": [p for n, p in other.named_parameters() if p.ndim > 1], "weight_decay": optimizer.weight_decay},
        {"params": [p for n, p in other.named_parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    momentum = {"momentum": 0.9, "nesterov": True} if isinstance(optimizer, fv.Momentum) else {}
    torch_rule = getattr(torch.optim, rule)(groups, lr=LR, **momentum)
    for _ in range(STEPS):
        loss = torch.nn.functional.cross_entropy(other(torch.tensor(x).double()), torch.tensor(y))
        torch_rule.zero_grad()
        loss.backward()
        torch_rule.step()
        assert plan.train_step(x, y, LR) == pytest.approx(loss.item(), rel=2e-4)
    for key, value in other.state_dict().items():
        if key in plan.params:
            scale = float(value.abs().max())
            np.testing.assert_allclose(plan.params[key], value.numpy(), rtol=0, atol=2e-3 * scale + 2e-5, err_msg=key)
    other.eval()
    expected = other(torch.tensor(x).double()).detach().numpy()
    np.testing.assert_allclose(plan.predict(x), expected, rtol=0, atol=2e-3 * float(np.abs(expected).max()))


@pytest.mark.parametrize(
    ("rule", "their_rule", "settings", "weight_decay"),
    [
        (fv.Momentum(), "SGD", {"momentum": 0.9}, 0.0),
        (fv.AdaGrad(weight_decay=0.01), "Adagrad", {}, 0.01),
        (fv.RMSProp(weight_decay=0.01), "RMSprop", {}, 0.01),
        (fv.Adam(weight_decay=0.01), "Adam", {}, 0.01),
        (fv.AdamW(weight_decay=0.1), "AdamW", {}, 0.1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_five_steps_with_every_choice_of_loss_and_limit(
    rule: fv.Optimizer, their_rule: str, settings: dict[str, float], weight_decay: float
) -> None:
    case = cases()["lenet"]
    net = without_dropout(case)
    random = np.random.default_rng(0)
    x, y = random.standard_normal((8, *case.shape), np.float32), random.integers(0, 10, 8)
    weights = tuple(random.uniform(0.2, 3.0, 10).astype(np.float32).tolist())
    limits = {"clip_norm": 0.5, "max_norm": 1.3}
    plan = fv.Plan(net, case.shape, 8, rule, seed=1, label_smoothing=0.1, class_weights=weights, **limits)
    other = torch_network(net, case.shape).double()
    other.load_state_dict({key: torch.tensor(value) for key, value in plan.params.items()}, strict=False)
    groups = [
        {"params": [p for n, p in other.named_parameters() if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for n, p in other.named_parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = getattr(torch.optim, their_rule)(groups, lr=LR, **settings)
    loss_function = torch.nn.CrossEntropyLoss(torch.tensor(weights).double(), label_smoothing=0.1)
    for _ in range(STEPS):
        loss = loss_function(other(torch.tensor(x).double()), torch.tensor(y))
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(other.parameters(), limits["clip_norm"])
        assert norm > limits["clip_norm"]
        optimizer.step()
        with torch.no_grad():
            for parameter in groups[0]["params"]:
                parameter.copy_(torch.renorm(parameter, p=2, dim=0, maxnorm=limits["max_norm"]))
        assert plan.train_step(x, y, LR) == pytest.approx(loss.item(), rel=2e-4)
    for key, value in other.state_dict().items():
        scale = float(value.abs().max())
        np.testing.assert_allclose(plan.params[key], value.numpy(), rtol=0, atol=2e-3 * scale + 2e-5, err_msg=key)


@pytest.mark.parametrize("isa", [isa for isa in available_isas() if isa != "reference"])
def test_five_steps_of_every_activation_in_and_beside_residual_blocks(isa: str) -> None:
    net = fv.Sequential(
        fv.Conv2d(24, 3, padding=1), fv.GELU(), fv.Residual(fv.Sequential(fv.Conv2d(24, 3, padding=1), fv.Tanh())),
        fv.Residual(fv.Sequential(fv.Conv2d(40, 3, 2, 1), fv.LeakyReLU(0.2)), fv.Conv2d(40, 1, 2)), fv.ReLU(),
        fv.Flatten(), fv.Dense(30), fv.Residual(fv.Sigmoid()), fv.Dense(10),
    )  # fmt: skip
    five_steps(net, (3, 8, 8), isa, fv.Momentum(nesterov=True), "SGD")


@pytest.mark.parametrize("isa", [isa for isa in available_isas() if isa != "reference"])
def test_five_steps_of_dilation_and_groups(isa: str) -> None:
    net = fv.Sequential(
        fv.Conv2d(32, 3, padding=2, dilation=2), fv.ReLU(), fv.Conv2d(32, 3, 2, 1, groups=32), fv.ReLU(),
        fv.Conv2d(48, 1), fv.GELU(), fv.Conv2d(48, 3, padding=2, dilation=2, groups=3), fv.ReLU(),
        fv.Conv2d(40, 3, padding=1, groups=8), fv.Flatten(), fv.Dense(10),
    )  # fmt: skip
    five_steps(net, (3, 8, 8), isa, fv.Momentum(nesterov=True), "SGD")


@pytest.mark.parametrize("model", ["vgg", "resnet"])
def test_weights_load_into_torch_by_name(tmp_path: Path, model: str) -> None:
    from safetensors.torch import load_file

    run = fv.fit(model, "digits", width=0.25, lr=0.02, steps=20, run_dir=tmp_path / "run", progress=False)
    other = torch_network(run.model.net, (1, 8, 8))
    other.load_state_dict(load_file(tmp_path / "run" / "model.safetensors"))
    other.eval()
    x = np.random.default_rng(0).standard_normal((5, 1, 8, 8), np.float32)
    np.testing.assert_allclose(run.plan.predict(x), other(torch.tensor(x)).detach().numpy(), rtol=1e-4, atol=1e-4)
