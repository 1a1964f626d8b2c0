"""Bad input: one clear line that begins with "foveal: ", the right exit code, no traceback, nothing half written."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

CASES = [
    # arguments, exit code, words that the line must hold
    (["trian", "digits"], 2, "did you mean foveal train?"),
    (["frobnicate"], 2, "there is no command 'frobnicate'; there are train, inspect"),
    (["train"], 2, "train needs DATA"),
    (["train", "nothing-here"], 1, "nothing-here"),
    (["train", "digits", "--imgsz", "32"], 2, "did you mean --size?"),
    (["train", "digits", "--opt", "adam"], 2, "did you mean --optimizer?"),
    (["train", "digits", "--lr0", "0.1"], 2, "did you mean --lr?"),
    (["train", "digits", "--batch", "8"], 2, "did you mean --batch-size?"),
    (["train", "digits", "--workers", "8"], 2, "did you mean --threads?"),
    (["train", "digits", "--epoch", "8"], 2, "did you mean --epochs?"),
    (["train", "digits", "--learning-rate", "8"], 2, "did you mean --lr?"),
    (["train", "digits", "--schedul", "cosine"], 2, "did you mean --schedule?"),
    (["train", "digits", "--zzzz"], 2, "there is no flag --zzzz; foveal train --help lists them"),
    (["train", "digits", "--epochs", "0"], 2, "--epochs must be at least 1, not 0"),
    (["train", "digits", "--epochs", "many"], 2, "'many' is not a valid integer"),
    (["train", "digits", "--steps", "-3"], 2, "--steps must be at least 1, not -3"),
    (["train", "digits", "--threads", "0"], 2, "--threads must be at least 1, not 0"),
    (["train", "digits", "--lr", "-0.1"], 2, "--lr must be above 0"),
    (["train", "digits", "--lr", "0"], 2, "--lr must be above 0"),
    (["train", "digits", "--lr", "nan"], 2, "--lr must be a number"),
    (["train", "digits", "--batch-size", "0"], 2, "--batch-size must be at least 1"),
    (["train", "digits", "--dropout", "1"], 2, "--dropout must be at least 0 and below 1"),
    (["train", "digits", "--max-norm", "0"], 2, "--max-norm must be above 0"),
    (["train", "digits", "--clip-norm", "-1"], 2, "--clip-norm must be above 0"),
    (["train", "digits", "--grad-clip", "1"], 2, "did you mean --clip-norm?"),
    (["train", "digits", "--clip-grad-norm", "1"], 2, "did you mean --clip-norm?"),
    (["train", "digits", "--label-smoothing", "1"], 2, "--label-smoothing must be at least 0 and below 1"),
    (["train", "digits", "--label_smoothing", "0.1"], 2, "did you mean --label-smoothing?"),
    (["train", "digits", "--class-weight", "inverse"], 2, "--class-weight must be one of none, balanced"),
    (["train", "digits", "--class-weights", "balanced"], 2, "did you mean --class-weight?"),
    (["train", "digits", "--validation", "1"], 2, "--validation must be at least 0 and below 1"),
    (["train", "digits", "--width", "0"], 2, "--width must be above 0"),
    (["train", "digits", "--seed", "-1"], 2, "--seed must be from 0 to"),
    (["train", "digits", "--model", "lenett"], 2, "did you mean lenet?"),
    (["train", "digits", "--optimizer", "adm"], 2, "did you mean adam?"),
    (["train", "digits", "--schedule", "onecycle"], 2, "did you mean one-cycle?"),
    (["train", "digits", "--augment", "flipp"], 2, "did you mean flip?"),
    (["train", "digits", "--augment", "standard,cutuot"], 2, "did you mean cutout?"),
    (["train", "digits", "--augment", "none,cutout"], 2, "asks for none and for some"),
    (["train", "digits", "--augment", "standard,flip"], 2, "flip would change nothing beside the others"),
    (["train", "digits", "--group-by", "a(b"], 2, "--group-by 'a(b' is no regular expression"),
    (["train", "digits", "--group-by", "a"], 2, "--group-by would change nothing: digits holds arrays"),
    (["train", "digits", "--fraction", "1"], 2, "--fraction must be above 0 and below 1"),
    (["train", "digits", "--fraction", "0"], 2, "--fraction must be above 0 and below 1"),
    (["train", "digits", "--isa", "avx9"], 2, "--isa"),
    (["train", "digits", "--epochs", "2", "--steps", "3"], 2, "--epochs and --steps contradict each other"),
    (["train", "digits", "--nesterov", "--optimizer", "adam"], 2, "--nesterov would change nothing"),
    (["train", "digits", "--variant", "caffe"], 2, "--variant would change nothing with --model lenet"),
    (["train", "digits", "--patience", "3", "--validation", "0"], 2, "--patience needs validation"),
    (["train", "digits", "--warmup", "0.1"], 2, "--warmup would change nothing"),
    (["train", "digits", "--size", "32"], 2, "size"),
    (["train", "--resume", "no-run"], 1, "no-run"),
    (["train", "digits", "--resume", "no-run"], 1, "there is no run folder no-run"),
    (["train", "--resume", "no-run", "--lr", "0.1"], 2, "leave out --lr"),
    (["evaluate"], 2, "needs RUN"),
    (["evaluate", "no-run"], 1, "no-run"),
    (["predict", "no-run"], 2, "needs IMAGES"),
    (["predict", "no-run", "a.png"], 1, "no-run"),
    (["summary", "no-run"], 1, "no-run"),
    (["info", "--isa", "avx9"], 2, "no instruction set is called 'avx9'"),
    (["info", "--threads", "0"], 2, "threads must be from 1 to 1024"),
    (["info", "--threads", "99999999999999999999"], 2, "threads must be from 1 to 1024"),
    (["train", "digits", "--lr", "1e-60"], 2, "--lr 1e-60 is no float32"),
    (["train", "digits", "--lr", "1e60"], 2, "--lr 1e+60 is no float32"),
    (["train", "digits", "--width", "1e300"], 2, "--width must be above 0 and at most 100"),
    (["train", "digits", "--epochs", "+3"], 2, "--epochs +N is for --resume"),
    (["train", "digits", "--epochs", "3", "--patience", "5"], 2, "--patience 5 would change nothing in 3 epochs"),
    (["train", "digits", "--skip-bad"], 2, "skip-bad would change nothing: digits holds arrays"),
    (["train", "digits", "--data", "x"], 2, "there is no flag --data"),
    (["train", "x" * 300], 1, "File name too long"),
    (["evaluate", "x" * 300], 1, "File name too long"),
    (["train", "--resume", "none", "--isa", "foo"], 2, "no instruction set is called 'foo'"),
]


def complains(result: object, code: int, words: str) -> None:
    assert result.code == code, result  # type: ignore[attr-defined]
    lines = result.err.strip().splitlines()  # type: ignore[attr-defined]
    assert lines, "nothing was said"
    assert lines[-1].startswith("foveal: ")
    assert words in lines[-1]
    assert "Traceback" not in result.err  # type: ignore[attr-defined]
    assert result.out == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize(("arguments", "code", "words"), CASES, ids=[" ".join(case[0]) for case in CASES])
def test_one_clear_line(foveal: Callable, tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    result = foveal(*arguments)
    complains(result, code, words)
    assert len(result.err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == [], "something was left behind"


def test_an_existing_run_is_not_overwritten(foveal: Callable, trained: Path) -> None:
    before = {path.name: path.read_bytes() for path in trained.iterdir()}
    complains(foveal("train", "digits", "--out", trained), 2, "exists already")
    assert {path.name: path.read_bytes() for path in trained.iterdir()} == before


def test_files_that_are_no_models(foveal: Callable, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not a model")
    complains(foveal("summary", "model.safetensors"), 1, "damaged or not a safetensors file")
    (tmp_path / "empty").mkdir()
    complains(foveal("evaluate", "empty"), 1, "is not a run folder")


def test_images_that_cannot_be_read(foveal: Callable, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    complains(foveal("predict", trained, "a.png"), 1, "a.png")
    complains(foveal("predict", trained, "missing.png"), 1, "missing.png")
    complains(foveal("predict", trained, "a.png", "--csv", "--json"), 2, "contradict")
    complains(foveal("predict", trained, "a.png", "--csv", "--top", "2"), 2, "--top would change nothing with --csv")


def test_folders_that_are_no_data(foveal: Callable, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    complains(foveal("train", "empty"), 1, "empty")
    (tmp_path / "one" / "cat").mkdir(parents=True)
    from PIL import Image

    Image.new("L", (8, 8)).save(tmp_path / "one" / "cat" / "a.png")
    complains(foveal("train", "one"), 1, "at least 2 classes")
    assert not (tmp_path / "runs").exists()


def test_arrays_that_are_no_data(foveal: Callable, tmp_path: Path) -> None:
    x, y = np.zeros((20, 8, 8), np.uint8), np.arange(20) % 2
    for name, arrays, words in (
        ("float.npz", {"x": x.astype(np.float32), "y": y}, "uint8"),
        ("short.npz", {"x": x, "y": y[:5]}, "5"),
        ("object.npz", {"x": x, "y": np.array([{}] * 20)}, "object"),
        ("empty.npz", {"z": x}, "empty.npz"),
    ):
        np.savez(tmp_path / name, **arrays)
        complains(foveal("train", name), 1, words)
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04broken")
    complains(foveal("train", "broken.npz"), 1, "broken.npz")
    assert not (tmp_path / "runs").exists()


def test_a_rate_that_diverges(foveal: Callable, tmp_path: Path) -> None:
    result = foveal("train", "digits", "--model", "mlp", "--width", "0.1", "--lr", "1e6", "--schedule", "constant")
    complains(result, 1, "try --lr")
    assert not (tmp_path / "runs" / "digits-1" / "model.safetensors").exists()


def test_a_read_only_folder_or_a_full_disk(program: Callable, tmp_path: Path) -> None:
    import subprocess
    import sys

    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); "
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "from foveal.cli.app import run; sys.exit(run(['train', 'digits', '--model', 'mlp', '--epochs', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", limited], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("foveal: cannot write ")
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.tmp"))
    assert not list(tmp_path.rglob("model.safetensors"))


def test_evaluating_ones_own_data_takes_no_flag_for_others(foveal: Callable, trained: Path) -> None:
    complains(foveal("evaluate", trained, "--skip-bad"), 2, "--skip-bad would change nothing without DATA")


def test_other_epochs_for_a_run_that_goes_on(foveal: Callable, trained: Path) -> None:
    complains(foveal("train", "--resume", trained, "--epochs", "3"), 2, "--epochs +N adds to it")
    complains(foveal("train", "--resume", trained, "--epochs", "+0"), 2, "N of at least 1")


def test_a_model_with_a_flipped_bit_in_its_metadata(foveal: Callable, trained: Path, tmp_path: Path) -> None:
    data = (trained / "model.safetensors").read_bytes()
    at = data.index(b"bilinear") if b"bilinear" in data else data.index(b"rec601")
    (tmp_path / "a.safetensors").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    complains(foveal("summary", "a.safetensors"), 1, "a.safetensors is damaged")


def test_settings_that_are_damaged(foveal: Callable, trained: Path, tmp_path: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    shutil.copytree(trained, tmp_path / "run")
    for change in ({"environment": 3}, {"settings": []}, {"data": {**config["data"], "source": 7}}, {"data": 1}):
        (tmp_path / "run" / "config.json").write_text(json.dumps({**config, **change}))
        complains(foveal("train", "--resume", "run"), 1, "config.json does not fit this version of foveal")


def test_a_display_that_goes_away_does_not_end_the_training(tmp_path: Path) -> None:
    train = [sys.executable, "-m", "foveal", "train", "digits", "--model", "mlp", "--width", "0.1", "--epochs", "20"]
    command = " ".join(map(shlex.quote, train))
    for number, redirection in enumerate(("2>&1 | head -1", "2>/dev/full", "2>&-")):
        out = f"run{number}"
        subprocess.run(
            f"{command} --out {out} {redirection}", shell=True, cwd=tmp_path, capture_output=True, timeout=60
        )
        rows = (tmp_path / out / "metrics.csv").read_text().splitlines()
        assert len(rows) == 21, redirection


def test_a_name_that_is_no_text(program: Callable, trained: Path, tmp_path: Path) -> None:
    from PIL import Image

    name = os.fsdecode(b"caf\xe9.png")
    Image.new("L", (8, 8)).save(tmp_path / name)
    result = program("predict", trained, name, PYTHONUTF8="1")
    assert (result.code, result.err) == (0, "")
    assert "caf\\udce9.png" in result.out
    assert json.loads(program("predict", trained, name, "--json").out)["predictions"][0]["path"] == name


def test_no_traceback_unless_asked(program: Callable) -> None:
    assert "Traceback" not in program("train", "nothing-here").err
    assert "Traceback" in program("train", "nothing-here", "--traceback").err
