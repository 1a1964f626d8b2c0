"""Write docs/layers.md, the maths of every layer, the loss, and every optimizer, from their source; a test fails when
the page has drifted.

.venv/bin/python docs/make_layers.py
"""

import ast
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from foveal.layers import SoftmaxCrossEntropy, base
from foveal.optim import OPTIMIZERS, Schedule, clipping
from foveal.optim import base as optim_base

PAGE = Path(__file__).with_name("layers.md")
FIRST = ("conv", "pool", "activation", "norm", "dropout", "dense", "container")  # of src/foveal/layers, in this order

INTRODUCTION = """# The maths of every layer

Made from the source by `docs/make_layers.py`. What stands here is the definition itself: the native core is tested
against exactly this text (`tests/native/test_definitions.py`), and `isa="reference"` runs it. How a kernel computes the
same is in `native/kernels/`; where frameworks differ, it is said which form this is."""


def page() -> str:
    """The text of the page."""
    layers = [cls for cls in base._KINDS.values() if cls.__module__.startswith("foveal.")]
    modules = sorted({cls.__module__ for cls in layers}, key=_place)
    parts = [INTRODUCTION, _prose(_between(base, "Letters used", "Shapes of"))]
    sections: list[str] = []
    for name in modules:
        module = importlib.import_module(name)
        sections += _module_head(module)
        for cls in sorted((c for c in layers if c.__module__ == name), key=_line):
            sections += _entry(cls, ("param_slots", "forward", "backward"))
    loss = importlib.import_module(SoftmaxCrossEntropy.__module__)
    sections += _module_head(loss) + _entry(SoftmaxCrossEntropy, ("forward", "backward"))
    sections += ["## Optimizers", _prose(_doc(optim_base).split("\n\n", 1)[1])]
    for rule in sorted(OPTIMIZERS.values(), key=lambda cls: (len(cls.state), cls.name)):
        if rule.__module__.startswith("foveal."):
            sections += _entry(rule, ("decay", "update"))
    sections += _module_head(clipping) + _function(clipping.clip_norm) + _function(clipping.limit_norms)
    sections += ["## Schedules", *_entry(Schedule, ("rate",))]
    headings = [section for section in sections if re.match("##+ ", section)]
    return "\n\n".join([*parts, _contents(headings), *sections]) + "\n"


def _place(module: str) -> tuple[int, str]:
    name = module.rsplit(".", 1)[1]
    return (FIRST.index(name) if name in FIRST else len(FIRST), name)


def _line(cls: type) -> int:
    return inspect.getsourcelines(cls)[1]


def _contents(headings: Iterable[str]) -> str:
    """One line for each section, with links to what is in it."""
    lines: list[str] = []
    seen: dict[str, int] = {}
    for heading in headings:
        level, title = heading.split(" ", 1)
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")  # as GitHub makes them
        count = seen[anchor] = seen.get(anchor, -1) + 1
        link = f"[{title}](#{anchor}{f'-{count}' if count else ''})"
        if level == "##":
            lines.append(f"- {link}")
        else:
            lines[-1] += (": " if lines[-1].count("[") == 1 else " · ") + link
    return "\n".join(lines)


def _module_head(module: ModuleType) -> list[str]:
    title, *rest = _doc(module).split("\n\n")
    name, colon, more = title.rstrip(".").partition(":")
    more = more.strip()
    said = [f"{more[0].upper()}{more[1:]}." if colon else "", *rest]
    return [f"## {name}", *(_prose(part) for part in said if part)]


def _entry(cls: type, methods: tuple[str, ...]) -> list[str]:
    """Heading, call, docstring, and the source of some methods with all that they call in their own file."""
    shown = [getattr(cls, name) for name in methods if _is_own(cls, name)]
    file = Path(inspect.getsourcefile(cls) or "").as_posix().rsplit("/foveal/", 1)[1]
    parts = [
        f"### {cls.__name__}",
        f"`{_call(cls)}` · [source](../src/foveal/{file})",
        *(_prose(part) for part in _doc(cls).split("\n\n")),
    ]
    if shown:
        parts.append(_code(shown))
    helpers = list(_helpers(cls, shown))
    if helpers:
        names = ", ".join(f"<code>{function.__name__}</code>" for function in helpers)
        parts += [f"<details><summary>{names}</summary>", _code(helpers), "</details>"]
    return parts


def _function(function: Any) -> list[str]:
    return [f"### {function.__name__}", _code([function])]


def _is_own(cls: type, name: str) -> bool:
    """Whether it is more than what the base class says of all."""
    return getattr(cls, name, None) not in (getattr(base.Layer, name, None), getattr(optim_base.Optimizer, name, None))


def _helpers(cls: type, functions: list[Any]) -> Iterator[Any]:
    """Functions and methods of the package's layers and optimizers that these call, each once."""
    module = inspect.getmodule(cls)
    queue, seen = list(functions), set(functions)
    while queue:
        tree = ast.parse(textwrap.dedent(inspect.getsource(queue.pop(0))))
        for node in ast.walk(tree):
            found = None
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                found = inspect.getattr_static(cls, node.attr, None)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found = getattr(module, node.func.id, None)
            if inspect.isfunction(found) and found.__module__ == cls.__module__ and found not in seen:
                seen.add(found)
                queue.append(found)
                yield found


def _call(cls: type) -> str:
    """How it is made: names and defaults."""
    arguments = []
    for parameter in inspect.signature(cls).parameters.values():
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
        star = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        arguments.append(f"{star}{parameter.name}{default}")
    return f"{cls.__name__}({', '.join(arguments)})"


def _code(functions: list[Any]) -> str:
    text = "\n\n\n".join(textwrap.dedent(inspect.getsource(function)).rstrip() for function in functions)
    return f"```python\n{text}\n```"


def _doc(thing: Any) -> str:
    return inspect.cleandoc(thing.__doc__ or "")


def _between(module: ModuleType, start: str, end: str) -> str:
    text = _doc(module)
    return text[text.index(start) : text.index(end)].strip()


def _prose(text: str) -> str:
    """A paragraph of a docstring as Markdown: a line that ends a sentence before its width is used stays a line."""
    lines = [_escaped(line) for line in text.splitlines()]
    for n, (line, following) in enumerate(zip(text.splitlines(), text.splitlines()[1:], strict=False)):
        if line.endswith((".", ";", ":")) and len(line) + len(following.split(" ")[0]) < 100:
            lines[n] += "\\"
    return "\n".join(lines)


def _escaped(line: str) -> str:
    """What Markdown would take for markup, outside of `code` and of what is set off as code by its indent."""
    if line.startswith("    "):
        return line
    pieces = re.split(r"(`[^`]*`)", line.rstrip())
    return "".join(piece if piece.startswith("`") else re.sub(r"([*_<>\[\]|~])", r"\\\1", piece) for piece in pieces)


if __name__ == "__main__":
    PAGE.write_text(page())
