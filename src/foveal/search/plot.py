"""The plot of a search: what each trial scored at its rate, rung by rung, and the rate that was chosen."""

import io
from collections.abc import Mapping
from typing import Any, Final

from foveal.search.picture import share
from foveal.search.run import Found

_COLOURS: Final = ("#9aa5b1", "#3b7dd8", "#d9822b", "#2f9e44")  # of the rungs; the last for all others
_SETTINGS: Final = {"svg.hashsalt": "foveal", "svg.fonttype": "none", "font.size": 9}  # equal trials, equal bytes


def plot(found: Found, guess: float | None = None) -> bytes | None:
    """An SVG, None where matplotlib is not installed. guess: the loss of answering without looking."""
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError:
        return None
    settings: Any = {**matplotlib.rcParamsDefault, **_SETTINGS}  # whatever else the user has set
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(7, 4), layout="constrained")
        FigureCanvasSVG(figure)
        _draw(figure.subplots(), found, guess)
        text = io.BytesIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": "foveal"})
    return text.getvalue()


def _draw(axes: Any, found: Found, guess: float | None) -> None:
    best = found.best
    trials: dict[tuple[int, int], Mapping[str, Any]] = {}
    for record in found.trials:  # the second half's record replaces the first's
        trials[record["rung"], record["number"]] = record
    axes.axvspan(*best.bracket, color="#2f9e44", alpha=0.15, lw=0)
    axes.axvline(best.lr, color="#2f9e44", lw=1.5, label=f"chosen: {best.lr:g} ({best.evidence})")
    if guess is not None:
        axes.axhline(guess, color="black", lw=0.8, ls=":", label="a guess")
    for rung in sorted({place[0] for place in trials}):
        own = sorted((t for place, t in trials.items() if place[0] == rung), key=lambda t: float(t["lr"]))
        scored = [t for t in own if t["score"] is not None]
        axes.plot(
            [t["lr"] for t in scored], [t["score"] for t in scored], "o-", lw=0.8, ms=5,
            color=_COLOURS[min(rung, len(_COLOURS) - 1)],
            label=f"round {rung + 1}: {share(own[0]['horizon'])} of a training",
        )  # fmt: skip
    top = axes.get_xaxis_transform()  # y from 0 to 1 over the height
    for sign, name, loss_is_none in (("x", "diverged", True), ("|", "dropped", False)):
        rates = [t["lr"] for t in trials.values() if t["score"] is None and _diverged(t) == loss_is_none]
        if rates:
            axes.plot(rates, [0.97] * len(rates), sign, color="#c92a2a", ms=6, transform=top, label=name)
    axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="validation loss of a trial")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend(frameon=False)


def _diverged(trial: Mapping[str, Any]) -> bool:
    return trial["loss"] is None or trial["half"] == 2
