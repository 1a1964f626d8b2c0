"""The pages made from the source have not drifted from it, quotations are true, and links lead somewhere."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from foveal.layers import base
from foveal.optim import OPTIMIZERS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.split()
)


def module_of(name: str) -> ModuleType:
    """A script of docs/, imported."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_layers_has_not_drifted() -> None:
    page = module_of("make_layers").page()
    assert page == (DOCS / "layers.md").read_text(), "run python docs/make_layers.py"
    kinds = [name for name, cls in base._KINDS.items() if cls.__module__.startswith("foveal.")]
    rules = [cls.__name__ for cls in OPTIMIZERS.values() if cls.__module__.startswith("foveal.")]
    for name in [*kinds, *rules, "SoftmaxCrossEntropy"]:
        assert f"\n### {name}\n" in page
    assert "def backward" in page.split("### Conv2d\n")[1].split("###")[0]


def test_the_figures_and_numbers_of_the_formulae_are_current() -> None:
    script = module_of("make_formulae")
    files = {path.name: path.read_text() for path in script.FIGURES.iterdir()}
    assert files == {f"{name}.svg": draw().svg() for name, draw in script.DRAWN.items()}, "run docs/make_formulae.py"
    text = script.PAGE.read_text()
    assert script.filled(text) == text, "run python docs/make_formulae.py"
    used = re.findall(r"<!-- ([a-z ]+) -->", text)
    assert set(used) == set(script.numbers()), "a number that the page does not show, or the other way round"
    assert all(f"(formulae/{name})" in text for name in files), "a figure that the page does not show"


def test_the_figure_of_the_search_is_current() -> None:
    script = module_of("make_search")
    values = json.loads(script.NUMBERS.read_text())
    page = script.PAGE.read_text()
    assert script.filled(page) == page, "run python docs/make_search.py"
    assert script.picture(values).svg() == script.PICTURE.read_text(), "run python docs/make_search.py"
    for name, own in values.items():
        assert script.searched(name) == own["found"], "run python docs/make_search.py"
        rate, loss = own["losses"][8]
        assert script.loss(name, rate) == loss, "run python docs/make_search.py"
        lowest = min(loss for _, loss in own["losses"] if loss is not None)
        assert own["found"]["loss"] < 2.5 * lowest, "the page says that each gets a rate near its own best"


def test_the_page_of_benchmarks_is_current() -> None:
    script = module_of("make_bench")
    for path in (script.PAGE, script.ALGORITHMS):
        page = path.read_text()
        assert script.filled(page) == page, "run python docs/make_bench.py"
    assert script.picture() == script.PICTURE.read_text(), "run python docs/make_bench.py"
    assert all(rows[2:] for name, rows in script.tables().items() if name != "losses")


def test_the_texts_momentum_is_the_common_one_at_another_rate() -> None:
    """What the page says: v = β v + (1 - β) g from v = 0, added as it is, written out."""
    script = module_of("make_formulae")
    v, lengths = 0.0, []
    for _ in range(30):
        v = script.BETA * v + (1 - script.BETA) * 1.0
        lengths.append(v)
    assert lengths == pytest.approx(script.the_texts_momentum(30).tolist(), rel=1e-12)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_quotations_are_current(page: Path) -> None:
    text = page.read_text()
    assert module_of("make_excerpts").filled(text) == text, "run python docs/make_excerpts.py"
    marks = re.findall("^<!-- from ", text, re.MULTILINE)
    assert len(marks) == len(module_of("make_excerpts").BLOCK.findall(text)), "a quotation without block"


def test_a_quotation_of_what_is_gone_is_an_error() -> None:
    excerpt = module_of("make_excerpts").excerpt
    lines = ["@layer", "class A:", "    x = 1", "", "    y = [", "        2,", "    ]", "", "class B:", "    z = 3"]
    assert excerpt(lines, "class A", "f.py") == "@layer\nclass A:\n    x = 1\n\n    y = [\n        2,\n    ]"
    assert excerpt(lines, "y =", "f.py") == "y = [\n    2,\n]"
    for start, count in (("class C", 0), ("class", 2)):
        with pytest.raises(ValueError, match=f"has {count} lines that begin with"):
            excerpt(lines, start, "f.py")


# ---- links


def prose(text: str) -> str:
    """Without code blocks and `code`, where brackets are not links."""
    return re.sub(r"`[^`\n]*`", "`", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings."""
    found: dict[str, int] = {}
    names = set()
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ (.*)$", without_code, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        count = found[name] = found.get(name, -1) + 1
        names.add(f"{name}-{count}" if count else name)
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for target in re.findall(r"(?<!\\)\]\(([^)\s]+)\)", prose(page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or not file.is_relative_to(ROOT):
            wrong.append(f"{target}: no such file")
        elif anchor and anchor not in anchors(file.read_text()):
            wrong.append(f"{target}: no such heading")
    assert not wrong, f"{page.name}: {wrong}"


def test_every_page_can_be_reached() -> None:
    """From README.md, by links."""
    seen, queue = set(), [ROOT / "README.md"]
    while queue:
        page = queue.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in re.findall(r"\]\(([^)\s#]+\.md)", prose(page.read_text())):
            queue.append((page.parent / target).resolve())
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in seen] == []
