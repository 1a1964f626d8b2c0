"""Training: settings, the loop, its events and how they are shown."""

from foveal.train.interrupt import Interrupted
from foveal.train.settings import TrainSettings

__all__ = ["Interrupted", "TrainSettings"]
