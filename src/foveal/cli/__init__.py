"""The command line: parse, call, print. Errors become one line and an exit code."""

from foveal.cli.app import main

__all__ = ["main"]
