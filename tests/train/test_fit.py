"""`fit`: what it makes of its arguments, and that every setting has its effect."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_training import QUIET, SETTINGS

import foveal as fv
from foveal import fitting
from foveal.errors import DivergedError, ShapeError, UsageError
from foveal.fitting import fit_settings
from foveal.kernels import available_isas
from foveal.lrsearch import Best
from foveal.optim import OPTIMIZERS
from foveal.run import Run
from foveal.search.run import Found
from foveal.train.events import Event, Loaded, Noted, Started, Warned
from foveal.train.images import held_out_images
from foveal.train.settings import TrainSettings

EXACT = [isa for isa in available_isas() if isa not in ("baseline", "reference")]  # those that promise the same bits


def fit(out: Path, **options: Any) -> Run:
    """A few steps of a tiny network on the digits, at the optimizer's usual rate unless one is given."""
    given = {"model": "mlp", "width": 0.02, "steps": 4, "batch_size": 100, "schedule": "constant", **options}
    rule = given.get("optimizer", "momentum")
    given.setdefault("lr", (OPTIMIZERS[rule] if isinstance(rule, str) else rule).default_lr)
    model, data = given.pop("model"), given.pop("data", "digits")
    given = {name: value for name, value in given.items() if value is not None}
    return fv.fit(model, data, run_dir=out, progress=False, **given)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fit(tmp_path_factory.mktemp("plain") / "a")


def test_the_summary_has_the_documented_keys(small_run: Run) -> None:
    summary = small_run.summary()
    assert list(summary) == [
        "run", "model", "lr", "epochs", "steps", "train_accuracy", "validation_accuracy", "test_accuracy", "test_loss",
        "seconds", "search_cost", "data_fingerprint", "model_sha256",
    ]  # fmt: skip
    assert (summary["model"], summary["lr"], summary["epochs"], summary["steps"]) == ("mlp", 0.5, 3, 24)
    assert summary["validation_accuracy"] == small_run.metrics[1].val_accuracy
    assert json.loads(json.dumps(summary)) == summary


def test_the_folder_has_the_documented_files(small_run: Run) -> None:
    names = {path.name for path in small_run.path.iterdir()}
    assert names == {
        "config.json", "metrics.csv", "model.safetensors", "last.safetensors", "evaluation.json", ".lock",
    }  # fmt: skip


def test_auto_chooses_says_why_and_writes_down_what_it_chose(tmp_path: Path) -> None:
    events: list[Event] = []
    images = np.random.default_rng(0).integers(0, 256, (1200, 16, 20, 3), np.uint8)
    data = (images, np.arange(1200) % 3)
    given: dict[str, Any] = {"lr": 0.02, "steps": 1, "batch_size": 8, "progress": False}
    run = fv.fit("auto", data, run_dir=tmp_path / "a", listeners=[events.append], **given)
    said = [event.message for event in events if isinstance(event, Noted)]
    assert said == ["--model lenet: there are fewer than 1,000 images to train on (960)"]
    assert (run.config["settings"]["model"], run.config["settings"]["width"]) == ("lenet", None)
    more = (np.concatenate([images, images[::-1]]), np.arange(2400) % 3)
    run = fv.fit("auto", more, run_dir=tmp_path / "b", **given)
    assert (run.config["settings"]["model"], run.config["settings"]["width"]) == ("vgg", 0.5)
    run = fv.fit("auto", more, run_dir=tmp_path / "c", width=0.25, **given)
    assert (run.config["settings"]["model"], run.config["settings"]["width"]) == ("vgg", 0.25)  # given by hand


def test_auto_refuses_what_the_chosen_model_does_not_take(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--variant would change nothing .* \(--model auto chose lenet: the images"):
        fv.fit("auto", "digits", run_dir=tmp_path / "a", variant="ours", progress=False)
    assert not (tmp_path / "a").exists()


def test_config_says_what_was_done(small_run: Run) -> None:
    config = small_run.config
    assert {**config["settings"], **SETTINGS} == config["settings"]
    assert config["data"]["counts"] == {"train": 1439, "validation": 179, "test": 179}
    assert config["data"]["source"] == "digits"
    assert config["environment"]["foveal"] == fv.__version__
    assert (config["threads"], config["isa"]) == (small_run.plan.threads, small_run.plan.isa)


def test_the_evaluation_is_of_the_kept_weights_on_the_test_part(small_run: Run) -> None:
    data = fv.load_dataset("digits", seed=3)
    assert data.test is not None
    written = json.loads((small_run.path / "evaluation.json").read_text())
    assert written.pop("model_sha256") == small_run.summary()["model_sha256"]
    assert written == small_run.evaluate(data.test).to_json()
    assert written == fv.load_run(small_run.path).evaluate(data.test).to_json()
    again = held_out_images(small_run)
    assert again is not None
    assert again.fingerprint() == data.test.fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"model": "lenet", "width": 0.5},
        {"model": "nin", "width": 0.05, "dropout": 0.5},
        {"width": 0.06},
        {"dropout": 0.3},
        {"batch_norm": True},
        {"optimizer": "sgd"},
        {"optimizer": "adagrad"},
        {"optimizer": "rmsprop"},
        {"optimizer": "adam"},
        {"optimizer": "adamw"},
        {"momentum": 0.5},
        {"nesterov": True},
        {"weight_decay": 0.1},
        {"clip_norm": 0.1},
        {"max_norm": 0.5},
        {"label_smoothing": 0.1},
        {"class_weight": "balanced"},
        {"lr": 0.01},
        {"schedule": "step"},
        {"schedule": "exponential"},
        {"schedule": "inverse-sqrt"},
        {"schedule": "inverse-sqrt", "warmup": 0.5},
        {"schedule": "cosine"},
        {"schedule": "linear"},
        {"schedule": "one-cycle"},
        {"schedule": "cosine", "warmup": 0.5},
        {"steps": 5},
        {"steps": None, "epochs": 1},
        {"batch_size": 50},
        {"augment": "flip"},
        {"augment": "shift"},
        {"augment": "standard"},
        {"augment": "cutout"},
        {"augment": "standard,cutout"},
        {"validation": 0.2},
        {"fraction": 0.5},
        {"seed": 1},
    ],
    ids=str,
)
def test_every_setting_changes_the_weights(tmp_path: Path, plain: Run, change: dict[str, Any]) -> None:
    run = fit(tmp_path / "a", **change)
    assert run.summary()["model_sha256"] != plain.summary()["model_sha256"]


def test_limits_that_are_never_reached_change_no_weight(tmp_path: Path, plain: Run) -> None:
    run = fit(tmp_path / "a", clip_norm=1e6, max_norm=1e6)
    assert run.summary()["model_sha256"] == plain.summary()["model_sha256"]


def test_max_norm_bounds_every_unit_of_the_model(tmp_path: Path) -> None:
    run = fit(tmp_path / "a", model="lenet", width=0.5, max_norm=0.5)
    for name, value in run.model.weights.items():
        if name.endswith("weight"):
            norms = np.linalg.norm(value.reshape(len(value), -1), axis=1)
            assert norms.max() == pytest.approx(0.5, rel=1e-6), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weight_decay_changes_the_weights_of_every_optimizer(tmp_path: Path, optimizer: str) -> None:
    runs = [fit(tmp_path / str(n), optimizer=optimizer, weight_decay=decay) for n, decay in enumerate((0.0, 0.1))]
    assert runs[0].summary()["model_sha256"] != runs[1].summary()["model_sha256"]


@pytest.mark.parametrize(
    "change",
    [{"threads": 1}, {"threads": 2}, {"threads": 3}, *({"isa": isa} for isa in EXACT)],
    ids=str,
)
def test_some_settings_change_no_weight(tmp_path: Path, plain: Run, change: dict[str, Any]) -> None:
    run = fit(tmp_path / "a", **change)
    assert run.summary()["model_sha256"] == plain.summary()["model_sha256"]


def test_patience_that_is_not_tried_changes_no_weight(tmp_path: Path) -> None:
    runs = [fit(tmp_path / str(n), steps=None, epochs=2, **more) for n, more in enumerate(({}, {"patience": 1}))]
    assert runs[0].summary()["model_sha256"] == runs[1].summary()["model_sha256"]


def test_head_and_variant_choose_the_network(tmp_path: Path) -> None:
    gap = fit(tmp_path / "gap", model="lenet", head="gap", width=0.1, steps=1)
    assert any(isinstance(layer, fv.GlobalAvgPool) for layer in gap.model.net.layers)
    author = fit(tmp_path / "author", model="nin", variant="author", width=0.1, steps=1)
    assert isinstance(author.model.net.layers[-2], fv.ReLU)


@pytest.mark.parametrize("batch_norm", [True, False], ids=["batch_norm", "none"])
@pytest.mark.parametrize("head", ["gap", "fc"])
def test_resnet_learns_at_the_rate_of_other_networks(tmp_path: Path, head: str, batch_norm: bool) -> None:
    settings = {"width": 0.5, "head": head, "batch_norm": batch_norm, "epochs": 4, "seed": 1, "lr": 0.02}
    run = fv.fit("resnet", "digits", run_dir=tmp_path / "run", progress=False, **settings)
    assert run.summary()["test_accuracy"] >= 0.94
    again = fv.load_run(run.path)
    assert again.model.net == run.model.net
    assert again.evaluate(fv.load_dataset("digits", seed=1).test).accuracy == run.summary()["test_accuracy"]


def test_a_network_of_ones_own_and_an_optimizer_object(tmp_path: Path) -> None:
    net = fv.Sequential(fv.Flatten(), fv.Dense(10))
    rule = fv.Adam(beta1=0.5)
    run = fit(tmp_path / "a", model=net, width=None, optimizer=rule, lr=0.003)
    assert run.model.net == net
    assert run.config["optimizer"]["beta1"] == 0.5
    assert (run.summary()["model"], run.summary()["lr"]) == ("custom", 0.003)


def test_a_dataset_and_arrays_are_taken(tmp_path: Path, plain: Run) -> None:
    data = fv.load_dataset("digits")
    assert fit(tmp_path / "a", data=data).summary()["model_sha256"] == plain.summary()["model_sha256"]
    assert fit(tmp_path / "b", data=(data.train.pixels, data.train.labels)).summary()["steps"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 16}, "--size would change nothing: the data are loaded already"),
        ({"validation": 0.2}, "--validation would change nothing"),
        ({"skip_bad": True}, "--skip-bad would change nothing"),
        ({"fraction": 0.5}, "--fraction would change nothing"),
        ({"group_by": "x"}, "--group-by would change nothing"),
        ({"optimizer": fv.Momentum(), "momentum": 0.5}, "momentum would change nothing beside an optimizer object"),
        ({"optimizer": fv.Momentum(), "momentum": 0.0}, "momentum would change nothing beside an optimizer object"),
        ({"optimizer": fv.Adam(), "weight_decay": 0.5}, "weight_decay would change nothing beside an optimizer object"),
        ({"model": fv.Sequential(fv.Flatten(), fv.Dense(10))}, "--width would change nothing with --model custom"),
        ({"model": "custom", "width": None}, "no model is called 'custom'"),
    ],
    ids=str,
)
def test_what_would_change_nothing_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fit(tmp_path / "a", data=fv.load_dataset("digits"), **options)
    assert not (tmp_path / "a").exists()


def test_patience_without_validation_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--patience needs validation images"):
        fit(tmp_path / "a", data=fv.load_dataset("digits", validation=0), patience=1)


@pytest.mark.parametrize(
    ("net", "kind"),
    [
        (fv.Sequential(fv.Flatten(), fv.Dense(9)), UsageError),
        (fv.Sequential(fv.Dense(10)), ShapeError),
        (fv.Sequential(fv.Conv2d(10, 3)), ShapeError),
    ],
    ids=str,
)
def test_a_network_that_does_not_fit_leaves_no_folder(
    tmp_path: Path, net: fv.Sequential, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        fit(tmp_path / "a", model=net, width=None)
    assert not (tmp_path / "a").exists()


@fv.layer
class OnlyPortraits(fv.Layer):
    """Takes images of 5×7 pixels and no others."""

    def out_shape(self, in_shape: tuple[int, ...]) -> tuple[int, ...]:
        if in_shape[1:] != (7, 5):
            raise ShapeError(f"takes images of 5×7 pixels, not {in_shape}")
        return in_shape

    def forward(self, x: Any, params: Any, ctx: Any) -> Any:
        return x, None

    def backward(self, dy: Any, saved: Any, params: Any, ctx: Any) -> Any:
        return dy, {}


GONE = "there-are-no-such-images"  # reading them would be another error


@pytest.mark.parametrize(
    ("net", "options", "words"),
    [
        (fv.Sequential(fv.Conv2d(4, 3), fv.ReLU(), fv.Dense(10)), {}, r"layer 2 \(Dense\): .*\(4, 62, 62\).*no others"),
        (fv.Sequential(fv.Residual(fv.Conv2d(4, 3, 2, 1)), fv.Flatten(), fv.Dense(2)), {}, r"0 \(Residual\): its body"),
        (fv.Sequential(fv.Flatten(), fv.Conv2d(4, 3)), {}, r"layer 1 \(Conv2d\): Conv2d takes images"),
        (fv.Sequential(fv.Conv2d(10, 3)), {}, r"must end in class scores \(K,\), but layer 0 \(Conv2d\)"),
        (fv.Sequential(fv.Conv2d(4, 9), fv.Flatten(), fv.Dense(2)), {"size": 8}, r"layer 0 .* of shape \(3, 8, 8\)"),
        ("vgg", {"size": 3}, "images of 3×3 pixels are too small for model vgg; it needs at least 4×4"),
    ],
    ids=["dense_on_images", "branches", "convolution_on_vectors", "no_scores", "size", "model_and_size"],
)  # fmt: skip
def test_a_network_that_takes_no_image_is_refused_before_any_is_read(
    tmp_path: Path, net: fv.Sequential | str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises((ShapeError, UsageError), match=words):
        fv.fit(net, tmp_path / GONE, run_dir=tmp_path / "run", progress=False, **options)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "net",
    [
        fv.Sequential(OnlyPortraits(), fv.Flatten(), fv.Dense(10)),
        fv.Sequential(fv.Conv2d(4, 60), fv.Flatten(), fv.Dense(10)),
        fv.Sequential(fv.Residual(fv.Conv2d(1, 1), fv.Conv2d(1, 1)), fv.GlobalAvgPool(), fv.Dense(10)),
    ],
    ids=["own_layer", "large_images", "any"],
)
def test_a_network_that_some_image_might_fit_is_not(tmp_path: Path, net: fv.Sequential) -> None:
    with pytest.raises(fv.FovealError, match=GONE):
        fv.fit(net, tmp_path / GONE, run_dir=tmp_path / "run", progress=False)


def test_an_existing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists already"):
        fit(tmp_path)


def test_without_a_folder_runs_are_numbered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(fv.fit("mlp", "digits", width=0.02, lr=0.02, steps=1, progress=False).path) == "runs/digits-1"


def test_a_rate_that_is_much_too_high_diverges_and_leaves_no_model(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"step \d+; the learning rate was 1e\+30, try --lr 1e\+29 or --lr auto$"):
        fit(tmp_path / "a", lr=1e30, steps=20)
    assert not (tmp_path / "a" / "model.safetensors").exists()


def test_a_searched_rate_that_diverges_is_said_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once and when the run is resumed."""
    best = Best(1e30, (1e29, 1e31), 0.06, 0.0, "strong", "")
    monkeypatch.setattr(fitting, "find_rate", lambda *_, **__: Found(best, 0.5, 1.0, ()))
    message = r"step \d+; the learning rate was 1e\+30, which a search found; try --lr 3.3e\+29$"
    with pytest.raises(DivergedError, match=message):
        fit(tmp_path / "a", lr="auto", steps=20)
    with pytest.raises(DivergedError, match=message):
        fv.resume(tmp_path / "a", watch=QUIET)


@pytest.mark.parametrize("given", [{}, {"lr": None}, {"lr": "auto"}], ids=str)
def test_the_rate_is_searched_for_where_none_is_given(tmp_path: Path, given: dict[str, Any]) -> None:
    """And written down; the training is then that of the same rate given by hand."""
    small: dict[str, Any] = {"width": 0.1, "epochs": 4, "progress": False}
    run = fv.fit("mlp", "digits", run_dir=tmp_path / "a", workers=2, **small, **given)
    found, settings = run.config["search"], run.config["settings"]
    assert run.summary()["lr"] == settings["lr"] == found["lr"]
    assert isinstance(found["lr"], float)
    assert run.summary()["search_cost"] == found["cost"] > 0
    assert len(found["trials"]) > 4
    by_hand = fv.fit("mlp", "digits", run_dir=tmp_path / "b", lr=found["lr"], **small)
    assert by_hand.summary()["search_cost"] == 0
    assert "search" not in by_hand.config
    assert by_hand.summary()["model_sha256"] == run.summary()["model_sha256"]
    longer = fv.resume(run.path, more_epochs=1, watch=QUIET).summary()
    assert (longer["lr"], longer["epochs"], longer["search_cost"]) == (found["lr"], 5, found["cost"])


def test_weights_that_are_not_finite_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="no longer finite"):
        fit(tmp_path / "a", lr=1e38, weight_decay=1e10, steps=1, validation=0)
    assert not (tmp_path / "a" / "model.safetensors").exists()


def test_dropout_before_batch_norm_is_warned_of(tmp_path: Path) -> None:
    heard: list[Event] = []
    fit(tmp_path / "a", dropout=0.2, batch_norm=True, steps=1, listeners=[heard.append])
    assert any(isinstance(event, Warned) and "Dropout" in event.message for event in heard)


@pytest.mark.parametrize(("batch_norm", "steps"), [(True, 2), (False, 3)])
def test_a_last_batch_of_one_is_dropped_only_for_batch_norm(tmp_path: Path, batch_norm: bool, steps: int) -> None:
    data = fv.load_dataset("digits", validation=0, test=0)
    index = np.concatenate([np.flatnonzero(data.train.labels == k)[:9] for k in range(10)])[:81]
    small = fv.load_dataset((data.train.pixels[index], data.train.labels[index]), validation=0, test=0)
    heard: list[Event] = []
    run = fit(
        tmp_path / "a", data=small, batch_norm=batch_norm, batch_size=40, steps=None, epochs=1, listeners=[heard.append]
    )
    assert run.summary()["steps"] == steps
    assert isinstance(heard[0], Loaded)
    assert isinstance(heard[1], Started)
    assert heard[1].steps_per_epoch == steps
    assert run.summary()["test_accuracy"] is None
    assert not (tmp_path / "a" / "evaluation.json").exists()


def test_batch_norm_after_a_convolution_takes_a_batch_of_one(tmp_path: Path) -> None:
    data = fv.load_dataset("digits", validation=0, test=0)
    few = np.concatenate([np.flatnonzero(data.train.labels == k)[:2] for k in range(10)])
    small = fv.load_dataset((data.train.pixels[few], data.train.labels[few]), validation=0, test=0)
    run = fit(tmp_path / "a", data=small, model="vgg", width=0.1, batch_size=1, steps=3)
    assert run.summary()["steps"] == 3
    with pytest.raises(UsageError, match="BatchNorm after a dense layer needs at least 2 images in a batch"):
        fit(tmp_path / "b", data=small, batch_norm=True, batch_size=1)


def test_a_network_that_overflows_on_the_test_part_is_no_result(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="the learning rate was 1e\\+18"):
        fit(tmp_path / "a", lr=1e18, steps=1, validation=0)
    assert not (tmp_path / "a" / "evaluation.json").exists()


def test_settings_of_any_librarys_numbers_are_taken(tmp_path: Path) -> None:
    net = fv.Sequential(fv.Flatten(), fv.Dropout(np.float32(0.25)), fv.Dense(np.int64(10), bias=np.bool_(False)))
    run = fit(tmp_path / "a", model=net, width=None, optimizer=fv.Adam(beta1=np.float32(0.5)))
    assert fv.load_run(run.path).model.net == fv.Sequential(fv.Flatten(), fv.Dropout(0.25), fv.Dense(10, bias=False))


def test_a_given_validation_part_makes_the_fraction_idle(tmp_path: Path) -> None:
    data = fv.load_dataset("digits")
    assert data.validation is not None
    np.savez(
        tmp_path / "med.npz", train_images=data.train.pixels[..., 0], train_labels=data.train.labels,
        val_images=data.validation.pixels[..., 0], val_labels=data.validation.labels,
        test_images=data.validation.pixels[..., 0], test_labels=data.validation.labels,
    )  # fmt: skip
    with pytest.raises(UsageError, match="--validation would change nothing: the data come with a validation part"):
        fit(tmp_path / "a", data=tmp_path / "med.npz", validation=0.2)
    run = fit(tmp_path / "b", data=tmp_path / "med.npz", validation=0)
    assert run.metrics[0].val_loss is None


def test_every_epoch_has_an_order_moves_and_dropout_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched(plan: fv.Plan, source: Any, index: Any, moves: Any, lr: float, *, epoch: int, step: int) -> Any:
        seen.append((epoch, step, index.copy(), moves.copy()))
        return train_on(plan, source, index, moves, lr, epoch=epoch, step=step)

    train_on = fv.Plan.train_on
    monkeypatch.setattr(fv.Plan, "train_on", watched)
    fit(tmp_path / "a", augment="standard", batch_size=1000, steps=None, epochs=2)
    assert [(epoch, step) for epoch, step, _, _ in seen] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    orders = [np.concatenate([seen[0][2], seen[1][2]]), np.concatenate([seen[2][2], seen[3][2]])]
    assert all(sorted(order) == list(range(1439)) for order in orders)
    assert (orders[0] != orders[1]).any()
    moves = [dict(zip(seen[i][2].tolist(), map(tuple, seen[i][3].tolist()), strict=True)) for i in (0, 2)]
    both = moves[0].keys() & moves[1].keys()
    assert any(moves[0][image] != moves[1][image] for image in both)


def test_settings_and_keywords_are_the_same_path(tmp_path: Path, plain: Run) -> None:
    settings = TrainSettings(model="mlp", width=0.02, lr=0.02, steps=4, batch_size=100, schedule="constant")
    run = fit_settings(settings, "digits", run_dir=tmp_path / "a", watch=QUIET)
    assert run.summary()["model_sha256"] == plain.summary()["model_sha256"]


IMPORTS = "import sys, foveal; print(*sorted({m.split('.')[0] for m in sys.modules}))"


def test_import_foveal_is_light() -> None:
    loaded = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True).stdout.split()
    assert not {"safetensors", "PIL", "rich", "click", "csv", "concurrent"} & set(loaded)


@pytest.mark.parametrize(
    "program",
    [
        "import foveal; f = foveal.fit; from foveal.fitting import Watch; assert foveal.fit is f",
        "from foveal.fitting import Watch; import foveal; foveal.fit('mlp', 'digits', lr=.02, steps=1, progress=False)",
        "import foveal.fitting as f, pickle; import foveal; assert pickle.loads(pickle.dumps(foveal.fit)) is f.fit",
        "from foveal import fit, resume, load_dataset, load_run, TrainSettings; assert fit.__name__ == 'fit'",
        "import foveal; assert set(foveal.__all__) <= set(dir(foveal)); [getattr(foveal, n) for n in foveal.__all__]",
        "import foveal\ntry: foveal.mystery\nexcept AttributeError as e: assert 'mystery' in str(e)\nelse: assert 0",
    ],
)
def test_public_names_whatever_is_imported_first(tmp_path: Path, program: str) -> None:
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
