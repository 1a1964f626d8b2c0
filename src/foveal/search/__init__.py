"""The learning-rate search at work: trials of the network on its data (trials), run in parallel and kept (run),
and shown (display, picture, plot)."""

from foveal.search.run import Found, find_rate, search_of

__all__ = ["Found", "find_rate", "search_of"]
