"""Rules of the house that no linter knows."""

import ast
import re
import subprocess
from pathlib import Path

import foveal

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "foveal"

# A module imports only from lower levels and from its own folder. docs/architecture.md has the same table.
LEVELS = {
    "errors": 0, "checks": 1, "spelling": 1, "shapes": 2, "rng": 2, "params": 3, "lrsearch": 3, "kernels": 4,
    "layers": 4, "optim": 4, "models": 5, "plan": 5, "data": 5, "metrics": 5, "run": 6, "train": 7, "testing": 7,
    "search": 8, "bench": 8, "fitting": 9, "__init__": 10, "cli": 11, "__main__": 12,
}  # fmt: skip


def imports_of(file: Path) -> list[tuple[int, str]]:
    """(line, first part of the name below foveal) of every import of the package's own modules."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" if node.module == "foveal" else node.module for alias in node.names]
        found += [(node.lineno, name.split(".")[1]) for name in names if name.startswith("foveal.")]
    return found


def test_imports_go_down_only() -> None:
    wrong = []
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        for line, target in imports_of(file):
            if target in LEVELS and target != parts[0] and LEVELS[target] >= LEVELS[parts[0]]:
                wrong.append(f"{file.relative_to(ROOT)}:{line} imports {target}, which is not on a lower level")
    assert not wrong, "\n".join(wrong)


def test_every_module_has_a_level() -> None:
    modules = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert modules <= set(LEVELS)


def test_the_levels_are_documented() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", (ROOT / "docs" / "architecture.md").read_text(), re.MULTILINE)
    documented = {name: int(level) for level, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert documented == {name: level for name, level in LEVELS.items() if not name.startswith("__")}


def test_public_names_exist() -> None:
    assert foveal.__all__
    assert [name for name in foveal.__all__ if not hasattr(foveal, name)] == []


def test_no_absolute_paths_of_a_machine() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    pattern = re.compile(r"(^|[^\w.])/(home|root|work|Users)/\w")
    text = [name for name in files if Path(name).suffix in (".py", ".md", ".toml", ".cc", ".h", ".sh", "", ".yaml")]
    assert [name for name in text if pattern.search((ROOT / name).read_text(errors="ignore"))] == []
