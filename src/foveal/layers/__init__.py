"""Layers: one file per kind, spec and definition together."""

from foveal.layers.activation import GELU, LeakyReLU, ReLU, Sigmoid, Tanh
from foveal.layers.base import Context, Layer, LayerRandom, from_json, layer, to_json
from foveal.layers.container import Residual, Sequential
from foveal.layers.conv import Conv2d
from foveal.layers.dense import Dense, Flatten
from foveal.layers.dropout import Dropout
from foveal.layers.loss import SoftmaxCrossEntropy
from foveal.layers.norm import BatchNorm
from foveal.layers.pool import AvgPool2d, GlobalAvgPool, MaxPool2d

__all__ = [
    "GELU",
    "AvgPool2d",
    "BatchNorm",
    "Context",
    "Conv2d",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "Layer",
    "LayerRandom",
    "LeakyReLU",
    "MaxPool2d",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "Tanh",
    "from_json",
    "layer",
    "to_json",
]
