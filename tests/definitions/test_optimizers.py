"""Optimizers by hand-computed steps, with numbers that float64 holds exactly where the rule allows it."""

import dataclasses
import math
import pickle
from typing import Any

import numpy as np
import pytest

from foveal.errors import UsageError
from foveal.optim import OPTIMIZERS, SGD, AdaGrad, Adam, AdamW, Momentum, Optimizer, RMSProp
from foveal.optim.adam import power


def steps(
    rule: Optimizer, gradients: list[float], *, lr: float, start: float = 0.0, dtype: Any = np.float64
) -> list[float]:
    """The weight after each step with the gradients given."""
    w, state, seen = np.full(1, start, dtype), {name: np.zeros(1, dtype) for name in rule.state}, []
    for t, gradient in enumerate(gradients, start=1):
        rule.update(w, rule.decay(w, np.full(1, gradient, dtype), lr, rule.weight_decay), state, lr, t)
        seen.append(float(w[0]))
    return seen


def test_sgd() -> None:
    assert steps(SGD(), [1.0, -2.0], lr=0.5, start=3.0) == [2.5, 3.5]


def test_momentum() -> None:
    # v: 1, 0.5 + 1 = 1.5, 0.75 + 2 = 2.75
    assert steps(Momentum(0.5), [1.0, 1.0, 2.0], lr=1.0) == [-1, -2.5, -5.25]


def test_dampening_spares_the_first_step() -> None:
    # v: 1, 0.5 · 1 + 0.75 · 1 = 1.25, 0.625 + 0.75 · 2 = 2.125
    assert steps(Momentum(0.5, dampening=0.25), [1.0, 1.0, 2.0], lr=1.0) == [-1, -2.25, -4.375]


def test_nesterov() -> None:
    # g + v / 2: 1.5, 1 + 0.75 = 1.75, 2 + 1.375 = 3.375
    assert steps(Momentum(0.5, nesterov=True), [1.0, 1.0, 2.0], lr=1.0) == [-1.5, -3.25, -6.625]


def test_a_new_rate_acts_at_once() -> None:
    rule, w, state = Momentum(0.5), np.zeros(1), {"velocity": np.zeros(1)}
    rule.update(w, np.ones(1), state, 1.0, 1)
    rule.update(w, np.ones(1), state, 0.1, 2)
    assert w[0] == pytest.approx(-1 - 0.1 * 1.5)


def test_first_adam_step_is_the_sign_times_the_rate() -> None:
    for gradient in (1e-3, -7.0):
        (w,) = steps(Adam(), [gradient], lr=0.01)
        assert w == pytest.approx(-math.copysign(0.01, gradient), rel=1e-4)


def test_adam_by_hand() -> None:
    # β₁ = ½, β₂ = ¾, eps = 1.  t = 1: m 2, v 4; m̂ 4, v̂ 16: 4 / 5.  t = 2: m 0, v 7 … and the gradient -2
    rule = Adam(beta1=0.5, beta2=0.75, eps=1.0)
    first, second = steps(rule, [4.0, -2.0], lr=1.0)
    assert first == -0.8
    assert second == first  # m = ½ · 2 + ½ · -2 = 0
    m3, v3 = 0.5 * 0 + 0.5 * 3, 0.75 * (0.75 * 4 + 0.25 * 4) + 0.25 * 9
    third = steps(rule, [4.0, -2.0, 3.0], lr=1.0)[2]
    assert third == pytest.approx(second - (m3 / 0.875) / (math.sqrt(v3 / (1 - 0.75**3)) + 1), rel=1e-14)


def test_adam_without_bias_correction() -> None:
    # m 2, v 4: 2 / (2 + 1)
    (w,) = steps(Adam(beta1=0.5, beta2=0.75, eps=1.0, bias_correction=False), [4.0], lr=3.0)
    assert w == -2


def test_adagrad_by_hand() -> None:
    # h: 16, 16 + 9 = 25, 25 + 144 = 169; eps = 1: 4 / 5, 3 / 6, 12 / 14
    first, second, third = steps(AdaGrad(eps=1.0), [4.0, -3.0, 12.0], lr=1.0)
    assert (first, second) == (-0.8, -0.8 + 0.5)
    assert third == pytest.approx(second - 12 / 14, rel=1e-15)


def test_adagrads_first_step_is_the_rate_and_its_steps_shrink() -> None:
    for gradient in (1e-3, -7.0):
        at = [0.0, *steps(AdaGrad(), [gradient] * 100, lr=0.5)]
        lengths = -np.diff(at) / math.copysign(1.0, gradient)
        np.testing.assert_allclose(lengths, 0.5 / np.sqrt(np.arange(1, 101)), rtol=1e-6)


def test_rmsprop_by_hand() -> None:
    # α = ¾, eps = 1.  v: ¼ · 64 = 16, ¾ · 16 + ¼ · 16 = 16, ¾ · 16 + ¼ · 52 = 25; 8 / 5, -4 / 5, √52 / 6
    first, second, third = steps(RMSProp(alpha=0.75, eps=1.0), [8.0, -4.0, math.sqrt(52.0)], lr=1.0)
    assert (first, second) == (-1.6, -1.6 + 0.8)
    assert third == pytest.approx(second - math.sqrt(52) / 6, rel=1e-14)


def test_rmsprops_first_step_is_ten_times_the_rate() -> None:
    (w,) = steps(RMSProp(), [-3.0], lr=0.01)
    assert w == pytest.approx(0.1, rel=1e-6)


def test_weight_decay_is_added_to_the_gradient_but_for_adamw() -> None:
    for rule in (SGD(weight_decay=0.5), Momentum(0.5, weight_decay=0.5)):
        assert steps(rule, [1.0], lr=0.25, start=4.0) == [4 - 0.25 * (1 + 2)]
    for rule in (Adam(weight_decay=0.5), AdaGrad(weight_decay=0.5)):  # the gradient's size does not matter to them
        assert steps(rule, [1.0], lr=0.25, start=4.0) == pytest.approx([4 - 0.25], rel=1e-6)
    # 4 - ¼ · ½ · 4 = 3.5, and then a step of ¼ against the gradient's sign
    assert steps(AdamW(weight_decay=0.5), [-1.0], lr=0.25, start=4.0) == pytest.approx([3.75], rel=1e-6)


def test_adamw_without_decay_is_adam() -> None:
    gradients = [0.3, -0.2, 0.7, 0.1, -0.9]
    assert steps(AdamW(0.8, 0.9), gradients, lr=0.1, start=1.0) == steps(Adam(0.8, 0.9), gradients, lr=0.1, start=1.0)


@pytest.mark.parametrize("rule", [Adam(weight_decay=0.1), AdamW(weight_decay=0.1), AdaGrad(weight_decay=0.1)], ids=repr)
def test_a_share_of_0_decays_nothing(rule: Optimizer) -> None:
    """As the plan runs it over what does not decay."""
    w, g = np.full(3, 5.0), np.ones(3)
    assert (rule.decay(w, g, 0.1, 0.0) == 1).all()
    assert (w == 5).all()


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999, 0.99999])
def test_power_is_the_power(beta: float) -> None:
    for t in (1, 2, 3, 10, 37, 1000, 123_456):
        # about 2 log₂ t roundings, each passed on by later squarings
        assert power(beta, t) == pytest.approx(beta**t, rel=2 * t * 2.0**-53, abs=5e-324)


@pytest.mark.parametrize(
    ("rule", "lr"),
    [
        (SGD(), 0.01), (Momentum(), 0.01), (Momentum(nesterov=True), 0.01), (Momentum(dampening=0.5), 0.01),
        (Adam(), 0.01), (AdamW(), 0.01), (AdaGrad(), 0.5),
    ],
    ids=repr,
)  # fmt: skip
def test_every_rule_finds_the_minimum(rule: Optimizer, lr: float) -> None:
    w, state = np.array([3.0, -2.0]), {name: np.zeros(2) for name in rule.state}
    for t in range(1, 2001):
        rule.update(w, 2 * (w - 1), state, lr, t)
    np.testing.assert_allclose(w, 1, atol=1e-6)


def test_rmsprop_comes_as_near_the_minimum_as_its_rate() -> None:
    """Its steps do not shrink with the gradient, so it goes on stepping to and fro by about lr / 2."""
    for lr in (0.01, 0.001):
        w, state = np.array([3.0, -2.0]), {"v": np.zeros(2)}
        for t in range(1, 8001):
            RMSProp().update(w, 2 * (w - 1), state, lr, t)
        assert np.abs(w - 1).max() <= lr


@pytest.mark.parametrize(
    "rule", [SGD(), Momentum(nesterov=True), AdaGrad(), RMSProp(), Adam(), AdamW(weight_decay=0.1)], ids=repr
)
def test_float32_stays_close_to_float64_and_in_place(rule: Optimizer) -> None:
    gradients = [0.3, -0.2, 0.7, 0.1, -0.9]
    single, double = (steps(rule, gradients, lr=0.01, start=1.0, dtype=kind) for kind in (np.float32, np.float64))
    np.testing.assert_allclose(single, double, rtol=len(gradients) * 4 * 2.0**-23)
    w, state = np.ones(3, np.float32), {name: np.zeros(3, np.float32) for name in rule.state}
    before = (w, *state.values())
    rule.update(w, np.ones(3, np.float32), state, 0.1, 1)
    assert all(now is then and now.dtype == np.float32 for now, then in zip((w, *state.values()), before, strict=True))


def test_names_and_default_rates() -> None:
    assert {name: cls.default_lr for name, cls in OPTIMIZERS.items()} == {
        "sgd": 0.1, "momentum": 0.02, "adagrad": 2e-2, "rmsprop": 1e-3, "adam": 1e-3, "adamw": 1e-3,
    }  # fmt: skip
    assert all(cls().weight_decay == 0 and cls.name == name for name, cls in OPTIMIZERS.items())


@pytest.mark.parametrize("rule", [SGD(weight_decay=0.1), Momentum(0.8, nesterov=True), Adam(eps=1e-6)], ids=repr)
def test_rules_are_values(rule: Optimizer) -> None:
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert len({rule, pickle.loads(pickle.dumps(rule))}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        rule.weight_decay = 1.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SGD(weight_decay=-1), r"SGD\(weight_decay=...\)"),
        (lambda: Momentum(1.0), r"Momentum\(momentum=...\)"),
        (lambda: Momentum(-0.1), r"Momentum\(momentum=...\)"),
        (lambda: Momentum(dampening=1.0), r"Momentum\(dampening=...\)"),
        (lambda: Momentum(nesterov=True, dampening=0.1), "nesterov=True.*dampening 0"),
        (lambda: Momentum(0.0, nesterov=True), "nesterov=True.*momentum above 0"),
        (lambda: Adam(beta1=1.0), r"Adam\(beta1=...\)"),
        (lambda: Adam(beta2=float("nan")), r"Adam\(beta2=...\)"),
        (lambda: Adam(eps=0), r"Adam\(eps=...\)"),
        (lambda: AdamW(beta1=1.0), r"AdamW\(beta1=...\)"),
        (lambda: AdamW(weight_decay=-0.1), r"AdamW\(weight_decay=...\)"),
        (lambda: AdaGrad(eps=0), r"AdaGrad\(eps=...\)"),
        (lambda: RMSProp(1.0), r"RMSProp\(alpha=...\)"),
        (lambda: RMSProp(eps=-1), r"RMSProp\(eps=...\)"),
    ],
)
def test_settings_out_of_range_are_named(make: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()
