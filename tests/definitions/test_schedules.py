"""Learning-rate schedules: ends, peaks, warm-up, exactness in float32, and our own cosine."""

import math

import numpy as np
import pytest

from foveal.errors import UsageError
from foveal.optim import Schedule
from foveal.optim.schedules import NAMES, cos_pi, exponential

TOTAL = 101  # steps 0 … 100, so that step k is at k % of the time


def rates(schedule: Schedule, lr: float = 1.0, total: int = TOTAL) -> list[float]:
    return [schedule.rate(lr, step, total) for step in range(total)]


def test_own_cosine() -> None:
    for t in np.linspace(0, 1, 10_001):
        assert cos_pi(float(t)) == pytest.approx(math.cos(math.pi * t), abs=1e-15)
    assert [cos_pi(t) for t in (0.0, 0.5, 1.0)] == [1, 0, -1]


def test_own_exponential() -> None:
    for x in np.linspace(-8, 8, 10_001):
        assert exponential(float(x)) == pytest.approx(math.exp(x), rel=1e-13)
    assert exponential(0.0) == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lr", [0.05, 1 / 3, 3e-4])
def test_rates_are_float32(name: str, lr: float) -> None:
    for value in rates(Schedule(name), lr):
        assert type(value) is float
        assert float(np.float32(value)) == value


def test_constant() -> None:
    assert set(rates(Schedule(), 0.5)) == {0.5}


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_from_the_rate_towards_zero(name: str) -> None:
    values = rates(Schedule(name), total=100)
    assert (values[0], values[50]) == (1, 0.5)
    assert 0 < values[99] <= np.float32(0.01)  # 0 would come after the last step: no update is wasted
    assert values == sorted(values, reverse=True)


def test_linear_is_straight_and_cosine_is_not() -> None:
    assert rates(Schedule("linear"), total=100)[25] == 0.75
    assert rates(Schedule("cosine"), total=100)[25] == np.float32((1 + math.sqrt(0.5)) / 2)


def test_step_drops_to_a_tenth_at_a_half_and_at_three_quarters() -> None:
    values = rates(Schedule("step"), total=100)
    assert values == [1.0] * 50 + [float(np.float32(0.1))] * 25 + [float(np.float32(0.01))] * 25
    assert len(set(rates(Schedule("step"), total=7)[:4])) == 1  # 3/7 is before the half, 4/7 is not
    assert [round(value, 3) for value in rates(Schedule("step"), total=7)] == [1, 1, 1, 1, 0.1, 0.1, 0.01]


def test_exponential_falls_evenly_to_a_hundredth() -> None:
    values = rates(Schedule("exponential"), total=200)
    assert (values[0], values[100]) == (1, np.float32(0.1))
    ratios = np.divide(values[1:], values[:-1])
    np.testing.assert_allclose(ratios, 0.01 ** (1 / 200), rtol=2.0**-22)
    assert values[199] == pytest.approx(0.01 / 0.01 ** (1 / 200), rel=1e-6)


def test_inverse_sqrt_without_warmup_is_one_over_the_root_of_the_step() -> None:
    assert rates(Schedule("inverse-sqrt")) == [float(np.float32(1 / math.sqrt(s))) for s in range(1, TOTAL + 1)]


def test_inverse_sqrt_with_warmup_is_the_transformers() -> None:
    # d^-½ min(s^-½, s W^-1.5), whose highest value d^-½ W^-½ is our lr
    total, w = 400, 41
    values = rates(Schedule("inverse-sqrt", warmup=0.1), total=total)
    expected = [math.sqrt(w) * min(s**-0.5, s * w**-1.5) for s in range(1, total + 1)]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    assert max(values) == values[w - 1] == 1


def test_one_cycle() -> None:
    values = rates(Schedule("one-cycle"))
    assert (values[0], values[30], values[100]) == (np.float32(1 / 25), 1, np.float32(1e-4))
    assert values[:31] == sorted(values[:31])
    assert values[30:] == sorted(values[30:], reverse=True)
    assert values[15] == np.float32((1 / 25 + 1) / 2)
    assert values[65] == np.float32((1 + 1e-4) / 2)


@pytest.mark.parametrize("name", ["constant", "step", "exponential", "cosine", "linear"])
def test_warmup_rises_to_the_schedule(name: str) -> None:
    plain, warm = rates(Schedule(name)), rates(Schedule(name, warmup=0.2))
    rising = 0.2 * TOTAL
    for step in range(TOTAL):
        share = min(1.0, (step + 1) / (rising + 1))
        assert warm[step] == pytest.approx(plain[step] * share, rel=1e-6)
    assert warm[21:] == plain[21:]
    assert 0 < warm[0] < warm[5] < warm[10] <= plain[10]
    assert warm[20] < plain[20]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("total", [1, 2, 3, 7])
def test_short_trainings(name: str, total: int) -> None:
    values = rates(Schedule(name), total=total)
    assert all(0 < value <= 1 for value in values)


@pytest.mark.parametrize("name", NAMES)
def test_rate_scales_with_lr(name: str) -> None:
    np.testing.assert_allclose(rates(Schedule(name), 0.1), np.multiply(rates(Schedule(name)), 0.1), rtol=2.0**-22)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("onecycle", "one-cycle"), ("one_cycle", "one-cycle"), ("cosin", "cosine"), ("Linear", "linear"),
        ("steps", "step"), ("exponent", "exponential"), ("inverse_sqrt", "inverse-sqrt"), ("inv-sqrt", "inverse-sqrt"),
    ],
)  # fmt: skip
def test_near_misses_are_answered(wrong: str, meant: str) -> None:
    with pytest.raises(UsageError, match=f"no schedule is called '{wrong}'; did you mean {meant}\\?"):
        Schedule(wrong)


def test_far_misses_list_what_there_is() -> None:
    with pytest.raises(
        UsageError, match="there are constant, step, exponential, cosine, linear, one-cycle, inverse-sqrt"
    ):
        Schedule("zzz")


@pytest.mark.parametrize("warmup", [-0.1, 1.0, float("nan")])
def test_warmup_out_of_range(warmup: float) -> None:
    with pytest.raises(UsageError, match=r"Schedule\(warmup=...\) must be (a number of )?at least 0 and below 1"):
        Schedule("cosine", warmup)


def test_one_cycle_has_its_own_warmup() -> None:
    with pytest.raises(UsageError, match="one-cycle has its own warm-up"):
        Schedule("one-cycle", 0.1)


@pytest.mark.parametrize("step", [-1, 10])
def test_steps_outside_the_training(step: int) -> None:
    with pytest.raises(UsageError, match="step must be from 0 to 9"):
        Schedule().rate(1.0, step, 10)
