"""What the tutorial and the how-tos tell their reader to do still works, and prints what they say it prints."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def module_of(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TRANSCRIPTS = module_of("make_transcripts")


@pytest.mark.parametrize("page", TRANSCRIPTS.PAGES, ids=lambda page: page.name)
def test_a_page_prints_what_it_says(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses and accuracies to the last digit: they are the same bits on every machine that promises them."""
    for name in ("FOVEAL_THREADS", "FOVEAL_ISA"):
        monkeypatch.delenv(name, raising=False)
    text = page.read_text()
    wanted, got = TRANSCRIPTS.comparable(text), TRANSCRIPTS.comparable(TRANSCRIPTS.renewed(text))
    assert got.splitlines() == wanted.splitlines(), "run python docs/make_transcripts.py"
    assert text.count("```console") + text.count("```python") > 10


def test_the_curves_are_those_of_the_runs() -> None:
    assert module_of("make_curves").picture() == (DOCS / "curves.svg").read_text(), "run python docs/make_curves.py"


def test_a_block_that_fails_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"\$ foveal train nowhere\nfoveal: "):
        TRANSCRIPTS.renewed("```console\n$ foveal train nowhere\n```\n")
    with pytest.raises(ZeroDivisionError):
        TRANSCRIPTS.renewed("```python\n1 / 0\n```\n")


def test_what_is_written_down() -> None:
    page = "```console\n$ echo a; echo b >&2\nold\n$ echo c\n```\n\n"
    page += "```python\nx = 2\n```\n\n```python\nprint(x)\n```\n\n```text\nold\n```\n"
    new = TRANSCRIPTS.renewed(page)
    assert "$ echo a; echo b >&2\na\nb\n$ echo c\nc\n" in new
    assert "```text\n2\n```\n" in new
    kept = "<!-- not run -->\n```python\n1 / 0\n```\n\n```sh\nfalse\n```\n"
    assert TRANSCRIPTS.renewed(kept) == kept
