"""Optimizers: one file per rule, spec and definition together; schedules.py the learning rate over time."""

from foveal.optim.adam import Adam
from foveal.optim.base import OPTIMIZERS, Optimizer, optimizer
from foveal.optim.momentum import Momentum
from foveal.optim.schedules import Schedule
from foveal.optim.sgd import SGD

__all__ = ["OPTIMIZERS", "SGD", "Adam", "Momentum", "Optimizer", "Schedule", "optimizer"]
