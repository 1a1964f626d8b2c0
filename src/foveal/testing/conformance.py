"""`LayerConformance`: what every layer must do, as tests that the author of one inherits.

Plain methods and AssertionError: pytest runs a subclass whose name begins with Test; for unittest, derive it from
unittest.TestCase as well. Nothing but NumPy is needed.
"""

import json
import pickle
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from foveal.data import Preprocess
from foveal.errors import ShapeError
from foveal.layers import Context, Layer, LayerRandom, from_json, to_json
from foveal.layers.base import Shape, Tensor
from foveal.optim import SGD
from foveal.params import ParamSlot
from foveal.plan import Plan
from foveal.run.model_file import Model, pack_model, read_model, weights_of
from foveal.testing.differences import distinct, wrong_derivatives
from foveal.testing.network import CLASSES, definition_logits, definition_step, network_around

Values = dict[str, Tensor]
_EPS = float(np.finfo(np.float32).eps)
_SEED = 3


class LayerConformance:
    """Tests of one layer; a subclass says which:

    layer: the spec. in_shape: (C, H, W) or (F,), small, for every element is moved. batch: how many images.
    depends_on_batch: in training an image's output depends on the other images, as in BatchNorm.
    Override `make_inputs` or `make_params` where the layer does not take any numbers, or has kinks beside 0.
    """

    layer: ClassVar[Layer]
    in_shape: ClassVar[Shape]
    batch: ClassVar[int] = 4
    depends_on_batch: ClassVar[bool] = False

    def make_inputs(self, count: int, seed: int = 0) -> Tensor:
        """(count, *in_shape) float64 between -3.3 and 3.3, no two of them close to each other or to 0."""
        return distinct((count, *self.in_shape), seed)

    def make_params(self) -> Values:
        """A float64 array for every slot, scattered around its initial values; running statistics above them."""
        random = np.random.default_rng(1)
        values: Values = {}
        for slot in self.layer.param_slots(self.in_shape):
            scattered = random.standard_normal(slot.shape) * (slot.init.deviation or 0.5)
            values[slot.name] = slot.init.constant + (abs(scattered) if slot.kind == "running" else scattered)
        return values

    # ---- the spec

    def test_the_spec_is_a_value(self) -> None:
        """Registered by @foveal.layer; the same after JSON and pickle; equal specs have equal hashes."""
        layer = self.layer
        self._expect(isinstance(layer, Layer), "is no foveal.Layer")
        self._expect(getattr(type(layer), "kind", None) == type(layer).__name__, "has no @foveal.layer above its class")
        back = {"JSON": from_json(json.loads(json.dumps(to_json(layer)))), "pickle": pickle.loads(pickle.dumps(layer))}
        for way, copy in back.items():
            self._expect(copy == layer, f"comes back from {way} as {copy!r}")
            self._expect(hash(copy) == hash(layer), f"comes back from {way} equal, but with another hash")

    def test_out_shape_is_that_of_forward(self) -> None:
        out = self.layer.out_shape(self.in_shape)
        plain = (
            isinstance(out, tuple) and len(out) in (1, 3) and all(isinstance(side, int) and side > 0 for side in out)
        )
        self._expect(plain, f"out_shape must give (C, H, W) or (F,) as integers above 0, not {out!r}")
        for count in (self.batch, 1 if not self.depends_on_batch else 2):
            for when, ctx in self._contexts():
                y, _ = self._forward(self.make_inputs(count), self.make_params(), ctx)
                shape, expected = y.shape, (count, *out)
                self._expect(shape == expected, f"out_shape promises y {expected}, forward in {when} gives {shape}")
                self._expect(bool(np.isfinite(y).all()), f"forward in {when} gives numbers that are not finite")

    def test_out_shape_refuses_with_a_shape_error(self) -> None:
        """Only a ShapeError is told to the user with the layer's place in the network."""
        for shape in ((7,), (5, 9, 4), (1, 1, 1)):
            try:
                self.layer.out_shape(shape)
            except ShapeError:
                continue
            except Exception as error:
                name = type(error).__name__
                self._expect(False, f"out_shape({shape}) raises {name}; raise foveal.ShapeError and say what it takes")

    def test_param_slots_are_plain(self) -> None:
        slots = list(self.layer.param_slots(self.in_shape))
        self._expect(slots == list(self.layer.param_slots(self.in_shape)), "param_slots says something else each time")
        names = [slot.name for slot in slots]
        self._expect(len(set(names)) == len(names), f"param_slots names one slot twice: {', '.join(names)}")
        for slot in slots:
            self._expect(isinstance(slot, ParamSlot), f"param_slots yields {slot!r}, which is no foveal.ParamSlot")
            named = all(part.isidentifier() or part.isdigit() for part in slot.name.split("."))
            self._expect(named, f"param_slots: {slot.name!r} is no name")
            plain = all(isinstance(side, int) and side > 0 for side in slot.shape)
            self._expect(plain, f"param_slots: {slot.name} must have integers above 0 for a shape, not {slot.shape}")
            values = slot.init.draw(slot.shape, (1, 2))
            self._expect(bool(np.isfinite(values).all()), f"param_slots: {slot.name} starts with {values}")

    def test_flops_are_a_count(self) -> None:
        flops = self.layer.flops(self.in_shape)
        self._expect(isinstance(flops, int) and flops >= 0, f"flops must give an integer of at least 0, not {flops!r}")

    # ---- the definition

    def test_the_same_again(self) -> None:
        """Equal arguments give equal bits; randomness comes from ctx.rng alone."""
        for when, ctx in self._contexts():
            first, second = (self._both(self.make_inputs(self.batch), ctx, np.float32) for _ in range(2))
            for name, value in first.items():
                self._expect(value.tobytes() == second[name].tobytes(), f"{name} in {when} differs from call to call")

    def test_nothing_given_is_changed(self) -> None:
        """But running statistics, by forward in training, and these in place."""
        for when, ctx in self._contexts():
            x, params = self.make_inputs(self.batch), self.make_params()
            own = {"x": x, **params}
            before = {name: value.copy() for name, value in own.items()}
            y, saved = self._forward(x, params, ctx)
            may = {slot.name for slot in self._slots("running")} if ctx.training else set()
            self._unchanged(f"forward in {when}", own, params, before, may)
            before |= {name: params[name].copy() for name in may}
            dy = np.random.default_rng(2).standard_normal(y.shape)
            before["dy"] = dy.copy()
            self.layer.backward(dy, saved, params, ctx)
            self._unchanged(f"backward in {when}", {**own, "dy": dy}, params, before, set())

    def test_backward_is_the_derivative_of_forward(self) -> None:
        """Against finite differences in float64: dx, and the gradient of every trainable parameter."""
        learnt = [slot.name for slot in self._slots("trainable") if slot.trainable]
        for when, ctx in self._contexts():
            x, params = self.make_inputs(self.batch), self.make_params()
            y, saved = self._forward(x, _copied(params), ctx)
            r = np.random.default_rng(2).standard_normal(y.shape)
            dx, dparams = self._backward(r, saved, params, ctx)
            missing, unknown = sorted(set(learnt) - set(dparams)), sorted(set(dparams) - set(params))
            self._expect(not missing, f"backward in {when} gives no gradient of {', '.join(missing)}")
            self._expect(not unknown, f"backward in {when} gives a gradient of {', '.join(unknown)}, which is no slot")

            def loss(x: Tensor = x, params: Values = params, ctx: Context = ctx, r: Tensor = r) -> float:
                return float((self.layer.forward(x, _copied(params), ctx)[0] * r).sum())

            for name, value, gradient in (("x", x, dx), *((name, params[name], dparams[name]) for name in learnt)):
                shapes = f"gradient of {name} in {when} must have shape {value.shape}, not {np.shape(gradient)}"
                self._expect(np.shape(gradient) == value.shape, shapes)
                for wrong in wrong_derivatives(loss, value, gradient):
                    self._expect(False, f"gradient of {name} in {when}: {wrong}")

    def test_float32_stays_float32(self) -> None:
        """And float64 stays float64, which the test of the gradients needs: the definition names neither."""
        for dtype in (np.float32, np.float64):
            for when, ctx in self._contexts():
                for name, value in self._both(self.make_inputs(self.batch), ctx, dtype).items():
                    kind = np.dtype(dtype).name
                    self._expect(value.dtype == dtype, f"{name} in {when} is {value.dtype} where all else is {kind}")

    def test_an_image_does_not_depend_on_its_batch(self) -> None:
        """In inference never; in training not unless `depends_on_batch` says so, and then really."""
        for when, ctx in self._contexts():
            x = self.make_inputs(self.batch)
            others = self.make_inputs(self.batch, seed=9)
            others[1] = x[1]
            one, other = (self._both(images, ctx, np.float64) for images in (x, others))
            same = all(np.allclose(one[name][1], other[name][1], 1e-9, 1e-12) for name in ("y", "dx"))
            if ctx.training and self.depends_on_batch:
                self._expect(not same, "depends_on_batch is declared, but an image's output does not")
                continue
            self._expect(same, f"in {when} an image's y or dx depends on the other images of its batch")
            part = self._both(x[:2], ctx, np.float64)["y"][1]
            self._expect(np.allclose(part, one["y"][1], 1e-9, 1e-12), f"in {when} y depends on the size of the batch")

    # ---- in foveal

    def test_runs_in_a_plan_as_it_is_defined(self) -> None:
        """Logits, loss, and all parameters after a step, within the rounding of float32."""
        plan, x, labels = self._plan()
        before = dict(plan.params)
        depth = max(x.size, *(value.size for value in before.values()))
        self._close("logits", plan.predict(x), definition_logits(plan.net, before, x), depth)
        expected = definition_step(plan.net, before, x, labels, _SEED)
        loss = plan.train_step(x, labels, lr=1.0)
        self._close("the loss", np.array(loss), np.array(expected.loss), depth)
        for name, value in plan.params.items():
            slot = plan.layout.entries[name].slot
            wanted: Tensor = before[name].astype(np.float64)
            if slot.kind == "running":
                wanted = expected.running[name]
            elif slot.trainable:
                wanted = wanted - expected.gradients[name]
            self._close(f"{name} after a step", value, wanted, depth)

    def test_is_saved_in_a_model_file_and_loaded_again(self) -> None:
        plan, x, labels = self._plan()
        plan.train_step(x, labels, lr=0.1)
        channels, height, width = plan.input_shape
        ready = Preprocess(height, width, channels, (0.0,) * channels, (1.0,) * channels, "none")
        names = tuple("abc"[:CLASSES])
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.safetensors"
            file.write_bytes(pack_model(Model(plan.net, ready, names, weights_of(plan.state_dict()))))
            model = read_model(file)
        self._expect(model.net == plan.net, f"comes back from a model file in the network {model.net!r}")
        same = model.plan(batch_size=len(x)).predict(x).tobytes() == plan.predict(x).tobytes()
        self._expect(same, "predicts something else after it was saved and loaded")

    # ---- helpers

    def _expect(self, true: bool, message: str) -> None:
        __tracebackhide__ = True
        if not true:
            raise AssertionError(f"{type(self.layer).__name__} on {self.in_shape}: {message}")

    def _contexts(self) -> Iterator[tuple[str, Context]]:
        """(what it is called, the context), as a plan gives them."""
        yield "training", Context(True, LayerRandom(7, 1, 2, 0, type(self.layer).__name__), 2)
        yield "inference", Context()

    def _slots(self, kind: str) -> list[ParamSlot]:
        return [slot for slot in self.layer.param_slots(self.in_shape) if slot.kind == kind]

    def _forward(self, x: Tensor, params: Values, ctx: Context) -> tuple[Tensor, Any]:
        result: Any = self.layer.forward(x, params, ctx)
        pair = isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], np.ndarray)
        self._expect(pair, "forward must return (y, what backward needs), with an array y")
        return result[0], result[1]

    def _backward(self, dy: Tensor, saved: Any, params: Values, ctx: Context) -> tuple[Tensor, Mapping[str, Tensor]]:
        result: Any = self.layer.backward(dy, saved, params, ctx)
        pair = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping)
        self._expect(pair, "backward must return (dx, {name of a parameter: its gradient})")
        return result[0], result[1]

    def _both(self, x: Tensor, ctx: Context, dtype: type[np.floating[Any]]) -> Values:
        """What forward and backward give in one type of numbers: y, dx, "gradient of <name>", running statistics."""
        params = {name: value.astype(dtype) for name, value in self.make_params().items()}
        y, saved = self._forward(x.astype(dtype), params, ctx)
        dy = np.random.default_rng(2).standard_normal((self.batch, *y.shape[1:]))[: len(y)].astype(y.dtype)
        dx, dparams = self._backward(dy, saved, params, ctx)
        running = {slot.name: params[slot.name] for slot in self._slots("running")}
        return {"y": y, "dx": dx, **{f"gradient of {name}": value for name, value in dparams.items()}, **running}

    def _unchanged(self, who: str, own: Values, params: Values, before: Values, may: set[str]) -> None:
        for name, value in own.items():
            kept = name in may or value.tobytes() == before[name].tobytes()
            self._expect(kept, f"{who} changes {name}, which it must leave as it is")
            replaced = name in own.keys() - {"x", "dy"} and params.get(name) is not value
            self._expect(not replaced, f"{who} puts another array in the place of {name}: write into it, {name}[:] = …")

    def _plan(self) -> tuple[Plan, Tensor, Any]:
        net, image = network_around(self.layer, self.in_shape)
        random = np.random.default_rng(5)
        x, labels = random.standard_normal((self.batch, *image), np.float32), random.integers(0, CLASSES, self.batch)
        return Plan(net, image, self.batch, SGD(), _SEED), x, labels

    def _close(self, what: str, got: Tensor, expected: Tensor, depth: int) -> None:
        """Within the rounding of a few chained float32 sums of length `depth`, relative to the largest value."""
        scale = max(float(np.abs(expected).max(initial=0)), 1e-3)
        error = float(np.abs(got - expected).max(initial=0))
        allowed = 8 * _EPS * float(np.sqrt(depth)) * scale
        self._expect(error <= allowed, f"{what} in a Plan is off the definition by {error:.3g}, allowed {allowed:.3g}")


def _copied(params: Values) -> Values:
    return {name: value.copy() for name, value in params.items()}
