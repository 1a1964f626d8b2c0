"""Runs and model files: what comes back, what predictions are, what is refused."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import foveal
from foveal.data import Images, Preprocess
from foveal.errors import DataError, RunError
from foveal.layers.base import to_json
from foveal.models import mlp
from foveal.plan import Plan
from foveal.run.model_file import Model, pack_model, read_model, weights_of
from foveal.run.run import Run, load_run, softmax
from foveal.run.tensors import pack

NAMES = tuple("abc")
GREY = Preprocess(8, 8, 1, (0.3,), (0.2,))


def model_of(seed: int = 0, *, threads: int = 1, names: tuple[str, ...] = NAMES) -> Model:
    plan = Plan(mlp(3, width=0.02, batch_norm=True), (1, 8, 8), 4, seed=seed, threads=threads)
    return Model(plan.net, GREY, names, weights_of(plan.state_dict()))  # type: ignore[arg-type]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "m.safetensors").write_bytes(pack_model(model_of()))
    return load_run(tmp_path / "m.safetensors")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)


def test_a_model_comes_back(run: Run) -> None:
    assert run.model.net == mlp(3, width=0.02, batch_norm=True)
    assert (run.model.preprocess, run.class_names, run.model.input_shape) == (GREY, NAMES, (1, 8, 8))
    wanted = model_of().weights
    assert {name: value.tobytes() for name, value in run.model.weights.items()} == {
        name: value.tobytes() for name, value in wanted.items()
    }


def test_equal_weights_give_equal_files() -> None:
    assert pack_model(model_of()) == pack_model(model_of(threads=2))
    assert pack_model(model_of()) != pack_model(model_of(seed=1))
    assert pack_model(model_of()) != pack_model(model_of(names=tuple("abd")))


def test_a_model_read_and_written_again_is_the_same_file(run: Run) -> None:
    assert pack_model(run.model) == run.model_path.read_bytes()


def test_one_metadata_key_and_the_counters_of_pytorch(run: Run) -> None:
    from safetensors import safe_open

    with safe_open(run.model_path, framework="numpy") as file:
        assert set(file.metadata()) == {"foveal"}
        record = json.loads(file.metadata()["foveal"])
        counters = [name for name in file.keys() if name.endswith("num_batches_tracked")]  # noqa: SIM118
        assert [file.get_tensor(name).item() for name in counters] == [0, 0]
    assert set(record) == {"class_names", "digest", "format", "kind", "preprocess", "spec"}


def test_optimizer_state_is_not_in_the_model() -> None:
    plan = Plan(mlp(3, width=0.02), (1, 8, 8), 4, foveal.Adam())
    assert set(weights_of(plan.state_dict())) == set(plan.params)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spec": {"kind": "Warp"}}, "a layer of kind 'Warp'"),
        ({"spec": to_json(foveal.Dense(3))}, "its spec is not a Sequential"),
        ({"spec": 3}, "its spec is not a Sequential"),
        ({"spec": {"kind": "Sequential"}}, "it has no 'layers'"),
        ({"spec": to_json(mlp(4))}, "does not end in one score for each class"),
        ({"preprocess": {}}, "preprocess"),
        ({"preprocess": GREY.to_json() | {"height": 0}}, "preprocess"),
        ({"class_names": 3}, "cannot be used"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_model_that_makes_no_sense_is_refused_in_one_line(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    model = model_of()
    record = {"spec": to_json(model.net), "preprocess": GREY.to_json(), "class_names": list(NAMES), **change}
    path = tmp_path / "m.safetensors"
    path.write_bytes(pack("model", model.weights, record))
    with pytest.raises(RunError, match=message) as caught:
        read_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, change: str) -> None:
    model = model_of()
    weights = dict(model.weights)
    if change == "missing":
        del weights["1.weight"]
    elif change == "extra":
        weights["9.weight"] = weights["1.weight"]
    else:
        weights["1.weight"] = weights["1.weight"][:, :5]
    path = tmp_path / "m.safetensors"
    path.write_bytes(pack_model(Model(model.net, GREY, NAMES, weights)))
    with pytest.raises(RunError, match=r"do not fit its network: .*weight"):
        load_run(path).plan  # noqa: B018


def test_predictions(run: Run, images: np.ndarray) -> None:
    predictions = run.predict(images, top=2)
    assert len(predictions) == 40
    first = predictions[0]
    assert first.path is None
    assert first.top[0] == (first.label, first.probability)
    assert len(first.top) == 2
    assert first.top[0][1] >= first.top[1][1]
    assert sum(p for _, p in run.predict(images[0])[0].top) == pytest.approx(1)


def test_an_image_is_predicted_the_same_alone_and_among_others(run: Run, images: np.ndarray) -> None:
    together = run.predict(images)
    assert [run.predict(image)[0] for image in images[:7]] == together[:7]
    assert run.predict(list(images[::-1]))[::-1] == together


def test_files_and_arrays_are_predicted_alike(run: Run, images: np.ndarray, tmp_path: Path) -> None:
    from PIL import Image

    for i in range(2):
        Image.fromarray(images[i, :, :, 0]).save(tmp_path / f"{i}.png")
    paths = [tmp_path / "0.png", str(tmp_path / "1.png")]
    from_files, from_arrays = run.predict(paths), run.predict(images[:2, :, :, 0][:, :, :, None])
    assert [p.top for p in from_files] == [p.top for p in from_arrays]
    assert [p.path for p in from_files] == [str(path) for path in paths]
    assert run.predict(paths[0]) == from_files[:1]


def test_nothing_to_predict(run: Run) -> None:
    assert run.predict([]) == []


@pytest.mark.parametrize(
    "array", [np.zeros((8, 8), np.float32), np.zeros((9, 8), np.uint8), np.zeros((8, 8, 3), np.uint8)]
)
def test_an_array_of_the_wrong_kind_is_refused(run: Run, array: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"must be uint8 \(8, 8, 1\)"):
        run.predict(array)


def test_a_file_that_is_no_image_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("hello")
    with pytest.raises(DataError, match=r"x\.png"):
        run.predict([tmp_path / "x.png"])


def test_evaluation_agrees_with_predictions(run: Run, images: np.ndarray) -> None:
    labels = np.arange(40, dtype=np.int32) % 3
    evaluation = run.evaluate(Images(images, labels, NAMES))
    said = [prediction.label for prediction in run.predict(images)]
    assert evaluation.accuracy == np.mean([name == NAMES[label] for name, label in zip(said, labels, strict=True)])
    assert evaluation.count == 40


def test_images_that_do_not_fit_the_model_are_refused(run: Run, images: np.ndarray) -> None:
    labels = np.zeros(40, np.int32)
    with pytest.raises(DataError, match="have classes x, y; the model knows a, b, c"):
        run.evaluate(Images(images, labels, ("x", "y")))
    with pytest.raises(DataError, match=r"takes images of \(H, W, C\) \(8, 8, 1\)"):
        run.evaluate(Images(images[:, :4], labels, NAMES))
    with pytest.raises(DataError, match="no images"):
        run.evaluate(Images(images[:0], labels[:0], NAMES))


def test_a_model_file_alone_has_no_history(run: Run) -> None:
    assert (run.config, run.metrics) == ({}, ())
    with pytest.raises(RunError, match="nothing is known of its training"):
        run.summary()


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run folder"):
        load_run(tmp_path / "missing")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RunError, match=r"has no model.safetensors: no epoch"):
        load_run(tmp_path)


def test_softmax_is_stable_and_sums_to_one() -> None:
    assert softmax([1000.0, 1000.0]) == [0.5, 0.5]
    assert sum(softmax([-5.0, 0.0, 3.0, 700.0])) == pytest.approx(1)


def test_the_hash_in_the_summary_is_that_of_the_file(tmp_path: Path) -> None:
    run = foveal.fit("mlp", "digits", width=0.02, lr=0.02, steps=2, run_dir=tmp_path / "a", progress=False)
    assert run.summary()["model_sha256"] == hashlib.sha256(run.model_path.read_bytes()).hexdigest()
