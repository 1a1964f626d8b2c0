"""What can be refused before any image is read: to read them all may take long."""

from typing import Final

from foveal.errors import ShapeError
from foveal.layers import Sequential
from foveal.models import build, places
from foveal.plan import classes_of
from foveal.train.settings import AUTO, CUSTOM, TrainSettings

SIDES: Final = (64, 32, 28, 8, 224, 1024)  # pixels, of images that a network might be meant for


def refuse_early(net: Sequential | None, settings: TrainSettings) -> None:
    """Raise ShapeError or UsageError if the network can take no image, or none of --size.

    net: None where the settings name it. What depends on the images' own shape is told when that is known. A network
    with layers of the user's own is not judged: they may want images of one shape alone.
    """
    sides = SIDES if settings.size is None else (settings.size,)
    shapes = [(channels, side, side) for side in sides for channels in (3, 1)]
    if net is None:
        if settings.model not in (AUTO, CUSTOM) and settings.size is not None:
            build(settings.model, 2, input_shape=shapes[0], **settings.model_arguments())
        return
    if not all(type(layer).__module__.startswith("foveal.") for _, layer in places(net)):
        return
    errors = []
    for shape in shapes:
        try:
            classes_of(net, shape)
            return
        except ShapeError as error:
            errors.append(error)
    raise ShapeError(f"{errors[0]} (said of images of shape {shapes[0]}, and no others would fit)")
