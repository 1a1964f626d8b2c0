"""Multilayer perceptron: the picture flattened."""

from foveal.layers import Dense, Flatten, Sequential
from foveal.models.blocks import dense, scaled


def mlp(classes: int, *, dropout: float = 0.0, batch_norm: bool = False, width: float = 1.0) -> Sequential:
    """Flatten, two hidden layers of 800 units with ReLU, class scores. dropout: after each hidden layer.

    Space is not used: the network could as well see the pixels in any other order.
    """
    hidden = [dense(scaled(800, width), batch_norm=batch_norm, dropout=dropout) for _ in range(2)]
    return Sequential(Flatten(), *hidden[0], *hidden[1], Dense(classes))
