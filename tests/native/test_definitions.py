"""The native core against the definitions in float64, on every instruction set that this machine has."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from networks import CASES, Case, batch_of, definition_logits, definition_step, gradients_of

import foveal as fv
from foveal.kernels import KERNELS, available_isas
from foveal.params import Init

NATIVE = [isa for isa in available_isas() if isa != "reference"]
EXACT = [isa for isa in NATIVE if isa != "baseline"]  # these agree to the last bit
EPS = float(np.finfo(np.float32).eps)
SEED = 3


def plan_of(case: Case, isa: str, threads: int = 2, **options: object) -> fv.Plan:
    return fv.Plan(case.net, case.shape, case.batch, fv.SGD(), SEED, threads, isa, **options)


def close(name: str, got: np.ndarray, expected: np.ndarray, depth: int) -> None:
    """Within the rounding of a few chained float32 reductions of length `depth`, relative to the largest value."""
    scale = max(float(np.abs(expected).max(initial=0)), 1e-3)
    tolerance = 8 * EPS * np.sqrt(depth) * scale
    error = np.abs(got - expected)
    worst = np.unravel_index(int(error.argmax()), error.shape) if error.size else ()
    values = f"{got[worst]} instead of {expected[worst]}"
    message = f"{name} at {worst}: {values}, off by {error.max(initial=0):.3g}, allowed {tolerance:.3g}"
    assert error.max(initial=0) <= tolerance, message


@pytest.mark.parametrize("isa", NATIVE)
@pytest.mark.parametrize("name", CASES)
def test_one_step_is_the_definition(name: str, isa: str) -> None:
    case = CASES[name]
    plan = plan_of(case, isa)
    x, y = batch_of(case, plan.classes)
    params = dict(plan.params)
    depth = max(case.batch * x[0].size, max(value.size for value in params.values()))
    close("logits", plan.predict(x), definition_logits(case, params, x), depth)
    expected = definition_step(case, params, x, y, SEED, step=5)
    loss = plan.train_step(x, y, lr=0.25, step=5)
    close("loss", np.array(loss), np.array(expected.loss), depth)
    assert set(gradients_of(plan)) == set(expected.gradients)
    for key, gradient in gradients_of(plan).items():
        close(f"d {key}", gradient, expected.gradients[key], depth)
        close(key, plan.params[key], params[key] - 0.25 * expected.gradients[key], depth)
    for key, statistic in expected.running.items():
        close(key, plan.params[key], statistic, depth)


@pytest.mark.parametrize("name", CASES)
def test_the_same_bits_on_all_instruction_sets_and_threads(name: str) -> None:
    case = CASES[name]
    results = {}
    for isa, threads in [(EXACT[0], t) for t in (2, 1, 3)] + [(isa, 2) for isa in EXACT[1:]]:
        plan = plan_of(case, isa, threads)
        x, y = batch_of(case, plan.classes)
        losses = [plan.train_step(x, y, lr=0.05) for _ in range(3)]
        state = b"".join(array.tobytes() for array in plan.state_dict().values())
        results[isa, threads] = (losses, plan.predict(x).tobytes(), state)
        assert losses[0] != losses[2], "the loss must move"
    first = results[EXACT[0], 2]
    assert all(result == first for result in results.values())


@pytest.mark.parametrize("name", CASES)
def test_fusion_keeps_the_bits(name: str) -> None:
    case = CASES[name]
    states = []
    for fuse in (True, False):
        plan = plan_of(case, EXACT[0], fuse=fuse)
        x, y = batch_of(case, plan.classes)
        for _ in range(3):
            plan.train_step(x, y, lr=0.05)
        states.append({key: value.tobytes() for key, value in plan.state_dict().items()})
    assert states[0] == states[1]


@pytest.mark.parametrize("name", CASES)
def test_a_smaller_batch_runs_as_a_prefix(name: str) -> None:
    case = CASES[name]
    x, y = batch_of(case, 3)
    count = max(2, case.batch - 1)
    if case.batch < 2:
        x, y, count = np.concatenate([x, x]), np.concatenate([y, y]), 1
    y = np.minimum(y, plan_of(case, EXACT[0]).classes - 1)
    states = []
    for batch in (len(x), count):
        plan = fv.Plan(case.net, case.shape, batch, fv.SGD(), SEED, isa=EXACT[0])
        for _ in range(2):
            plan.train_step(x[:count], y[:count], lr=0.05)
        states.append({key: value.tobytes() for key, value in plan.state_dict().items()})
    assert states[0] == states[1]


@pytest.mark.parametrize("name", CASES)
def test_an_image_alone_has_the_logits_it_has_in_a_batch(name: str) -> None:
    case = CASES[name]
    plan = fv.Plan(case.net, case.shape, 64, seed=SEED, isa=EXACT[0])
    x = np.random.default_rng(1).standard_normal((64, *case.shape), np.float32)
    assert plan.predict(x).tobytes() == b"".join(plan.predict(image[None]).tobytes() for image in x)


@pytest.mark.parametrize("isa", NATIVE)
@pytest.mark.parametrize(
    "optimizer",
    [
        fv.SGD(weight_decay=0.1),
        fv.Momentum(weight_decay=0.01),
        fv.Momentum(nesterov=True),
        fv.Momentum(momentum=0.5, dampening=0.3),
        fv.Adam(),
        fv.Adam(bias_correction=False, eps=1e-3, weight_decay=0.1),
        fv.AdaGrad(),
        fv.AdaGrad(weight_decay=0.1),
        fv.RMSProp(),
        fv.RMSProp(alpha=0.5, weight_decay=0.1),
        fv.AdamW(weight_decay=0.1),
        fv.AdamW(bias_correction=False, eps=1e-3, weight_decay=0.1),
    ],
    ids=repr,
)
def test_optimizers_are_their_definitions(optimizer: fv.Optimizer, isa: str) -> None:
    case = Case((fv.Flatten(), fv.Dense(21), fv.ReLU(), fv.Dense(3)), (1, 5, 5), 6)
    x, y = batch_of(case, 3)
    plan = fv.Plan(case.net, case.shape, case.batch, optimizer, SEED, isa=isa)
    weights = {name: value.astype(np.float64) for name, value in plan.params.items()}
    state = {name: {kind: np.zeros_like(value) for kind in optimizer.state} for name, value in weights.items()}
    for t in range(1, 6):
        plan.train_step(x, y, lr=0.02)
        for name, gradient in gradients_of(plan).items():
            lr = float(np.float32(0.02))
            decay = optimizer.weight_decay if plan.layout.entries[name].slot.decays else 0.0
            g = optimizer.decay(weights[name], gradient.astype(np.float64), lr, decay)
            optimizer.update(weights[name], g, state[name], lr, t)
            np.testing.assert_allclose(plan.params[name], weights[name], rtol=2e-6, atol=2e-6, err_msg=name)
            weights[name] = plan.params[name].astype(np.float64)  # compare step by step
            for kind in optimizer.state:
                state[name][kind] = plan.state_dict()[f"optimizer.{kind}.{name}"].astype(np.float64)
    assert plan.updates == 5


@pytest.mark.parametrize("isa", [*NATIVE, "reference"])
@pytest.mark.parametrize(
    "limits", [{"clip_norm": 0.5}, {"max_norm": 1.2}, {"clip_norm": 0.5, "max_norm": 1.2}], ids=str
)
def test_limits_on_norms_are_their_definitions(limits: dict[str, float], isa: str) -> None:
    """Weights of a convolution, of a dense layer whose inputs lie as an image does, and of a layer in Python."""
    from foveal.optim.clipping import clip_norm, limit_norms

    case = Case((fv.Conv2d(21, 3), fv.ReLU(), fv.Conv2d(40, 3), Gain(), fv.Flatten(), fv.Dense(3)), (3, 7, 6), 6)
    x, y = batch_of(case, 3)
    plan = fv.Plan(case.net, case.shape, case.batch, fv.Momentum(weight_decay=0.1), SEED, isa=isa, **limits)
    other = fv.Plan(case.net, case.shape, case.batch, fv.Momentum(weight_decay=0.1), SEED, isa=isa)
    weights = {name: value.astype(np.float64) for name, value in plan.params.items()}
    velocity = {name: np.zeros_like(value) for name, value in weights.items()}
    lr, reached = float(np.float32(0.05)), set[str]()
    for t in range(1, 5):
        other.load_state_dict({name: value.astype(np.float32) for name, value in weights.items()})
        other.train_step(x, y, lr=0.0)  # for the gradient as it is
        plan.train_step(x, y, lr=lr)
        gradients = {name: gradient.astype(np.float64) for name, gradient in gradients_of(other).items()}
        together = np.concatenate([gradient.reshape(-1) for gradient in gradients.values()])
        norm = clip_norm(together, limits.get("clip_norm", np.inf))
        assert t > 1 or norm > 0.6, "choose a limit below the norm"
        for name, gradient in gradients.items():
            decays = plan.layout.entries[name].slot.decays
            g = gradient * min(1.0, limits.get("clip_norm", np.inf) / (norm + 1e-6))
            np.testing.assert_allclose(gradients_of(plan)[name], g, rtol=1e-5, atol=1e-6 * norm, err_msg=name)
            g = g + 0.1 * weights[name] * decays
            velocity[name] = g if t == 1 else 0.9 * velocity[name] + g
            weights[name] = weights[name] - lr * velocity[name]
            if decays and weights[name].ndim > 1 and "max_norm" in limits:
                free = weights[name].copy()
                limit_norms(weights[name], limits["max_norm"])
                reached |= {name} if (free != weights[name]).any() else set()
                lengths = np.linalg.norm(plan.params[name].reshape(len(free), -1).astype(np.float64), axis=1)
                assert lengths.max() <= limits["max_norm"] * (1 + 1e-6)
            np.testing.assert_allclose(plan.params[name], weights[name], rtol=1e-5, atol=1e-5, err_msg=name)
            weights[name] = plan.params[name].astype(np.float64)  # compare step by step
            velocity[name] = plan.state_dict()[f"optimizer.velocity.{name}"].astype(np.float64)
    assert reached == ({"0.weight", "2.weight", "3.gain", "5.weight"} if "max_norm" in limits else set())
    padding = plan._flat.copy()
    for entry in plan.layout.entries.values():
        padding[entry.offset : entry.offset + entry.storage.size][entry.storage.index] = 0
    assert not padding.any(), "padding stays zero"


@fv.layer
class Gain(fv.Layer):
    """y = a x, a (C, 1) starting at 2: a user's own layer, whose units have one weight each."""

    def param_slots(self, in_shape: tuple[int, ...]) -> Iterator[fv.ParamSlot]:
        yield fv.ParamSlot("gain", (in_shape[0], 1), init=Init(2.0))

    def forward(self, x: Any, params: Any, ctx: Any) -> Any:
        return params["gain"][..., None] * x, x

    def backward(self, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
        return params["gain"][..., None] * dy, {"gain": (dy * saved).sum(axis=(0, 2, 3))[:, None]}


@pytest.mark.parametrize("isa", NATIVE)
@pytest.mark.parametrize(("channels", "high", "wide"), [(1, 8, 8), (3, 5, 9), (1, 1, 6), (3, 4, 1)])
def test_assembling_a_batch_is_its_definition(channels: int, high: int, wide: int, isa: str) -> None:
    from foveal.kernels.reference import assemble

    random = np.random.default_rng(2)
    pixels = random.integers(0, 256, (9, high, wide, channels)).astype(np.uint8)
    labels = random.integers(0, 3, 9).astype(np.int32)
    scale, shift = random.random(channels).astype(np.float32) / 50, -random.random(channels).astype(np.float32)
    index = np.array([8, 0, 0, 5, 3])
    most = [min(2, high - 1), min(2, wide - 1)]
    cut = [high // 2, 0, high, wide - wide // 2]
    moves = np.array([[n % 2, (n % 3 - 1) * most[0], (1 - n % 3) * most[1], *cut] for n in range(5)], np.int32)
    moves[2, 3:] = 0
    plan = fv.Plan(fv.Sequential(fv.Flatten(), fv.Dense(3)), (channels, high, wide), 6, fv.SGD(), SEED, isa=isa)
    source = plan.attach(pixels, labels, scale, shift)
    plan.train_on(source, index, moves, 0.1, epoch=0, step=0)
    expected, classes = assemble(pixels, labels, index, moves, scale, shift)
    got = (
        plan._memory.array(plan._io.value.buffer)[: expected.size]
        .reshape(5, high, wide, channels)
        .transpose(0, 3, 1, 2)
    )
    if isa == "baseline":  # multiplies and adds with two roundings
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    else:
        assert got.tobytes() == np.ascontiguousarray(expected).tobytes() or np.array_equal(got, expected)
    assert plan._memory.array(plan._io.labels)[:5].tolist() == classes.tolist()


def test_every_compute_kernel_is_reached_by_a_case() -> None:
    used = {
        "assemble_batch",
        "clip_gradient",
        "fma_peak",  # of no program
        "limit_norms",
        *(f"{name}_update" for name in fv.optim.OPTIMIZERS),
    }  # by the tests above
    for case in CASES.values():
        for options in ({}, {"fuse": False}):
            plan = plan_of(case, EXACT[0], **options)
            assert plan._training is not None
            used |= {step.kernel for program in (plan._training, plan._inference) for step in program.steps}
    assert set(KERNELS) - used == set(), "compute kernels without a case"
