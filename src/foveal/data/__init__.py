"""Data: sources of images, decoding, cache, split, augmentation, batches."""

from foveal.data.augment import Augment, moves, parse_augment
from foveal.data.batches import batch_bounds, epoch_order
from foveal.data.decode import decode_image
from foveal.data.images import Dataset, Images
from foveal.data.load import load_dataset
from foveal.data.preprocess import Preprocess

__all__ = [
    "Augment",
    "Dataset",
    "Images",
    "Preprocess",
    "batch_bounds",
    "decode_image",
    "epoch_order",
    "load_dataset",
    "moves",
    "parse_augment",
]
