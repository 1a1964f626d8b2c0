"""Pieces that the models share. A network is a list of layers until it is whole."""

from typing import Literal

from foveal.checks import choice, real
from foveal.layers import BatchNorm, Conv2d, Dense, Dropout, Flatten, GlobalAvgPool, Layer, ReLU
from foveal.shapes import Padding

Head = Literal["gap", "fc"]
Layers = list[Layer]


def scaled(channels: int, width: float) -> int:
    """Channels times width, to the nearest multiple of 16, at least 16."""
    return max(16, round(channels * real(width, "width", above=0, high=100) / 16) * 16)


def conv(filters: int, kernel: int, *, batch_norm: bool, padding: Padding = "same") -> Layers:
    """Convolution, batch norm (then the convolution needs no bias), ReLU."""
    layers: Layers = [Conv2d(filters, kernel, padding=padding, bias=not batch_norm)]
    return [*layers, *([BatchNorm()] if batch_norm else []), ReLU()]


def dense(units: int, *, batch_norm: bool, dropout: float) -> Layers:
    """Dense layer, batch norm, ReLU, dropout."""
    layers: Layers = [Dense(units, bias=not batch_norm), *([BatchNorm()] if batch_norm else []), ReLU()]
    return [*layers, *dropped(dropout)]


def dropped(p: float) -> Layers:
    """Dropout, if any."""
    return [Dropout(p)] if p else []


def check_head(head: str) -> None:
    choice(head, "head", ("gap", "fc"))


def flat_head(classes: int, units: int, *, batch_norm: bool, dropout: float) -> Layers:
    """Flatten, a hidden dense layer, and the class scores."""
    return [Flatten(), *dense(units, batch_norm=batch_norm, dropout=dropout), Dense(classes)]


def pooled_head(classes: int, *, dropout: float) -> Layers:
    """Global average pooling and the class scores."""
    return [GlobalAvgPool(), *dropped(dropout), Dense(classes)]
