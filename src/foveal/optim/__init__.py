"""Optimizers: one file per rule, spec and definition together; schedules.py the learning rate over time."""

from foveal.optim.adagrad import AdaGrad
from foveal.optim.adam import Adam
from foveal.optim.adamw import AdamW
from foveal.optim.base import OPTIMIZERS, Optimizer, optimizer
from foveal.optim.momentum import Momentum
from foveal.optim.rmsprop import RMSProp
from foveal.optim.schedules import Schedule
from foveal.optim.sgd import SGD

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Momentum",
    "Optimizer",
    "RMSProp",
    "Schedule",
    "optimizer",
]
