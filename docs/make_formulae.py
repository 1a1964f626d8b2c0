"""Draw the figures of docs/formulae.md and fill in its numbers, all by foveal's own optimizers; a test looks.

.venv/bin/python docs/make_formulae.py
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foveal.optim import SGD, AdaGrad, Adam, Momentum, Optimizer, RMSProp

sys.path.insert(0, str(Path(__file__).parent))
from chart import Chart

PAGE = Path(__file__).with_name("formulae.md")
FIGURES = Path(__file__).with_name("formulae")
Vector = NDArray[np.float64]


def walk(rule: Optimizer, gradient: Callable[[Vector, int], Vector], start: Vector, lr: float, steps: int) -> Vector:
    """The weights before the first step and after each one (steps + 1, …), in float64."""
    w, state, seen = start.copy(), {name: np.zeros_like(start) for name in rule.state}, [start.copy()]
    for t in range(1, steps + 1):
        rule.update(w, gradient(w, t), state, lr, t)
        seen.append(w.copy())
    return np.array(seen)


def pushed(rule: Optimizer, sizes: list[float], lr: float = 1.0) -> Vector:
    """How far each step goes under gradients of the given sizes, all in one direction."""
    at = walk(rule, lambda w, t: np.array([sizes[t - 1]]), np.zeros(1), lr, len(sizes))
    lengths: Vector = -np.diff(at[:, 0])
    return lengths


# ---- the figures

STEEP = 100.0  # f(x, y) = (x² + 100 y²) / 2
START, STEPS = np.array([-8.0, 0.8]), 60
RULES: dict[str, tuple[Optimizer, float]] = {
    "SGD, rate 0.018": (SGD(), 0.018),
    "Momentum, 0.005": (Momentum(0.9), 0.005),
    "AdaGrad, 1": (AdaGrad(), 1.0),
    "Adam, 0.4": (Adam(), 0.4),
}


def path_of(name: str) -> Vector:
    rule, lr = RULES[name]
    return walk(rule, lambda w, t: w * np.array([1.0, STEEP]), START, lr, STEPS)


def paths() -> Chart:
    chart = Chart(
        f"{STEPS} steps down f(x, y) = (x² + {STEEP:g} y²) / 2", "x", "y",
        (-9, 3, (-8, -6, -4, -2, 0, 2)), (-1, 1, (-1, -0.5, 0, 0.5, 1)),
    )  # fmt: skip
    for level in (1, 2, 4, 6, 8, 10):
        chart.ellipse(level, level / STEEP**0.5)
    for name in RULES:
        chart.line(name, [(float(x), float(y)) for x, y in path_of(name)], dots=True)
    return chart


SHRINK, LONG = 200, 600  # after so many steps the gradients are a tenth as large; steps in all
RATES: dict[str, Optimizer] = {"AdaGrad": AdaGrad(), "RMSProp": RMSProp(), "Adam (β₁ = 0)": Adam(beta1=0.0)}


def rate_of(rule: Optimizer) -> Vector:
    """What a gradient is multiplied by, as a share of lr."""
    sizes = [1.0] * SHRINK + [0.1] * (LONG - SHRINK)
    return pushed(rule, sizes) / np.array(sizes)


def rates() -> Chart:
    chart = Chart(
        f"the rate of a weight whose gradients are 1, and 0.1 from step {SHRINK} on", "step", "rate / lr",
        (0, LONG, range(0, LONG + 1, 100)), (0.03, 20, (0.03, 0.1, 0.3, 1, 3, 10)), log=True,
    )  # fmt: skip
    for name, rule in RATES.items():
        chart.line(name, list(enumerate(rate_of(rule).tolist(), start=1)))
    return chart


CORRECTED, UNCORRECTED = Adam(), Adam(bias_correction=False)


def first_steps() -> Chart:
    chart = Chart(
        "Adam's steps under a steady gradient", "step", "length of the step / lr",
        (0, 500, range(0, 501, 100)), (0, 8, range(0, 9)),
    )  # fmt: skip
    for name, rule in (("bias correction", CORRECTED), ("without", UNCORRECTED)):
        chart.line(name, list(enumerate(pushed(rule, [1.0] * 500).tolist(), start=1)))
    return chart


BETA = 0.9


def the_texts_momentum(steps: int) -> Vector:
    """v = β v + (1 - β) g from v = 0, with rate 1: foveal's Momentum at rate 1 - β is the same, step by step."""
    return pushed(Momentum(BETA), [1.0] * steps, 1 - BETA)


def dampening() -> Chart:
    chart = Chart(
        f"Momentum's steps under a steady gradient, β = {BETA:g}", "step", "length of the step / lr",
        (0, 40, range(0, 41, 10)), (0, 11, range(0, 11, 2)),
    )  # fmt: skip
    chart.line("dampening 0", list(enumerate(pushed(Momentum(BETA), [1.0] * 40).tolist(), start=1)), dots=True)
    damped = pushed(Momentum(BETA, dampening=BETA), [1.0] * 40)
    chart.line("dampening β", list(enumerate(damped.tolist(), start=1)), dots=True)
    chart.line("the text's form", list(enumerate(the_texts_momentum(40).tolist(), start=1)), dashed=True)
    return chart


DRAWN: dict[str, Callable[[], Chart]] = {
    "paths": paths, "rates": rates, "first-steps": first_steps, "dampening": dampening,
}  # fmt: skip


# ---- the numbers


def numbers() -> dict[str, str]:
    """What stands between <!-- NAME --> and <!-- / --> on the page."""
    uncorrected = pushed(UNCORRECTED, [1.0] * 5000)
    peak = int(uncorrected.argmax())
    left = {name: float((path_of(name)[-1] ** 2 * [1.0, STEEP]).sum() / 2) for name in RULES}
    adagrad, adam = rate_of(RATES["AdaGrad"]), rate_of(RATES["Adam (β₁ = 0)"])
    damped, plain = pushed(Momentum(BETA, dampening=BETA), [1.0] * 200), pushed(Momentum(BETA), [1.0] * 200)
    return {
        "uncorrected first": f"{uncorrected[0]:.1f}",
        "uncorrected peak": f"{uncorrected[peak]:.1f}",
        "uncorrected peak step": f"{peak + 1}",
        "uncorrected settled": f"{int(np.argmax((uncorrected < 1.05) & (np.arange(5000) > peak))) + 1:,}",
        "left": "; ".join(f"{name.split(',')[0]} {value:.2g}" for name, value in left.items()),
        "adagrad end": f"{adagrad[-1]:.3f}",
        "adam end": f"{adam[-1]:.1f}",
        "adam before": f"{adam[SHRINK - 1]:.1f}",
        "plain length": f"{plain[-1]:.1f}",
        "damped length": f"{damped[-1]:.1f}",
        "rmsprop first": f"{pushed(RMSProp(), [1.0])[0]:.1f}",
    }


def filled(text: str) -> str:
    """The page with its numbers as they are now. Raises KeyError for a number that is not computed."""
    known = numbers()
    return re.sub(r"<!-- ([a-z ]+) -->.*?<!-- / -->", lambda m: f"<!-- {m[1]} -->{known[m[1]]}<!-- / -->", text)


def main() -> None:
    FIGURES.mkdir(exist_ok=True)
    for name, draw in DRAWN.items():
        (FIGURES / f"{name}.svg").write_text(draw().svg())
    PAGE.write_text(filled(PAGE.read_text()))


if __name__ == "__main__":
    main()
