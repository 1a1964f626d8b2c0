"""foveal search: what it finds, shows and keeps, and that the training that follows is the one that train makes."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import foveal as fv
from foveal.errors import UsageError

SMALL = ("--model", "mlp", "--width", "0.1", "--epochs", "4")


def test_search_then_train_is_train(foveal: Callable, tmp_path: Path) -> None:
    """The same rate and the same bits, by hand, by search and resume, and by train alone; workers do not matter."""
    found = json.loads(foveal("search", "digits", *SMALL, "--out", "a", "--workers", 1, "--json").out)
    assert set(found) >= {"run", "lr", "bracket", "cost", "trials", "evidence", "reason", "seconds", "plot"}
    low, high = found["bracket"]
    assert 1e-4 < low <= found["lr"] <= high < 10
    assert 0.1 < found["cost"] < 2
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["settings"]["lr"] == found["lr"]
    assert config["search"]["trials"] == found["trials"]
    assert {t["rung"] for t in found["trials"]} >= {0, 1}
    assert not (tmp_path / "a" / "model.safetensors").exists()
    after = json.loads(foveal("train", "--resume", "a", "--json").out)
    alone = json.loads(foveal("train", "digits", *SMALL, "--out", "b", "--json").out)
    by_hand = json.loads(foveal("train", "digits", *SMALL, "--out", "c", "--lr", found["lr"], "--json").out)
    assert after["model_sha256"] == alone["model_sha256"] == by_hand["model_sha256"]
    assert after["search_cost"] == alone["search_cost"] == found["cost"]
    assert by_hand["search_cost"] == 0


def test_in_words(foveal: Callable, tmp_path: Path) -> None:
    result = foveal("search", "digits", *SMALL, "--workers", 2)
    assert result.code == 0
    lines = dict(line.split(maxsplit=1) for line in result.out.splitlines() if not line.startswith(("learning", "run")))
    config = json.loads((tmp_path / "runs" / "digits-1" / "config.json").read_text())
    assert f"learning rate  {config['search']['lr']:g}\n" in result.out
    assert lines["bracket"].startswith(" to ".join(f"{end:g}" for end in config["search"]["bracket"]))
    assert lines["evidence"].startswith(config["search"]["evidence"])
    assert lines["cost"].startswith(f"{config['search']['cost']:.2g} of a full training, ")
    assert lines["next:"] == "foveal train --resume runs/digits-1"
    told = [line for line in result.err.splitlines() if not line.startswith("note: ")]
    assert told[0].startswith("data: 10 classes (0, 1, 2, ")  # what is searched for, before one waits
    assert told[1].startswith("searching for a learning rate between 1e-05 and 10: ")
    assert told[1].split(" trials, ")[1] in ("2 at a time with 1 thread each", "2 at a time with 2 threads each")
    assert 5 <= len(told) <= 7


def test_the_plot(foveal: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    foveal("search", "digits", *SMALL, "--out", "a")
    picture = tmp_path / "a" / "search" / "search.svg"
    first = picture.read_bytes()
    assert first.startswith(b"<?xml")
    picture.unlink()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = foveal("search", "--resume", "a", "--json")
    assert json.loads(result.out)["plot"] is None
    assert "note: for a plot of the trials: pip install foveal[report]" in result.err
    assert not picture.exists()
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert json.loads(foveal("search", "--resume", "a", "--json").out)["plot"] == "a/search/search.svg"
    assert picture.read_bytes() == first


def test_train_makes_no_plot(foveal: Callable, tmp_path: Path) -> None:
    foveal("train", "digits", *SMALL, "--out", "a")
    assert [path.name for path in (tmp_path / "a" / "search").iterdir()] == ["trials.json"]


def test_a_finished_search_is_answered_from_its_record(foveal: Callable, tmp_path: Path) -> None:
    first = json.loads(foveal("search", "digits", *SMALL, "--out", "a", "--json").out)
    before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    result = foveal("search", "--resume", "a", "--json")
    again = json.loads(result.out)
    assert {**again, "seconds": 0} == {**first, "seconds": 0}
    assert "note: the search of a is finished" in result.err
    assert {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()} == before
    foveal("train", "--resume", "a")
    assert json.loads(foveal("search", "--resume", "a", "--json").out)["lr"] == first["lr"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_search_that_is_stopped_goes_on_to_the_same_rate(foveal: Callable, tmp_path: Path, number: int) -> None:
    longer = (*SMALL[:-1], "40")
    whole = json.loads(foveal("search", "digits", *longer, "--out", "whole", "--json").out)
    command = [sys.executable, "-m", "foveal", "search", "digits", *longer, "--out", "a"]
    trials = tmp_path / "a" / "search" / "trials.json"
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as child:
        end = time.monotonic() + 60
        while not trials.exists() and time.monotonic() < end:
            time.sleep(0.01)
        child.send_signal(number)
        assert child.stderr is not None
        err = child.stderr.read()
    assert child.returncode == {signal.SIGINT: 130, signal.SIGKILL: -signal.SIGKILL}[number]
    if number == signal.SIGINT:
        assert err.splitlines()[-1].startswith("foveal: interrupted after ")
        assert err.endswith("which are kept; continue with foveal search --resume a\n")
    kept = json.loads(trials.read_text())["results"]
    assert 0 < len(kept) < len(whole["trials"])
    result = foveal("search", "--resume", "a", "--threads", 1, "--workers", 3, "--json")
    assert result.code == 0, result
    again = json.loads(result.out)
    for key in ("lr", "bracket", "noise", "cost", "trials", "evidence", "reason"):
        assert again[key] == whole[key], key
    assert "3 at a time" in result.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("search", "search needs DATA"),
        ("search digits --lr 0.1", "foveal search has no flag --lr; --lr belongs to foveal train"),
        ("search digits --learning-rate 0.1", "foveal search has no flag --learning-rate; --lr belongs to"),
        ("search digits --epochs +3", "--epochs +N is for train --resume"),
        ("search --resume run --epochs 3", "leave out --epochs"),
        ("search --resume run --out other", "leave out --out"),
        ("search digits --layers own.py", "--layers would change nothing"),
        ("search digits --patience 3 --validation 0", "--patience needs validation images"),
    ],
)
def test_wrong_usage(foveal: Callable, words: str, message: str) -> None:
    result = foveal(*words.split())
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("foveal: ")
    assert message in result.err
    assert result.err.count("\n") == 1


def test_a_run_with_a_given_rate_has_no_search(foveal: Callable) -> None:
    foveal("train", "digits", *SMALL, "--lr", 0.1, "--out", "a")
    result = foveal("search", "--resume", "a")
    assert (result.code, result.err) == (
        1, "foveal: a was given its learning rate, so there is no search to go on with\n"
    )  # fmt: skip


def test_a_damaged_record(foveal: Callable, tmp_path: Path) -> None:
    foveal("search", "digits", *SMALL, "--out", "a")
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    del config["search"]["bracket"]
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    result = foveal("search", "--resume", "a")
    assert result.code == 1
    assert "its search has no usable 'bracket'" in result.err


def test_search_rate_from_python(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = {"width": 0.1, "epochs": 4, "progress": False}
    found, path = fv.search_rate("mlp", "digits", run_dir=tmp_path / "a", **settings)
    assert found.best.evidence in ("strong", "weak")
    run = fv.fit("mlp", "digits", run_dir=tmp_path / "b", **settings)
    assert run.summary()["lr"] == found.best.lr
    assert fv.resume(path).summary()["model_sha256"] == run.summary()["model_sha256"]
    with pytest.raises(UsageError, match="--lr would leave nothing to search for"):
        fv.search_rate("mlp", "digits", run_dir=tmp_path / "c", lr=0.1, **settings)
    assert not (tmp_path / "c").exists()
    assert capfd.readouterr().out == ""
