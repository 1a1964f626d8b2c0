"""The run folder and model files: the only code that writes results."""

from foveal.run.checkpoint import EpochRow, Progress
from foveal.run.folder import RunFolder
from foveal.run.model_file import Model, read_model
from foveal.run.prediction import Prediction, Unread
from foveal.run.run import Run, load_run

__all__ = ["EpochRow", "Model", "Prediction", "Progress", "Run", "RunFolder", "Unread", "load_run", "read_model"]
