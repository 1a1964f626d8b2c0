"""Plans: what they take and what they refuse."""

import ctypes
import ctypes.util
import gc
import platform
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from small_plans import BATCH, ISA, SHAPE, broken, images, small_plan

import foveal as fv
from foveal.kernels import native_program

# ---- arrays that cannot be


def attached(plan: fv.Plan, count: int = 20) -> Any:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)
    one = np.full(3, 1 / 255, np.float32)
    return plan.attach(pixels, random.integers(0, 3, count).astype(np.int32), one, -one)


STILL = np.zeros((2, 7), np.int32)
FAR = 2**31 - 1


@pytest.mark.parametrize(
    ("index", "moves", "error"),
    [
        (np.arange(0), STILL[:0], fv.ShapeError),
        (np.arange(BATCH + 1), np.zeros((BATCH + 1, 7), np.int32), fv.ShapeError),
        (np.array([0, 20]), STILL, fv.UsageError),
        (np.array([0, 10**9]), STILL, fv.UsageError),
        (np.array([0, -1]), STILL, fv.UsageError),
        (np.array([True, False]), STILL, fv.ShapeError),
        (np.array([[0], [1]]), STILL, fv.ShapeError),
        (np.array([0.0, 1.0]), STILL, fv.ShapeError),
        (np.array([0, 1]), STILL[:1], fv.ShapeError),
        (np.array([0, 1]), np.zeros(7, np.int32), fv.ShapeError),
        (np.array([0, 1]), STILL[:, :3], fv.ShapeError),
        (np.array([0, 1]), STILL + np.int32([0, 8, 0, 0, 0, 0, 0]), fv.UsageError),
        (np.array([0, 1]), STILL + np.int32([0, 0, -8, 0, 0, 0, 0]), fv.UsageError),
        (np.array([0, 1]), STILL + np.int32([2, 0, 0, 0, 0, 0, 0]), fv.UsageError),
        (np.array([0, 1]), STILL + np.int32([0, -(2**31), 0, 0, 0, 0, 0]), fv.UsageError),
        (np.array([0, 1]), STILL + np.int32([0, 0, 0, -1, 0, 2, 2]), fv.UsageError),
        (np.array([0, 1]), STILL + np.int32([0, 0, 0, 0, 0, 9, 2]), fv.UsageError),
        (np.array([0, 1]), STILL + np.int32([0, 0, 0, 0, 0, 2, FAR]), fv.UsageError),
        (np.array([0, 1]), STILL + np.int32([0, 0, 0, 0, 3, 2, 2]), fv.UsageError),
    ],
    ids=[
        "no_image", "more_than_the_batch", "one_too_far", "much_too_far", "negative", "a_mask", "two_axes",
        "no_integer", "a_move_missing", "moves_flat", "moves_short", "too_far_down", "too_far_left", "no_flip",
        "smallest_integer", "cut_above", "cut_below", "cut_right", "cut_backwards",
    ],
)  # fmt: skip
def test_a_batch_that_is_not_there_is_refused(index: np.ndarray, moves: np.ndarray, error: type[Exception]) -> None:
    plan = small_plan()
    source = attached(plan)
    before = plan.params["0.weight"]
    with pytest.raises(error):
        plan.train_on(source, index, moves, 0.1, epoch=0, step=0)
    assert plan.updates == 0
    assert (plan.params["0.weight"] == before).all()


def test_images_of_another_plan_are_refused() -> None:
    plan, other = small_plan(), small_plan(4)
    for images_of in (attached(other), attached(small_plan())):
        with pytest.raises(fv.UsageError, match="attached to another plan"):
            plan.train_on(images_of, np.array([0, 1]), STILL, 0.1, epoch=0, step=0)
        with pytest.raises(fv.UsageError, match="attached to another plan"):
            plan.evaluate_on(images_of)


PIXELS, LABELS, ONE = np.zeros((5, 8, 8, 3), np.uint8), np.zeros(5, np.int32), np.ones(3, np.float32)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((PIXELS.astype(np.float32), LABELS, ONE, ONE), "takes uint8 images"),
        ((PIXELS[:, :7], LABELS, ONE, ONE), "takes uint8 images"),
        ((PIXELS, LABELS[:4], ONE, ONE), r"5 images need labels \(5,\), not \(4,\)"),
        ((PIXELS, LABELS[:, None], ONE, ONE), r"not \(5, 1\)"),
        ((PIXELS, LABELS.astype(np.float32), ONE, ONE), "labels must be integers from 0 to 2"),
        ((PIXELS, LABELS + 3, ONE, ONE), "labels must be integers from 0 to 2"),
        ((PIXELS, LABELS, ONE[:1], ONE), r"scale and shift must be \(3,\)"),
        ((PIXELS, LABELS, 1.0, 0.0), r"scale and shift must be \(3,\)"),
    ],
    ids=["floats", "rows_missing", "labels_missing", "labels_in_columns", "labels_float", "labels_too_large",
         "scale_short", "scale_scalar"],
)  # fmt: skip
def test_images_that_do_not_fit_are_refused(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises((fv.ShapeError, fv.UsageError), match=words):
        small_plan().attach(*arguments)


def test_labels_are_ones_own_after_attach() -> None:
    plan, labels = small_plan(), LABELS.copy()
    source = plan.attach(PIXELS, labels, ONE, ONE)
    labels[:] = 10**6
    assert np.isfinite(plan.train_on(source, np.array([0, 1]), STILL, 0.1, epoch=0, step=0).loss)


@pytest.mark.parametrize(
    ("lr", "keys"),
    [
        (np.nan, {}), (np.inf, {}), (-0.1, {}), (1e39, {}), (None, {}), ("fast", {}), (0.1, {"step": -1}),
        (0.1, {"step": 2**32}), (0.1, {"epoch": -1}),
    ],
    ids=str,
)  # fmt: skip
def test_a_step_that_cannot_be_is_refused_and_not_counted(lr: Any, keys: dict[str, int]) -> None:
    x, y = images()
    plans = [fv.Plan(small_plan().net, SHAPE, BATCH, fv.Adam(), isa=ISA) for _ in range(2)]
    with pytest.raises(fv.UsageError):
        plans[0].train_step(x, y, lr, **keys)
    for plan in plans:
        plan.train_step(x, y, 0.1)
    assert plans[0].updates == plans[1].updates == 1
    assert plans[0].state_dict()["0.weight"].tobytes() == plans[1].state_dict()["0.weight"].tobytes()


def test_batch_norm_over_one_value_is_refused() -> None:
    x, y = images()
    net = fv.Sequential(fv.Flatten(), fv.Dense(4), fv.BatchNorm(), fv.Dense(3))
    for isa in (ISA, "reference"):
        plan = fv.Plan(net, SHAPE, BATCH, fv.SGD(), isa=isa)
        plan.train_step(x, y, 0.1)
        with pytest.raises(fv.ShapeError, match="at least 2 values per channel"):
            plan.train_step(x[:1], y[:1], 0.1)
        assert np.isfinite(plan.predict(x[:1])).all()
    one = fv.Plan(fv.Sequential(fv.BatchNorm(), fv.Flatten(), fv.Dense(3)), SHAPE, BATCH, fv.SGD(), isa=ISA)
    assert np.isfinite(one.train_step(x[:1], y[:1], 0.1)), "an image has many pixels"


@pytest.mark.parametrize("isa", [ISA, "reference"])
@pytest.mark.parametrize(
    ("layers", "shape", "least"),
    [
        ((fv.Sequential(fv.Conv2d(4, 3), fv.BatchNorm()), fv.MaxPool2d(2), fv.BatchNorm(), fv.Flatten()), SHAPE, 1),
        ((fv.Sequential(fv.Conv2d(4, 3), fv.Sequential(fv.Flatten(), fv.BatchNorm())),), SHAPE, 2),
        ((fv.BatchNorm(), fv.Flatten()), (3, 1, 1), 2),
        ((fv.Sequential(fv.ReLU()), fv.Flatten()), SHAPE, 1),
    ],
    ids=["after_convolutions", "after_flatten_inside", "one_pixel", "none"],
)
def test_a_plan_knows_how_many_images_it_needs(
    layers: tuple[fv.Layer, ...], shape: tuple[int, int, int], least: int, isa: str
) -> None:
    net = fv.Sequential(*layers, fv.Dense(3))
    assert fv.Plan(net, shape, BATCH, fv.SGD(), isa=isa).least_batch == least


def test_a_plan_that_diverged_can_be_set_back() -> None:
    x, y = images()
    for optimizer in (rule() for rule in fv.optim.OPTIMIZERS.values()):
        plan = fv.Plan(small_plan().net, SHAPE, BATCH, optimizer, isa=ISA)
        start = plan.state_dict()
        first = plan.train_step(x, y, 0.1)
        for _ in range(5):
            plan.train_step(x, y, 1e30)
        assert not np.isfinite(plan.predict(x)).all()
        plan.load_state_dict(start)
        plan.updates = 0
        assert plan.train_step(x, y, 0.1) == first


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    plan = small_plan()
    before = plan.state_dict()
    state = {**{name: value + 1 for name, value in before.items()}, "2.bias": np.zeros(4, np.float32)}
    with pytest.raises(fv.ShapeError, match=r"2\.bias is real and has shape"):
        plan.load_state_dict(state)
    with pytest.raises(fv.ShapeError, match=r"0\.bias is real"):
        plan.params["0.bias"] = np.zeros(4, np.complex64)
    assert all((value == before[name]).all() for name, value in plan.state_dict().items())


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (
            (fv.Conv2d(4, 3), fv.Dense(3)),
            r"^layer 1 \(Dense\): Dense takes vectors .* of shape \(4, 6, 6\); put Flatten",
        ),
        (
            (fv.MaxPool2d(4), fv.Sequential(fv.ReLU(), fv.Conv2d(4, 3)), fv.Flatten()),
            r"^layer 1.1 \(Conv2d\): its kernel",
        ),
        (
            (fv.Residual(fv.Conv2d(4, 3)), fv.Flatten()),
            r"^layer 0 \(Residual\): its body gives \(4, 6, 6\), its shortcut",
        ),
        ((fv.GlobalAvgPool(), fv.MaxPool2d(2)), r"^layer 1 \(MaxPool2d\): MaxPool2d takes images .* of shape \(3,\)"),
        (
            (fv.Conv2d(4, 3), fv.ReLU()),
            r"^the network must end in class scores \(K,\), but layer 1 \(ReLU\), the last, gives images \(C, H, W\) "
            r"of shape \(4, 6, 6\); put GlobalAvgPool\(\) or Flatten\(\) and then Dense\(classes\) at its end$",
        ),
        ((), r"^the network must end in class scores \(K,\), but it leaves images \(C, H, W\) of shape \(3, 8, 8\)"),
    ],
    ids=["dense_on_images", "nested", "branches", "pool_on_vectors", "no_scores", "no_layers"],
)
def test_layers_that_do_not_fit_are_named_by_place_and_shapes(layers: tuple[fv.Layer, ...], words: str) -> None:
    with pytest.raises(fv.ShapeError, match=words) as caught:
        fv.Plan(fv.Sequential(*layers), SHAPE, BATCH)
    assert "\n" not in str(caught.value)


def test_input_shapes_of_any_kind() -> None:
    plan = fv.Plan(small_plan().net, [3, np.int64(8), 8], BATCH)  # type: ignore[arg-type]
    assert plan.input_shape == SHAPE
    assert plan.predict(images()[0]).shape == (BATCH, 3)
    with pytest.raises(fv.ShapeError, match=r"must be \(C, H, W\)"):
        fv.Plan(small_plan().net, (3, 0, 8), BATCH)


# ---- the loss


@pytest.mark.parametrize("isa", [ISA, "reference"])
@pytest.mark.parametrize(
    "settings",
    [
        {"label_smoothing": 0.2},
        {"class_weights": (1.0, 4.0, 0.25)},
        {"label_smoothing": 0.2, "class_weights": [1, 4, 2]},
    ],
    ids=str,
)
def test_smoothing_and_weights_are_of_the_loss_that_is_trained_on(isa: str, settings: dict[str, Any]) -> None:
    from foveal.layers import SoftmaxCrossEntropy

    x, y = images()
    plan = fv.Plan(small_plan().net, SHAPE, BATCH, fv.SGD(), isa=isa, **settings)
    logits, bias = plan.predict(x).astype(np.float64), plan.params["2.bias"]
    loss, saved = plan.loss.forward(logits, y)
    assert loss != pytest.approx(SoftmaxCrossEntropy().forward(logits, y)[0], rel=1e-3)
    assert plan.train_step(x, y, lr=1.0) == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(bias - plan.params["2.bias"], plan.loss.backward(saved, y).sum(axis=0), atol=1e-6)
    source = attached(plan)
    result = plan.evaluate_on(source)
    plain, _ = SoftmaxCrossEntropy().forward(result.logits.astype(np.float64), source.labels)
    assert result.loss == pytest.approx(plain, rel=1e-6), "evaluation is plain"


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"class_weights": (1.0, 2.0)}, fv.ShapeError, "class_weights needs one for each of the 3 classes, not 2"),
        ({"class_weights": (1.0, 2.0, -1.0)}, fv.UsageError, "class_weights"),
        ({"label_smoothing": 1.0}, fv.UsageError, "label_smoothing"),
        ({"optimizer": None, "label_smoothing": 0.1}, fv.UsageError, "would change nothing in a plan without an"),
        ({"optimizer": None, "clip_norm": 1.0}, fv.UsageError, "would change nothing in a plan without an"),
        ({"clip_norm": 0.0}, fv.UsageError, "clip_norm must be above 0"),
        ({"max_norm": float("nan")}, fv.UsageError, "max_norm must be a number"),
        ({"max_norm": -1}, fv.UsageError, "max_norm must be above 0"),
    ],
    ids=str,
)
def test_a_loss_or_a_limit_that_does_not_fit_is_refused(
    settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        fv.Plan(small_plan().net, SHAPE, BATCH, **{"optimizer": fv.SGD(), **settings})


# ---- threads, floating-point mode, lifetime


def test_a_plan_that_only_predicts_follows_its_weights() -> None:
    """What it keeps of them, the transformed weights of Winograd convolutions, is made again after any change."""
    x, _ = images(shape=(16, 8, 8))
    net = fv.Sequential(fv.Conv2d(32, 3, padding=1), fv.ReLU(), fv.Conv2d(96, 5, padding=2), fv.GlobalAvgPool())
    trained, kept = (fv.Plan(net, (16, 8, 8), BATCH, optimizer, seed=3) for optimizer in (fv.Momentum(), None))
    assert "prepare" in str(kept)
    assert "prepare" not in str(trained)

    def same() -> None:
        for count in (BATCH, 1):  # one image: its filters are shared out among the threads
            np.testing.assert_array_equal(kept.predict(x[:count]), trained.predict(x[:count]))

    same()
    before = kept.predict(x)
    for plan in (trained, kept):
        plan.params["2.weight"] = 2 * plan.params["2.weight"]
    same()
    assert (kept.predict(x) != before).any()
    trained.train_step(x, np.zeros(BATCH, np.int64), 0.1)
    kept.load_state_dict(trained.state_dict())
    same()


def test_a_plan_at_work_is_refused_to_others() -> None:
    at_work, go_on = threading.Event(), threading.Event()

    def wait(layer: fv.Layer, x: Any, params: Any, ctx: Any) -> Any:
        at_work.set()
        go_on.wait(10)
        return x, x

    x, _ = images()
    plan = fv.Plan(fv.Sequential(broken(forward=wait), fv.Flatten(), fv.Dense(3)), SHAPE, BATCH)
    thread = threading.Thread(target=plan.predict, args=(x,))
    thread.start()
    assert at_work.wait(10)
    with pytest.raises(fv.UsageError, match="at work already"):
        plan.predict(x)
    go_on.set()
    thread.join()
    assert plan.predict(x).shape == (BATCH, 3)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_denormals_count_as_zero_in_every_thread(threads: int) -> None:
    """Pixels that are denormal, weights so large that their products would not be."""
    x = (np.random.default_rng(0).standard_normal((512, *SHAPE)) * 1e-39).astype(np.float32)
    net = fv.Sequential(fv.Conv2d(16, 3, padding=1, bias=False), fv.ReLU(), fv.GlobalAvgPool(), fv.Dense(3))
    plan = fv.Plan(net, SHAPE, 512, seed=1, threads=threads, isa=ISA)
    plan.params["0.weight"] = plan.params["0.weight"] * np.float32(1e30)
    for _ in range(5):
        assert (plan.predict(x) == 0).all()
    # and as they are for the caller
    assert np.float32(1e-40) * np.float32(2) > 0


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64", "aarch64"), reason="modes differ elsewhere")
@pytest.mark.parametrize("threads", [1, 5])
def test_the_callers_rounding_mode_does_not_show(threads: int) -> None:
    libm = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")
    upward = 0x800 if platform.machine() in ("x86_64", "AMD64") else 0x400000
    x, y = images()

    def trained() -> bytes:
        plan = fv.Plan(small_plan().net, SHAPE, BATCH, fv.SGD(), seed=1, threads=threads, isa=ISA)
        for _ in range(3):
            plan.train_step(x, y, 0.1)
        return b"".join(value.tobytes() for value in plan.state_dict().values())

    plan_made_before = fv.Plan(small_plan().net, SHAPE, BATCH, fv.SGD(), seed=1, threads=threads, isa=ISA)
    assert libm.fesetround(upward) == 0
    try:
        for _ in range(3):  # first of all steps with so many threads: the pool is made here
            plan_made_before.train_step(x, y, 0.1)
        assert libm.fegetround() == upward, "the caller's mode is his own"
    finally:
        libm.fesetround(0)
    shown = b"".join(value.tobytes() for value in plan_made_before.state_dict().values())
    assert shown == trained()


def test_a_program_keeps_its_buffers_alive() -> None:
    class Owner:
        """Something that can be watched."""

    buffer, owner = np.ones(16, np.float32), Owner()
    address = buffer.ctypes.data
    program = native_program(ISA, [("relu_forward", {"x": address, "y": address, "count": 16})], owner)
    watched = weakref.ref(owner)
    del owner
    gc.collect()
    assert watched() is not None
    program.run(0, 1, 1, 1, 0.0, 1, 0, 0, 0)
    del program
    gc.collect()
    assert watched() is None


def test_a_program_runs_from_step_to_step() -> None:
    buffers = [np.full(16, value, np.float32) for value in (-1, 2, 3)]
    x, y, z = (buffer.ctypes.data for buffer in buffers)
    steps = [("relu_forward", {"x": y, "y": x, "count": 16}), ("relu_forward", {"x": z, "y": y, "count": 16})]
    program = native_program(ISA, steps, buffers)
    program.run(1, 2, 1, 1, 0.0, 1, 0, 0, 0)
    assert [buffer[0] for buffer in buffers] == [-1, 3, 3]
    program.run(0, 1, 1, 1, 0.0, 1, 0, 0, 0)
    assert [buffer[0] for buffer in buffers] == [3, 3, 3]
    for begin, end, threads, batch in ((-1, 1, 1, 1), (0, 3, 1, 1), (0, 1, 0, 1), (0, 1, 1, 0)):
        with pytest.raises(ValueError, match="out of range"):
            program.run(begin, end, threads, batch, 0.0, 1, 0, 0, 0)


def test_what_a_layer_saves_does_not_outlive_the_step() -> None:
    saved: list[weakref.ref[np.ndarray]] = []

    def forward(layer: fv.Layer, x: Any, params: Any, ctx: Any) -> Any:
        held = x.copy()
        saved.append(weakref.ref(held))
        return x, held

    plan = fv.Plan(fv.Sequential(broken(forward=forward), fv.Flatten(), fv.Dense(3)), SHAPE, BATCH, fv.SGD())
    plan.predict(images()[0])
    plan.train_step(*images(), 0.1)
    gc.collect()
    assert [ref() for ref in saved] == [None, None]
