"""Draw docs/curves.svg: loss over epochs of three networks of the tutorial, from real runs; a test draws it again.

.venv/bin/python docs/make_curves.py
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np

import foveal as fv

PICTURE = Path(__file__).with_name("curves.svg")
WIDTH, HEIGHT, GAP, HIGHEST = 250, 150, 40, 2.4  # of one panel, in pixels; the loss at its top
Losses = Sequence[float | None]


def runs() -> list[tuple[str, Losses, Losses]]:
    """(title, training losses, validation losses) of each network."""
    data = fv.load_dataset("digits")
    body = (fv.Conv2d(16, 3, padding="same"), fv.ReLU(), fv.MaxPool2d(2), fv.Conv2d(32, 3, padding="same"), fv.ReLU())
    few = fv.load_dataset("digits", validation=0.4, test=0.4)
    random, labels = np.random.default_rng(0), few.train.labels.copy()
    wrong = random.random(len(labels)) < 0.2
    labels[wrong] = random.integers(0, 10, wrong.sum())
    few = replace(few, train=replace(few.train, labels=labels))
    hidden = (fv.Flatten(), fv.Dense(256), fv.ReLU(), fv.Dense(10))
    cases = [
        ("could learn more: GAP, 10 epochs", (*body, fv.GlobalAvgPool(), fv.Dense(10)), data, 10),
        ("has learnt: flatten, 10 epochs", (*body, fv.Flatten(), fv.Dense(10)), data, 10),
        ("overfits: few pictures, wrong labels", hidden, few, 20),
    ]
    found = []
    for title, layers, images, epochs in cases:
        with tempfile.TemporaryDirectory() as folder:
            run = fv.fit(
                fv.Sequential(*layers),
                images,
                epochs=epochs,
                lr=0.02,
                seed=1,
                progress=False,
                run_dir=Path(folder) / "run",
            )
            rows = run.metrics
        found.append((title, [row.train_loss for row in rows], [row.val_loss for row in rows]))
    return found


def picture() -> str:
    """The drawing, as text."""
    parts = [panel(n, *run) for n, run in enumerate(runs())]
    wide, high = 3 * WIDTH + 4 * GAP, HEIGHT + 2 * GAP
    style = f'viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="11"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {style}>'
    return "\n".join([head, f'<rect width="{wide}" height="{high}" fill="#fff"/>', *parts, "</svg>"]) + "\n"


def panel(n: int, title: str, training: Losses, validation: Losses) -> str:
    """One panel: training loss dashed, validation loss solid."""
    left, top = GAP + n * (WIDTH + GAP), GAP
    parts = [f'<text x="{left}" y="{top - 14}" font-weight="bold">{escape(title)}</text>']
    for loss in (0, 1, 2):
        y = top + HEIGHT * (1 - loss / HIGHEST)
        parts.append(f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 12}" y="{y + 4:.1f}">{loss}</text>')
    for losses, colour, dash, name in (
        (training, "#888", ' stroke-dasharray="4 3"', "training"),
        (validation, "#c40", "", "validation"),
    ):
        points = [
            f"{left + WIDTH * epoch / (len(losses) - 1):.1f},{top + HEIGHT * (1 - (loss or 0) / HIGHEST):.1f}"
            for epoch, loss in enumerate(losses)
        ]
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>')
        x = left if name == "training" else left + 60
        parts.append(f'<text x="{x}" y="{top + HEIGHT + 22}" fill="{colour}">{name}</text>')
    parts.append(f'<text x="{left + WIDTH - 62}" y="{top + HEIGHT + 22}">{len(training)} epochs →</text>')
    return "\n".join(parts)


if __name__ == "__main__":
    PICTURE.write_text(picture())
