"""README.md and README.zh-CN.md say the same."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE = ((ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md"))
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def blocks(text: str) -> list[str]:
    """Code blocks, without comments."""
    found = re.findall(r"^```.*?^```", text, re.DOTALL | re.MULTILINE)
    return ["\n".join(re.sub(r" *#.*", "", line) for line in block.splitlines()) for block in found]


def rows(text: str) -> list[list[str]]:
    """The cells of all tables."""
    return [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]


def links(text: str) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return sorted(target for target in found if not target.startswith("README"))


def levels(text: str) -> list[str]:
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^(#+) ", without_code, re.MULTILINE)


def test_they_link_to_each_other() -> None:
    assert "(README.zh-CN.md)" in ENGLISH
    assert "(README.md)" in CHINESE


def test_the_same_headings_points_and_links() -> None:
    assert levels(ENGLISH) == levels(CHINESE)
    assert len(levels(ENGLISH)) > 3
    for pattern in (r"^- \*\*", r"^!\["):
        count = len(re.findall(pattern, ENGLISH, re.MULTILINE))
        assert count == len(re.findall(pattern, CHINESE, re.MULTILINE)) > 0
    assert links(ENGLISH) == links(CHINESE)


def test_the_same_commands_and_code() -> None:
    assert blocks(ENGLISH) == blocks(CHINESE)
    assert any("foveal train" in block for block in blocks(ENGLISH))


def test_the_same_tables_with_the_same_figures_and_tests() -> None:
    english, chinese = rows(ENGLISH), rows(CHINESE)
    assert len(english) == len(chinese)
    for ours, theirs in zip(english, chinese, strict=True):
        assert NUMBER.findall(" ".join(ours)) == NUMBER.findall(" ".join(theirs)), (ours, theirs)
        assert re.findall(r"`[^`]+`", " ".join(ours)) == re.findall(r"`[^`]+`", " ".join(theirs)), (ours, theirs)


def test_the_tests_it_names_exist() -> None:
    """In the table of promises, and everywhere else."""
    named = re.findall(r"`((?:tests|benchmarks|src)/[\w./-]+)`", ENGLISH)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []
