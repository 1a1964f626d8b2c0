"""The settings of the small training that the tests here share."""

from typing import Any

from foveal.fitting import Watch

# Everything that is computed from keys is in it: order, augmentation, dropout; and batch normalization's statistics.
# The rate is high, so that the second of the three epochs is the best: what is kept is not what was written last.
SETTINGS: dict[str, Any] = {
    "model": "mlp", "width": 0.04, "dropout": 0.2, "batch_norm": True, "augment": "standard", "epochs": 3,
    "batch_size": 200, "seed": 3, "lr": 0.5, "schedule": "constant", "momentum": 0.98,
}  # fmt: skip
QUIET = Watch(progress=False)
