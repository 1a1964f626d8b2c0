"""Write docs/commands.md from the program's own --help; a test fails when the page has drifted.

.venv/bin/python docs/make_commands.py
"""

from pathlib import Path

import click

from foveal.cli.app import COMMANDS, cli

PAGE = Path(__file__).with_name("commands.md")


def page() -> str:
    """The text of the page."""
    parts = ["# Commands", "", "Made from `--help` by `docs/make_commands.py`.", ""]
    parent = click.Context(cli, info_name="foveal", **cli.context_settings)
    for name in COMMANDS:
        command = cli.get_command(parent, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=parent, max_content_width=110, terminal_width=110)
        parts += [f"## foveal {name}", "", "```", command.get_help(context).rstrip(), "```", ""]
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
