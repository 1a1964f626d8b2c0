"""A line chart as SVG, in as few lines as the figures of these pages need: the same bytes each time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 380, 64, 150, 34, 46
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7a7a7a")  # told apart by the colour-blind too (Okabe and Ito)
Points = Sequence[tuple[float, float]]


@dataclass
class Chart:
    """x and y: (from, to, ticks); log: the y axis is logarithmic. Lines are drawn in the order they are added."""

    title: str
    x_label: str
    y_label: str
    x: tuple[float, float, Sequence[float]]
    y: tuple[float, float, Sequence[float]]
    log: bool = False
    parts: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A place in the picture; beyond the axes, on their edge and a little outside."""
        scale = math.log10 if self.log else float
        low, high = scale(self.y[0]), scale(self.y[1])
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (scale(y) - low) / (high - low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def line(self, name: str, points: Points, *, dashed: bool = False, dots: bool = False) -> None:
        colour = COLOURS[len(self.names)]
        places = [self.at(*point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dash = ' stroke-dasharray="7 4"' if dashed else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dash} clip-path="url(#plot)"/>'
        )
        if dots:
            self.parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>' for x, y in places]
        y = TOP + 14 + 20 * len(self.names)
        right = WIDTH - RIGHT + 10
        self.parts.append(f'<path d="M{right} {y - 4}h16" stroke="{colour}" stroke-width="2"{dash}/>')
        self.parts.append(_text(right + 21, y, name, anchor="start"))
        self.names.append(name)

    def mark(self, x: float, y: float) -> None:
        """A disc in the colour of the last line."""
        place, colour = self.at(x, y), COLOURS[len(self.names) - 1]
        self.parts.append(
            f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="6" fill="{colour}" stroke="#fff" stroke-width="1.5"/>'
        )

    def ellipse(self, x_radius: float, y_radius: float) -> None:
        """A contour around (0, 0)."""
        (x, y), (right, top) = self.at(0, 0), self.at(x_radius, y_radius)
        self.parts.append(
            f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{right - x:.1f}" ry="{y - top:.1f}" fill="none" stroke="#d0d0d0" '
            f'clip-path="url(#plot)"/>'
        )

    def svg(self) -> str:
        wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
            f'font-size="12">',
            f'<clipPath id="plot"><rect x="{LEFT}" y="{TOP}" width="{wide}" height="{high}"/></clipPath>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            f'<rect x="{LEFT}" y="{TOP}" width="{wide}" height="{high}" fill="none" stroke="#404040"/>',
            _text(LEFT, 20, self.title, anchor="start", more=' font-weight="bold"'),
            _text(LEFT + wide / 2, HEIGHT - 8, self.x_label),
            _text(16, TOP + high / 2, self.y_label, more=f' transform="rotate(-90 16 {TOP + high / 2:g})"'),
        ]
        for value in self.x[2]:
            x, y = self.at(value, self.y[0])
            lines += [f'<path d="M{x:.1f} {y:.1f}v4" stroke="#404040"/>', _text(x, y + 17, f"{value:g}")]
        for value in self.y[2]:
            x, y = self.at(self.x[0], value)
            lines += [
                f'<path d="M{x:.1f} {y:.1f}h-4" stroke="#404040"/>',
                _text(x - 8, y + 4, f"{value:g}", anchor="end"),
            ]
        return "\n".join([*lines, *self.parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, *, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#202020"{more}>{text}</text>'
