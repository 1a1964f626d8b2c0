"""Multilayer perceptron: the picture flattened."""

from foveal.layers import Dense, Flatten, Sequential
from foveal.models.blocks import Layers, dense, scaled


def mlp(
    classes: int,
    hidden: tuple[int, ...] = (800, 800),
    *,
    dropout: float = 0.0,
    batch_norm: bool = False,
    width: float = 1.0,
) -> Sequential:
    """Flatten, hidden layers of 800 units (times `width`) with ReLU, class scores. dropout: after each hidden layer.

    Space is not used: the network could as well see the pixels in any other order.
    """
    layers: Layers = []
    for units in hidden:
        layers += dense(scaled(units, width), batch_norm=batch_norm, dropout=dropout)
    return Sequential(Flatten(), *layers, Dense(classes))
