"""Test-time augmentation: an answer is the mean over an image and its mirror image, wherever a model is used."""

from pathlib import Path

import numpy as np
import pytest

import foveal
from foveal.data import Images, Preprocess
from foveal.errors import RunError, UsageError
from foveal.layers import SoftmaxCrossEntropy
from foveal.layers.base import to_json
from foveal.models import lenet
from foveal.plan import Plan
from foveal.run.model_file import Model, pack_model, read_model, weights_of
from foveal.run.run import Run
from foveal.run.tensors import pack

NAMES = tuple("abc")
COLOUR = Preprocess(12, 10, 3, (0.3, 0.4, 0.5), (0.2, 0.3, 0.25))
RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (11, 12, 10, 3), np.uint8)
LABELS = RANDOM.integers(0, 3, 11).astype(np.int32)


def model_of(tta: str) -> Model:
    plan = Plan(lenet(3), (3, 12, 10), 4, seed=0, threads=1)
    return Model(plan.net, COLOUR, NAMES, weights_of(plan.state_dict()), tta)


def run_of(tta: str, folder: Path, isa: str | None = None) -> Run:
    path = folder / f"{tta}.safetensors"
    path.write_bytes(pack_model(model_of(tta)))
    return foveal.load_run(path, threads=1, isa=isa)


@pytest.mark.parametrize("isa", [None, "reference"])
def test_flip_is_the_mean_with_the_mirror_image(isa: str | None) -> None:
    plan = model_of("none").plan(batch_size=4, threads=1, isa=isa)
    source = plan.attach(PIXELS, LABELS, COLOUR.scale, COLOUR.shift)
    mirrored = plan.attach(np.ascontiguousarray(PIXELS[:, :, ::-1]), LABELS, COLOUR.scale, COLOUR.shift)
    one, other = (plan.evaluate_on(images) for images in (source, mirrored))
    both = plan.evaluate_on(source, tta="flip")
    assert np.abs(one.logits - other.logits).max() > 0.01
    assert both.logits.tobytes() == ((one.logits + other.logits) / 2).tobytes()
    assert plan.evaluate_on(mirrored, tta="flip").logits.tobytes() == both.logits.tobytes()


def test_the_loss_is_that_of_the_mean() -> None:
    plan = model_of("none").plan(threads=1)
    source = plan.attach(PIXELS, LABELS, COLOUR.scale, COLOUR.shift)
    result = plan.evaluate_on(source, tta="flip")
    loss, saved = SoftmaxCrossEntropy().forward(result.logits.astype(np.float64), LABELS)
    assert result.loss == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(result.losses, SoftmaxCrossEntropy().losses(saved, LABELS), rtol=1e-6)


def test_some_of_the_images() -> None:
    plan = model_of("none").plan(threads=1)
    source = plan.attach(PIXELS, LABELS, COLOUR.scale, COLOUR.shift)
    index = np.array([7, 2, 9])
    some, every = plan.evaluate_on(source, index, tta="flip"), plan.evaluate_on(source, tta="flip")
    assert some.logits.tobytes() == every.logits[index].tobytes()
    assert some.losses.tobytes() == every.losses[index].tobytes()


def test_a_model_is_used_as_it_says(tmp_path: Path) -> None:
    once, both = run_of("none", tmp_path), run_of("flip", tmp_path)
    images = Images(PIXELS, LABELS, NAMES)
    mirrored = np.ascontiguousarray(PIXELS[:, :, ::-1])
    assert both.predict(PIXELS) == both.predict(mirrored) != once.predict(PIXELS)
    assert once.predict(PIXELS) != once.predict(mirrored)
    evaluations = [run.evaluate(images).loss for run in (once, both)]
    assert evaluations[0] != evaluations[1]


def test_other_views_for_once(tmp_path: Path) -> None:
    once, both = run_of("none", tmp_path), run_of("flip", tmp_path)
    for run, other, tta in ((once, both, "flip"), (both, once, "none")):
        assert foveal.load_run(run.path, tta=tta).predict(PIXELS) == other.predict(PIXELS)
    with pytest.raises(UsageError, match="--tta must be none or flip, not 'shift'"):
        foveal.load_run(once.path, tta="shift")


def test_the_file_keeps_it(tmp_path: Path) -> None:
    run = run_of("flip", tmp_path)
    assert run.model.tta == "flip"
    assert pack_model(run.model) == run.model_path.read_bytes() != pack_model(model_of("none"))


def test_a_file_with_views_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    model, path = model_of("none"), tmp_path / "m.safetensors"
    record = {
        "spec": to_json(model.net),
        "preprocess": COLOUR.to_json(),
        "class_names": list(NAMES),
        "tta": "five-crop",
    }
    path.write_bytes(pack("model", model.weights, record))
    with pytest.raises(RunError, match=r"m\.safetensors cannot be used: tta must be none or flip, not 'five-crop'"):
        read_model(path)


def test_training_judges_and_saves_so(tmp_path: Path) -> None:
    data = foveal.load_dataset("digits")
    settings = {"lr": 0.05, "epochs": 1, "threads": 1, "progress": False}
    runs = {tta: foveal.fit("mlp", data, run_dir=tmp_path / tta, tta=tta, **settings) for tta in ("none", "flip")}
    once, both = runs["none"], runs["flip"]
    assert once.model.tta == "none"
    assert both.model.tta == both.config["settings"]["tta"] == "flip"
    assert {name: value.tobytes() for name, value in once.model.weights.items()} == {
        name: value.tobytes() for name, value in both.model.weights.items()
    }  # training is the same
    assert data.test is not None
    assert data.validation is not None
    for run in (once, both):
        assert run.summary()["test_loss"] == run.evaluate(data.test).loss
        assert run.metrics[0].val_loss == pytest.approx(run.evaluate(data.validation).loss, rel=1e-6)
    assert once.summary()["test_loss"] != both.summary()["test_loss"]
