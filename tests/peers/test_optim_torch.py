"""Optimizers over five steps, and schedules over whole trainings, against PyTorch's."""

from typing import Any

import numpy as np
import pytest

from foveal.optim import SGD, AdaGrad, Adam, AdamW, Momentum, Optimizer, RMSProp, Schedule
from foveal.optim.clipping import clip_norm, limit_norms

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.peers

RULES: dict[str, tuple[Optimizer, Any, dict[str, Any]]] = {
    "sgd": (SGD(), torch.optim.SGD, {}),
    "sgd_decay": (SGD(weight_decay=0.1), torch.optim.SGD, {"weight_decay": 0.1}),
    "momentum": (Momentum(), torch.optim.SGD, {"momentum": 0.9}),
    "dampening": (Momentum(0.8, dampening=0.3), torch.optim.SGD, {"momentum": 0.8, "dampening": 0.3}),
    "nesterov": (
        Momentum(nesterov=True, weight_decay=0.01),
        torch.optim.SGD,
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    ),
    "adagrad": (AdaGrad(), torch.optim.Adagrad, {}),
    "adagrad_decay": (AdaGrad(weight_decay=0.1), torch.optim.Adagrad, {"weight_decay": 0.1}),
    "adagrad_eps": (AdaGrad(0.1), torch.optim.Adagrad, {"eps": 0.1}),
    "rmsprop": (RMSProp(), torch.optim.RMSprop, {}),
    "rmsprop_decay": (RMSProp(weight_decay=0.1), torch.optim.RMSprop, {"weight_decay": 0.1}),
    "rmsprop_other_window": (RMSProp(0.5, 1e-3), torch.optim.RMSprop, {"alpha": 0.5, "eps": 1e-3}),
    "adamw": (AdamW(), torch.optim.AdamW, {"weight_decay": 0.0}),
    "adamw_decay": (AdamW(weight_decay=0.1), torch.optim.AdamW, {"weight_decay": 0.1}),
    "adamw_other_betas": (
        AdamW(0.5, 0.9, 1e-3, weight_decay=0.01),
        torch.optim.AdamW,
        {"betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.01},
    ),
    "adam": (Adam(), torch.optim.Adam, {}),
    "adam_decay": (Adam(weight_decay=0.1), torch.optim.Adam, {"weight_decay": 0.1}),
    "adam_other_betas": (Adam(0.5, 0.9, 1e-3), torch.optim.Adam, {"betas": (0.5, 0.9), "eps": 1e-3}),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", RULES)
def test_five_steps(name: str, dtype: Any) -> None:
    """With another rate at each step: where the rate enters matters."""
    rule, kind, settings = RULES[name]
    random = np.random.default_rng(0)
    w = random.standard_normal(50).astype(dtype)
    state = {slot: np.zeros_like(w) for slot in rule.state}
    theirs = torch.nn.Parameter(torch.tensor(w))
    optimizer = kind([theirs], lr=1.0, **settings)
    for t, lr in enumerate((0.1, 0.05, 0.2, 0.01, 0.1), start=1):
        gradient = random.standard_normal(50).astype(dtype)
        optimizer.param_groups[0]["lr"] = lr
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
        rule.update(w, rule.decay(w, gradient, lr, rule.weight_decay), state, lr, t)
        bound = 20 * t * float(np.finfo(dtype).eps)  # some ten roundings a step
        np.testing.assert_allclose(w, theirs.detach().numpy(), rtol=bound, atol=bound)


@pytest.mark.parametrize("most", [0.1, 3.0, 1000.0])
def test_clip_norm(most: float) -> None:
    random = np.random.default_rng(0)
    parts = [random.standard_normal(shape) for shape in ((5, 3), (5,), (7, 2, 3, 3))]
    theirs = [torch.nn.Parameter(torch.zeros(part.shape).double()) for part in parts]
    for parameter, part in zip(theirs, parts, strict=True):
        parameter.grad = torch.tensor(part)
    their_norm = torch.nn.utils.clip_grad_norm_(theirs, most)
    together = np.concatenate([part.reshape(-1) for part in parts])
    assert clip_norm(together, most) == pytest.approx(float(their_norm), rel=1e-14)
    expected = np.concatenate([parameter.grad.numpy().reshape(-1) for parameter in theirs])
    np.testing.assert_allclose(together, expected, rtol=1e-14)


@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 2, 2)], ids=["dense", "filters"])
def test_max_norm(shape: tuple[int, ...]) -> None:
    weight = np.random.default_rng(0).standard_normal(shape)
    expected = torch.renorm(torch.tensor(weight), p=2, dim=0, maxnorm=2.0).numpy()
    limit_norms(weight, 2.0)
    np.testing.assert_allclose(weight, expected, rtol=1e-7)  # PyTorch adds 1e-7 to the norm


def their_rates(make: Any, total: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    scheduler, rates = make(optimizer), []
    for step in range(total):
        rates.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        if step < total - 1:
            scheduler.step()
    return rates


TOTALS = [10, 37, 500]


@pytest.mark.parametrize("total", TOTALS)
def test_cosine(total: int) -> None:
    theirs = their_rates(lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total), total)
    ours = [Schedule("cosine").rate(0.3, step, total) for step in range(total)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("total", TOTALS)
def test_linear(total: int) -> None:
    kind = torch.optim.lr_scheduler.LinearLR
    theirs = their_rates(lambda optimizer: kind(optimizer, 1.0, 0.0, total_iters=total), total)
    ours = [Schedule("linear").rate(0.3, step, total) for step in range(total)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("total", TOTALS)
def test_step(total: int) -> None:
    milestones = [-(-total // 2), -(-3 * total // 4)]
    kind = torch.optim.lr_scheduler.MultiStepLR
    theirs = their_rates(lambda optimizer: kind(optimizer, milestones, gamma=0.1), total)
    ours = [Schedule("step").rate(0.3, step, total) for step in range(total)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("total", TOTALS)
def test_exponential(total: int) -> None:
    kind = torch.optim.lr_scheduler.ExponentialLR
    theirs = their_rates(lambda optimizer: kind(optimizer, 0.01 ** (1 / total)), total)
    ours = [Schedule("exponential").rate(0.3, step, total) for step in range(total)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("total", [10, 40, 500])
def test_inverse_sqrt(total: int, warmup: float) -> None:
    """The formula of Vaswani et al. as PyTorch's users write it, with a LambdaLR."""
    peak = warmup * total + 1
    theirs = their_rates(
        lambda optimizer: torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda n: peak**0.5 * min((n + 1) ** -0.5, (n + 1) * peak**-1.5)
        ),
        total,
    )
    ours = [Schedule("inverse-sqrt", warmup).rate(0.3, step, total) for step in range(total)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("total", TOTALS)
def test_one_cycle(total: int) -> None:
    """PyTorch's peak is at step pct_start · total - 1, ours at 0.3 (total - 1); its end is relative to its start."""
    share = (0.3 * (total - 1) + 1) / total
    theirs = their_rates(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            0.3,
            total_steps=total,
            pct_start=share,
            div_factor=25,
            final_div_factor=400,
            cycle_momentum=False,
        ),
        total,
    )
    ours = [Schedule("one-cycle").rate(0.3, step, total) for step in range(total)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_warmup_is_a_linear_ramp() -> None:
    """PyTorch's LinearLR from 1 / (rising + 1) over `rising` steps is the same ramp."""
    total, rising = 40, 10
    kind = torch.optim.lr_scheduler.LinearLR
    theirs = their_rates(lambda optimizer: kind(optimizer, 1 / (rising + 1), 1.0, total_iters=rising), total)
    ours = [Schedule("constant", warmup=rising / total).rate(0.3, step, total) for step in range(total)]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
