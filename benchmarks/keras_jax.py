"""Training steps beside Keras on TensorFlow, and beside JAX: each in a process with foveal, in turn.

    python benchmarks/keras_jax.py keras|jax [--threads 2] [--repeats 7] [--json FILE] [NET ...]

Needs `pip install tensorflow-cpu` or `pip install jax`. Both are given images as they like them, channels last. Keras'
step is a tf.function, once as it is and once compiled with XLA; JAX's is compiled, its arguments donated. The optimizer
is SGD with momentum, the loss cross-entropy; batch norm uses the batch's statistics and keeps running ones.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from foveal.bench.networks import Case, cases
from foveal.bench.steps import LR, OURS
from foveal.bench.timing import in_turn
from foveal.kernels import resolve_isa, resolve_threads
from foveal.layers import (
    AvgPool2d,
    BatchNorm,
    Conv2d,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
)
from foveal.optim import Momentum
from foveal.plan import Plan

Step = Callable[[], Any]


def keras_steps(case: Case, x: np.ndarray, y: np.ndarray, threads: int) -> dict[str, Step]:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    layers = tf.keras.layers

    def apply(net: Sequential, shape: Any, value: Any) -> Any:
        for layer, before, _ in net.shapes(shape):
            value = one(layer, before, value)
        return value

    def padded(layer: Any, shape: Any, value: Any) -> Any:
        (top, bottom, left, right), _ = layer.geometry(shape)
        if not any((top, bottom, left, right)):
            return value, "valid"
        same = layer.strides == (1, 1) and top == bottom == (layer.kernel[0] - 1) // 2
        return (value, "same") if same else (layers.ZeroPadding2D(((top, bottom), (left, right)))(value), "valid")

    def one(layer: Layer, shape: Any, value: Any) -> Any:
        match layer:
            case Conv2d():
                value, border = padded(layer, shape, value)
                args = {"strides": layer.strides, "padding": border, "use_bias": layer.bias}
                if 1 < layer.groups == shape[0] == layer.filters:
                    return layers.DepthwiseConv2D(layer.kernel, **args)(value)
                return layers.Conv2D(layer.filters, layer.kernel, groups=layer.groups, **args)(value)
            case Dense():
                return layers.Dense(layer.units, use_bias=layer.bias)(value)
            case BatchNorm():
                return layers.BatchNormalization(momentum=1 - layer.momentum, epsilon=layer.eps)(value)
            case ReLU():
                return layers.ReLU()(value)
            case Dropout():
                return layers.Dropout(layer.p)(value)
            case MaxPool2d() | AvgPool2d():
                kind = layers.MaxPooling2D if isinstance(layer, MaxPool2d) else layers.AveragePooling2D
                border = "same" if any(layer.geometry(shape)[0]) else "valid"
                return kind(layer.window, layer.strides, border)(value)
            case GlobalAvgPool():
                return layers.GlobalAveragePooling2D()(value)
            case Flatten():
                return layers.Flatten()(value)
            case Sequential():
                return apply(layer, shape, value)
            case Residual():
                shortcut = layer.branches.get("shortcut")
                beside = apply(shortcut, shape, value) if shortcut else value
                return layers.Add()([apply(layer.branches["body"], shape, value), beside])
        raise TypeError(f"no Keras layer for {layer}")

    def build(xla: bool) -> Step:
        given = tf.keras.Input(shape=(*case.shape[1:], case.shape[0]))
        model = tf.keras.Model(given, apply(case.net, case.shape, given))
        optimizer = tf.keras.optimizers.SGD(LR, momentum=0.9)
        optimizer.build(model.trainable_variables)
        loss_of = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        images, labels = tf.constant(x.transpose(0, 2, 3, 1)), tf.constant(y)

        @tf.function(jit_compile=xla)
        def step(images: Any, labels: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = loss_of(labels, model(images, training=True))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            return loss

        return lambda: float(step(images, labels))

    return {"Keras": build(False), "Keras, XLA": build(True)}


def jax_steps(case: Case, x: np.ndarray, y: np.ndarray, threads: int) -> dict[str, Step]:
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}"
    os.environ["NPROC"] = str(threads)
    import jax
    from jax import lax
    from jax import numpy as jnp

    random = np.random.default_rng(0)

    def parameters(net: Sequential, shape: Any) -> list[Any]:
        found: list[Any] = []
        for layer, before, _ in net.shapes(shape):
            match layer:
                case Conv2d():
                    kernel = (*layer.kernel, before[0] // layer.groups, layer.filters)
                    found.append(initial(kernel, layer.filters, layer.bias))
                case Dense():
                    found.append(initial((before[0], layer.units), layer.units, layer.bias))
                case BatchNorm():
                    found.append({"gamma": jnp.ones(before[0]), "beta": jnp.zeros(before[0])})
                case Sequential():
                    found.append(parameters(layer, before))
                case Residual():
                    found.append({name: parameters(branch, before) for name, branch in layer.branches.items()})
                case _:
                    found.append({})
        return found

    def initial(shape: tuple[int, ...], outputs: int, bias: bool) -> dict[str, Any]:
        scale = float(np.sqrt(2 / np.prod(shape[:-1])))
        weight = {"weight": jnp.asarray(scale * random.standard_normal(shape, np.float32))}
        return weight | ({"bias": jnp.zeros(outputs)} if bias else {})

    def apply(net: Sequential, shape: Any, own: list[Any], value: Any, key: Any, running: list[Any]) -> Any:
        for (layer, before, _), p in zip(net.shapes(shape), own, strict=True):
            key, part = jax.random.split(key)
            value = one(layer, before, p, value, part, running)
        return value

    def window(layer: Any, shape: Any, value: Any, start: float, by: Any) -> Any:
        (top, bottom, left, right), _ = layer.geometry(shape)
        size, strides = (1, *layer.window, 1), (1, *layer.strides, 1)
        return lax.reduce_window(value, start, by, size, strides, ((0, 0), (top, bottom), (left, right), (0, 0)))

    def one(layer: Layer, shape: Any, p: Any, value: Any, key: Any, running: list[Any]) -> Any:
        match layer:
            case Conv2d():
                (top, bottom, left, right), _ = layer.geometry(shape)
                value = lax.conv_general_dilated(
                    value, p["weight"], layer.strides, ((top, bottom), (left, right)),
                    dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=layer.groups,
                )  # fmt: skip
                return value + p["bias"] if layer.bias else value
            case Dense():
                return value @ p["weight"] + (p["bias"] if layer.bias else 0)
            case BatchNorm():
                axes = tuple(range(value.ndim - 1))
                mean, variance = value.mean(axes), value.var(axes)
                running += [mean, variance]
                return (value - mean) * (lax.rsqrt(variance + layer.eps) * p["gamma"]) + p["beta"]
            case ReLU():
                return jax.nn.relu(value)
            case Dropout():
                kept = jax.random.bernoulli(key, 1 - layer.p, value.shape)
                return jnp.where(kept, value / (1 - layer.p), 0)
            case MaxPool2d():
                return window(layer, shape, value, -jnp.inf, lax.max)
            case AvgPool2d():
                return window(layer, shape, value, 0.0, lax.add) / (layer.window[0] * layer.window[1])
            case GlobalAvgPool():
                return value.mean((1, 2))
            case Flatten():
                return value.reshape(len(value), -1)
            case Sequential():
                return apply(layer, shape, p, value, key, running)
            case Residual():
                body = apply(layer.branches["body"], shape, p["body"], value, key, running)
                shortcut = layer.branches.get("shortcut")
                return body + (apply(shortcut, shape, p["shortcut"], value, key, running) if shortcut else value)
        raise TypeError(f"nothing in JAX for {layer}")

    images, labels = jnp.asarray(x.transpose(0, 2, 3, 1)), jnp.asarray(y)

    def loss_of(own: list[Any], key: Any) -> Any:
        running: list[Any] = []
        scores = jax.nn.log_softmax(apply(case.net, case.shape, own, images, key, running))
        return -jnp.take_along_axis(scores, labels[:, None], 1).mean(), running

    def update(own: list[Any], velocity: list[Any], kept: list[Any], key: Any) -> Any:
        (loss, running), gradients = jax.value_and_grad(loss_of, has_aux=True)(own, key)
        velocity = jax.tree.map(lambda v, g: 0.9 * v + g, velocity, gradients)
        own = jax.tree.map(lambda w, v: w - LR * v, own, velocity)
        return loss, own, velocity, [0.9 * a + 0.1 * b for a, b in zip(kept, running, strict=True)]

    own = parameters(case.net, case.shape)
    first = jax.eval_shape(lambda p: loss_of(p, jax.random.key(0))[1], own)
    state = [own, jax.tree.map(jnp.zeros_like, own), [jnp.zeros(r.shape) for r in first]]
    compiled, count = jax.jit(update, donate_argnums=(0, 1, 2)), iter(range(1 << 40))

    def step() -> float:
        loss, *state[:] = compiled(*state, jax.random.key(next(count)))
        return float(loss)

    return {"JAX": step}


PEERS = {"keras": keras_steps, "jax": jax_steps}


@click.command()
@click.argument("peer", type=click.Choice(list(PEERS)))
@click.argument("names", nargs=-1, type=click.Choice(list(cases())))
@click.option("--threads", type=int)
@click.option("--repeats", default=7)
@click.option("--json", "kept", type=click.Path(path_type=Path))
def main(peer: str, names: tuple[str, ...], threads: int | None, repeats: int, kept: Path | None) -> None:
    threads, isa = resolve_threads(threads), resolve_isa(None)
    results = json.loads(kept.read_text()) if kept and kept.is_file() else []
    for case in (case for name, case in cases().items() if not names or name in names):
        x, y = case.noise()
        plan = Plan(case.net, case.shape, case.batch, Momentum(), seed=1, threads=threads, isa=isa)
        sides = PEERS[peer](case, x, y, threads)
        before = [step() for step in sides.values()]
        times = in_turn({OURS: lambda plan=plan, x=x, y=y: plan.train_step(x, y, LR), **sides}, repeats)
        assert [step() for step in sides.values()] < before, "the peer's loss does not fall"
        ms = {name: round(time.median, 3) for name, time in times.items()}
        best = min(sides, key=lambda name: ms[name])
        click.echo(f"{case.name}: {ms}  {ms[best] / ms[OURS]:.2f}")
        results = [it for it in results if (it["net"], it["peer"]) != (case.name, peer)]
        results.append({"net": case.name, "peer": peer, "batch": case.batch, "ms": ms, "ratio": ms[best] / ms[OURS]})
    if kept:
        kept.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
