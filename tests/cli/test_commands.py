"""The commands, end to end: what they print, and what they leave behind."""

import csv
import hashlib
import io
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from foveal.kernels import available_isas

TRAIN_KEYS = {
    "run", "model", "lr", "epochs", "steps", "train_accuracy", "validation_accuracy", "test_accuracy", "test_loss",
    "seconds", "search_cost", "data_fingerprint", "model_sha256",
}  # fmt: skip
SMALL = ("--model", "mlp", "--width", "0.1", "--lr", "0.02", "--epochs", "1")


def test_train_prints_one_json_object_and_nothing_else(program: Callable) -> None:
    result = program("train", "digits", *SMALL, "--json")
    assert result.code == 0
    summary = json.loads(result.out)
    assert set(summary) >= TRAIN_KEYS
    assert summary["epochs"] == 1
    assert 0.3 < summary["test_accuracy"] <= 1
    assert "epoch 1/1" in result.err


def test_train_leaves_a_run_folder(foveal: Callable, tmp_path: Path) -> None:
    result = foveal("train", "digits", *SMALL)
    assert result.code == 0
    assert "test accuracy " in result.out
    assert "run folder runs/digits-1" in result.out
    names = {path.name for path in (tmp_path / "runs" / "digits-1").iterdir()}
    assert names >= {"config.json", "metrics.csv", "model.safetensors", "last.safetensors", "evaluation.json"}
    assert foveal("train", "digits", *SMALL).code == 0
    assert (tmp_path / "runs" / "digits-2").is_dir()


def test_model_sha256_is_that_of_the_file(foveal: Callable, tmp_path: Path) -> None:
    summary = json.loads(foveal("train", "digits", *SMALL, "--out", "a", "--json").out)
    assert summary["model_sha256"] == hashlib.sha256((tmp_path / "a" / "model.safetensors").read_bytes()).hexdigest()


def test_equal_seeds_give_equal_models_and_others_do_not(foveal: Callable) -> None:
    def digest(*more: object) -> str:
        return str(json.loads(foveal("train", "digits", *SMALL, "--json", *more).out)["model_sha256"])

    first = digest("--seed", 4)
    assert digest("--seed", 4, "--threads", 1) == first
    assert digest("--seed", 5) != first


def test_evaluate_gives_what_train_gave(foveal: Callable, trained: Path) -> None:
    evaluation = json.loads(foveal("evaluate", trained, "--json").out)
    written = json.loads((trained / "evaluation.json").read_text())
    assert written.pop("model_sha256") == hashlib.sha256((trained / "model.safetensors").read_bytes()).hexdigest()
    assert evaluation == written
    assert set(evaluation) >= {
        "accuracy",
        "balanced_accuracy",
        "loss",
        "count",
        "class_names",
        "per_class",
        "confusion",
    }
    assert sum(map(sum, evaluation["confusion"])) == evaluation["count"]


def test_evaluate_in_words(foveal: Callable, trained: Path) -> None:
    out = foveal("evaluate", trained).out
    assert out.startswith("accuracy ")
    assert "precision" in out
    assert "recall" in out


def test_evaluate_other_data_and_a_model_file(foveal: Callable, trained: Path) -> None:
    result = foveal("evaluate", trained / "model.safetensors", "digits", "--json")
    assert result.code == 0
    assert json.loads(result.out)["count"] == 1797


def test_predict(foveal: Callable, pictures: Path) -> None:
    assert foveal("train", pictures, *SMALL, "--out", "run").code == 0
    files = [pictures / "dark" / "3.png", pictures / "light" / "5.png"]
    predictions = json.loads(foveal("predict", "run", *files, "--json").out)["predictions"]
    assert [prediction["path"] for prediction in predictions] == [str(file) for file in files]
    assert all(prediction["label"] in ("dark", "light") for prediction in predictions)
    assert all(0 <= prediction["probability"] <= 1 for prediction in predictions)
    assert len(predictions[0]["top"]) == 2
    rows = list(csv.DictReader(io.StringIO(foveal("predict", "run", *files, "--csv").out)))
    assert [row["label"] for row in rows] == [prediction["label"] for prediction in predictions]
    assert "class" in foveal("predict", "run", *files, "--top", 1).out


def test_summary(foveal: Callable, trained: Path) -> None:
    summary = json.loads(foveal("summary", trained, "--json").out)
    assert summary["parameters"] == sum(row["parameters"] for row in summary["layers"]) > 0
    assert summary["flops"] > 0
    out = foveal("summary", trained).out
    assert "Dense(units=80" in out
    assert f"{summary['parameters']:,} parameters" in out


def test_info(foveal: Callable) -> None:
    facts = json.loads(foveal("info", "--json").out)
    assert set(facts) >= {"version", "isa", "isa_available", "threads", "kernels"}
    assert facts["isa_available"] == list(available_isas())
    assert foveal("info").out.startswith("foveal ")


@pytest.mark.parametrize("isa", available_isas())
def test_environment_chooses_threads_and_isa(program: Callable, isa: str) -> None:
    facts = json.loads(program("info", "--json", FOVEAL_ISA=isa, FOVEAL_THREADS="3").out)
    assert (facts["isa"], facts["threads"]) == (isa, 3)


def test_flags_win_over_the_environment(program: Callable) -> None:
    result = program("info", "--json", "--threads", 1, "--isa", "reference", FOVEAL_THREADS="3")
    assert (json.loads(result.out)["isa"], json.loads(result.out)["threads"]) == ("reference", 1)


def test_reference_trains_to_nearly_the_same(foveal: Callable) -> None:
    small = ("train", "digits", "--model", "mlp", "--width", "0.05", "--lr", "0.02", "--steps", "20", "--json")
    native, reference = (json.loads(foveal(*small, "--isa", isa).out) for isa in (available_isas()[0], "reference"))
    assert native["model_sha256"] != reference["model_sha256"]
    assert abs(native["test_loss"] - reference["test_loss"]) < 1e-4


def test_version_and_help(foveal: Callable) -> None:
    assert foveal("--version").out.startswith("foveal ")
    out = foveal("--help").out
    for command in ("train", "evaluate", "predict", "summary", "info"):
        assert command in out
        assert "Example:" in foveal(command, "--help").out


def test_nothing_but_plain_text_where_nobody_watches(program: Callable) -> None:
    result = program("train", "digits", *SMALL, NO_COLOR="1")
    assert "\x1b" not in result.out + result.err


def test_resume_of_a_finished_run_says_what_it_is(foveal: Callable, trained: Path) -> None:
    before = (trained / "model.safetensors").read_bytes()
    assert json.loads(foveal("train", "--resume", trained, "--json").out)["epochs"] == 1
    assert (trained / "model.safetensors").read_bytes() == before


def test_resume_adds_epochs(foveal: Callable, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    result = foveal("train", "--resume", "run", "--epochs", "+2", "--json")
    assert json.loads(result.out)["epochs"] == 3
    assert "finished" in foveal("train", "--resume", "run").err


def test_resume_with_data_that_have_moved(foveal: Callable, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pictures, tmp_path / "here")
    foveal("train", "here", "--model", "mlp", "--width", "0.1", "--lr", "0.02", "--epochs", "1", "--out", "run")
    (tmp_path / "here").rename(tmp_path / "there")
    result = foveal("train", "--resume", "run", "--epochs", "+1")
    assert (result.code, result.err.splitlines()[-1].split("/")[-1]) == (
        1, "here: put them back, or say where they are now"
    )  # fmt: skip
    assert json.loads(foveal("train", "there", "--resume", "run", "--epochs", "+1", "--json").out)["epochs"] == 2


def test_evaluating_what_was_trained_on_takes_the_test_part_alone(
    foveal: Callable, pictures: Path, tmp_path: Path
) -> None:
    foveal("train", pictures, "--model", "mlp", "--width", "0.1", "--lr", "0.02", "--epochs", "1", "--out", "run")
    own, again = (json.loads(foveal("evaluate", "run", *data, "--json").out) for data in ([], [pictures]))
    assert again == own
    assert "judged on its test part alone" in foveal("evaluate", "run", pictures).err
    foveal("evaluate", "run")
    (tmp_path / "more" / "dark").mkdir(parents=True)
    shutil.copytree(pictures / "light", tmp_path / "more" / "light")
    shutil.copy(pictures / "dark" / "0.png", tmp_path / "more" / "dark")
    assert json.loads(foveal("evaluate", "run", "more", "--json").out)["count"] == 13


def test_the_test_part_alone_also_beside_a_file_that_cannot_be_read(
    foveal: Callable, pictures: Path, tmp_path: Path
) -> None:
    foveal("train", pictures, *SMALL, "--out", "run")
    shutil.copytree(pictures, tmp_path / "more")
    (tmp_path / "more" / "dark" / "bad.png").write_bytes(b"")
    assert foveal("evaluate", "run", "more").code == 1
    result = foveal("evaluate", "run", "more", "--skip-bad", "--json")
    assert result.code == 0
    assert json.loads(result.out) == json.loads(foveal("evaluate", "run", "--json").out)


def test_a_test_part_by_groups_that_other_paths_do_not_have(foveal: Callable, pictures: Path, tmp_path: Path) -> None:
    assert foveal("train", pictures, *SMALL, "--out", "run", "--group-by", r"^[^/]+/(\d)").code == 0
    shutil.copytree(pictures, tmp_path / "here")
    files = sorted((tmp_path / "here").rglob("*.png"))
    lines = [f"here/{file.parent.name}/{file.name},{file.parent.name}" for file in files]
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *lines]))
    result = foveal("evaluate", "run", "list.csv")
    assert result.code == 1
    assert result.err.splitlines()[-1].startswith(
        "foveal: list.csv holds the images of run, whose test part cannot be drawn from these paths again: --group-by "
    )


def test_seconds_are_those_of_the_process(program: Callable) -> None:
    began = time.monotonic()
    reported = json.loads(program("train", "digits", *SMALL, "--json").out)["seconds"]
    whole = time.monotonic() - began
    assert 0.3 * whole < reported < whole


def test_no_arguments_show_the_help(program: Callable) -> None:
    result = program()
    assert "Usage: foveal" in result.err + result.out
    assert "train " in result.err + result.out


def test_the_command_reference_has_not_drifted() -> None:
    import importlib.util

    path = Path(__file__).parents[2] / "docs" / "make_commands.py"
    spec = importlib.util.spec_from_file_location("make_commands", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == path.with_name("commands.md").read_text(), "run python docs/make_commands.py"
