"""Starting from another model: what is taken over, what begins anew, what is refused, and that it helps."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_resume import killed

import foveal as fv
from foveal.data import load_dataset
from foveal.errors import DataError, RunError, ShapeError, UsageError
from foveal.fitting import resume
from foveal.kernels import available_isas
from foveal.run import Run
from foveal.run.model_file import read_model
from foveal.train.events import Noted
from foveal.train.initial import with_classes

Arrays = tuple[np.ndarray, np.ndarray]


def digits(low: int, high: int) -> Arrays:
    """All digits from low to below high, labelled from 0."""
    parts = load_dataset("digits").parts.values()
    pixels, labels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("pixels", "labels"))
    chosen = (labels >= low) & (labels < high)
    return pixels[chosen], labels[chosen] - low


def fit(data: Any, out: Path, model: Any = "auto", **options: Any) -> Run:
    """At a rate of 0.02 unless another one is given."""
    return fv.fit(model, data, run_dir=out, progress=False, **{"lr": 0.02, **options})


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """LeNet trained on the digits 0 to 5."""
    return fit(digits(0, 6), tmp_path_factory.mktemp("first") / "run", "lenet", epochs=6)


@pytest.fixture(scope="module")
def few() -> fv.Dataset:
    """32 images of the digits 6 to 9 to train on, and 358 to test."""
    half = load_dataset(digits(6, 10), test=0.5, validation=0)
    train = (half.train.pixels[:32], half.train.labels[:32])
    return dataclasses.replace(load_dataset(train, validation=0, test=0), test=half.test)


def test_it_helps(first: Run, few: fv.Dataset, tmp_path: Path) -> None:
    """New classes, few images: better than from scratch. A single pair says little (the weights drawn and the order of
    images move either by 0.15), so eight are taken: their mean, by two of its standard errors, and most of them."""
    gains = []
    for seed in range(8):
        options = {"epochs": 4, "seed": seed}
        scratch = fit(few, tmp_path / f"s{seed}", "lenet", **options).summary()["test_accuracy"]
        begun = fit(few, tmp_path / f"i{seed}", init_from=first.path, **options).summary()["test_accuracy"]
        gains.append(begun - scratch)
    mean, error = np.mean(gains), np.std(gains, ddof=1) / np.sqrt(len(gains))
    assert mean > max(0.05, 2 * error), gains
    assert sum(gain > 0 for gain in gains) >= 6, gains


def test_the_same_classes_begin_where_the_other_model_ended(first: Run, tmp_path: Path) -> None:
    """With a rate of nothing, what comes out is what went in: weights, normalisation, so the function."""
    data = load_dataset(digits(0, 6), seed=5)
    again = fit(data, tmp_path / "run", init_from=first.path, lr=1e-30, steps=1)
    assert again.model.preprocess == first.model.preprocess != data.preprocess
    assert again.model.net == first.model.net
    assert data.test is not None
    assert again.evaluate(data.test).to_json() == first.evaluate(data.test).to_json()


def test_all_but_the_head_is_taken_over(first: Run, few: fv.Dataset, tmp_path: Path) -> None:
    notes: list[Any] = []
    begun = fit(few, tmp_path / "a", init_from=first.path, lr=1e-30, steps=1, seed=4, listeners=[notes.append])
    scratch = fit(few, tmp_path / "b", "lenet", lr=1e-30, steps=1, seed=4)
    for name, value in begun.model.weights.items():
        source = scratch if name.startswith("9.") else first
        np.testing.assert_allclose(value, source.model.weights[name], rtol=0, atol=1e-25)
    assert begun.model.weights["9.weight"].shape[0] == 4
    said = [event.message for event in notes if isinstance(event, Noted)]
    digest = hashlib.sha256(first.model_path.read_bytes()).hexdigest()
    path = first.model_path
    assert said == [
        f"weights of all layers but layer 9 (Dense), new for 4 classes instead of 6, from {path} "
        f"(sha256 {digest[:12]}); images are normalised as that model's"
    ]
    record = json.loads((tmp_path / "a" / "config.json").read_text())
    assert record["init_from"] == {
        "path": str(path), "sha256": digest,
        "mean": list(first.model.preprocess.mean), "deviation": list(first.model.preprocess.deviation),
    }  # fmt: skip
    assert record["settings"]["model"] == "lenet"


def test_as_many_other_classes_get_a_new_head_too(first: Run, tmp_path: Path) -> None:
    renamed = load_dataset(digits(0, 6), validation=0, test=0)
    names = ("f", "e", "d", "c", "b", "a")
    renamed = dataclasses.replace(
        renamed, class_names=names, train=dataclasses.replace(renamed.train, class_names=names)
    )
    notes: list[Any] = []
    begun = fit(renamed, tmp_path / "a", init_from=first.path, lr=1e-30, steps=1, listeners=[notes.append])
    scratch = fit(renamed, tmp_path / "b", "lenet", lr=1e-30, steps=1)
    for name, value in begun.model.weights.items():
        source = scratch if name.startswith("9.") else first
        np.testing.assert_allclose(value, source.model.weights[name], rtol=0, atol=1e-25)
    assert next(event.message for event in notes if isinstance(event, Noted)).startswith(
        "weights of all layers but layer 9 (Dense), new for other classes, from "
    )


@pytest.mark.parametrize("isa", [isa for isa in available_isas() if isa not in ("baseline", "reference")])
def test_the_same_bits(first: Run, few: fv.Dataset, tmp_path: Path, isa: str) -> None:
    runs = [
        fit(few, tmp_path / f"{threads}", init_from=first.path, epochs=2, threads=threads, isa=isa)
        for threads in (1, 3)
    ]
    usual = fit(few, tmp_path / "usual", init_from=first.model_path, epochs=2)
    hashes = {run.summary()["model_sha256"] for run in [*runs, usual]}
    assert len(hashes) == 1
    assert hashes != {fit(few, tmp_path / "other", init_from=first.path, epochs=2, seed=1).summary()["model_sha256"]}


SMALL: dict[str, Any] = {
    "model": "mlp", "width": 0.04, "dropout": 0.2, "batch_norm": True, "augment": "standard", "epochs": 3,
    "batch_size": 200, "seed": 3, "lr": 0.5, "schedule": "constant", "momentum": 0.98,
}  # fmt: skip


def test_killed_and_resumed_with_and_without_the_file(small_run: Run, tmp_path: Path) -> None:
    """Once there is a checkpoint the file is not needed; before, it must be what it was."""
    file = tmp_path / "first.safetensors"
    shutil.copy(small_run.model_path, file)
    settings = {**SMALL, "seed": 4, "init_from": str(file)}
    whole = fv.fit(
        "mlp",
        "digits",
        run_dir=tmp_path / "whole",
        progress=False,
        **{k: v for k, v in settings.items() if k != "model"},
    )
    late, early = tmp_path / "late", tmp_path / "early"
    killed(late, "step", "10", **settings)
    killed(early, "step", "1", every=1e9, **settings)
    assert (late / "last.safetensors").exists()
    assert not (early / "last.safetensors").exists()
    moved = tmp_path / "moved"
    file.rename(moved)
    quiet = fv.Watch(progress=False)
    assert resume(late, watch=quiet).summary()["model_sha256"] == whole.summary()["model_sha256"]
    with pytest.raises(
        RunError, match=r"has no checkpoint yet and begins with .*first.safetensors, which is no longer there"
    ):
        resume(early, watch=quiet)
    shutil.copy(late / "model.safetensors", file)
    with pytest.raises(RunError, match="which is no longer what it was"):
        resume(early, watch=quiet)
    moved.replace(file)
    assert resume(early, watch=quiet).summary()["model_sha256"] == whole.summary()["model_sha256"]


def test_a_run_is_extended_without_the_file(first: Run, few: fv.Dataset, tmp_path: Path) -> None:
    file = tmp_path / "first.safetensors"
    shutil.copy(first.model_path, file)
    fit(few, tmp_path / "run", init_from=file, epochs=1)
    file.unlink()
    assert resume(tmp_path / "run", data=few, more_epochs=1, watch=fv.Watch(progress=False)).summary()["epochs"] == 2


def colour(path: Path, side: int) -> Path:
    """A folder of class folders with colour images."""
    from PIL import Image

    random = np.random.default_rng(0)
    for label in ("a", "b"):
        (path / label).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(random.integers(0, 255, (side, side, 3), np.uint8)).save(path / label / f"{number}.png")
    return path


def test_image_files_get_the_models_size(tmp_path: Path) -> None:
    """Also when they are read again by resume and evaluate; --size wins."""
    before = fit(colour(tmp_path / "small", 12), tmp_path / "before", "mlp", width=0.02, epochs=1)
    large = colour(tmp_path / "large", 20)
    run = fit(large, tmp_path / "run", init_from=before.path, epochs=1)
    assert run.model.input_shape == (3, 12, 12)
    assert resume(run.path, more_epochs=1, watch=fv.Watch(progress=False)).model.input_shape == (3, 12, 12)
    with pytest.raises(
        ShapeError,
        match=r"layer 1 \(Dense\): weight has shape \(16, 1200\) here, but \(16, 432\) in .*"
        "the images are 20×20 here and were 12×12 there",
    ):
        fit(large, tmp_path / "other", init_from=before.path, epochs=1, size=20)
    assert not (tmp_path / "other").exists()


def test_what_does_not_fit_is_refused_by_name(first: Run, few: fv.Dataset, tmp_path: Path) -> None:
    for model, options, words in (
        ("lenet", {"width": 2}, r"layer 0 \(Conv2d\): weight has shape \(64, 1, 5, 5\) here, but \(32, 1, 5, 5\) in "),
        ("lenet", {"batch_norm": True}, r"layer 1 \(BatchNorm\): it has weight \(32,\) here, but there is none in "),
        (fv.Sequential(fv.Flatten(), fv.Dense(4)), {}, r"layer 1 \(Dense\): it has weight \(4, 64\) here"),
        (with_classes(fv.Sequential(*first.model.net.layers[:-3], fv.Flatten(), fv.Dense(3)), 4), {}, "here, but"),
    ):
        with pytest.raises(ShapeError, match=words):
            fit(few, tmp_path / "run", model, init_from=first.path, epochs=1, **options)
        assert not (tmp_path / "run").exists()


def test_a_layer_too_many_is_refused(few: fv.Dataset, tmp_path: Path) -> None:
    long = fv.Sequential(fv.Flatten(), fv.Dense(4), fv.ReLU(), fv.Dense(4))
    before = fit(few, tmp_path / "long", long, epochs=1)
    with pytest.raises(ShapeError, match=r"has 3.weight of shape \(4, 4\), which this network has no layer for"):
        fit(few, tmp_path / "run", fv.Sequential(fv.Flatten(), fv.Dense(4)), init_from=before.path, epochs=1)


def test_grey_and_colour_do_not_mix(first: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the images are colour, but those of the model were grey"):
        fit(colour(tmp_path / "data", 8), tmp_path / "run", init_from=first.path, epochs=1)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"no model")
    (tmp_path / "empty").mkdir()
    for name, words in (("a", "damaged or not"), ("none", "no run folder"), ("empty", "not a run folder")):
        with pytest.raises(RunError, match=words):
            fit("digits", tmp_path / "run", init_from=tmp_path / name)
    assert not (tmp_path / "run").exists()


def test_settings_of_a_network_need_its_name(first: Run) -> None:
    with pytest.raises(UsageError, match="--width would change nothing: --init-from brings its network; add --model"):
        fit("digits", Path("never"), width=2, init_from=first.path)


def test_heads() -> None:
    inner = fv.Sequential(fv.Dense(5), fv.ReLU())
    assert with_classes(fv.Sequential(fv.Dense(9), inner), 3).layers[1] == fv.Sequential(fv.Dense(3), fv.ReLU())
    pooled = fv.Sequential(fv.Conv2d(5, 1), fv.GlobalAvgPool())
    assert with_classes(pooled, 3) == fv.Sequential(fv.Conv2d(3, 1), fv.GlobalAvgPool())
    with pytest.raises(UsageError, match="no Dense or Conv2d"):
        with_classes(fv.Sequential(fv.GlobalAvgPool()), 3)


def test_a_normalised_head_begins_anew_as_a_whole(few: fv.Dataset, tmp_path: Path) -> None:
    def net(classes: int) -> fv.Sequential:
        return fv.Sequential(fv.Flatten(), fv.Dense(8), fv.ReLU(), fv.Dense(classes), fv.BatchNorm())

    before = fit(digits(0, 6), tmp_path / "before", net(6), epochs=1)
    after = fit(few, tmp_path / "after", net(4), init_from=before.path, lr=1e-30, steps=1)
    np.testing.assert_array_equal(after.model.weights["1.weight"], read_model(before.model_path).weights["1.weight"])
    assert after.model.weights["4.weight"].tolist() == [1, 1, 1, 1]
