"""Data: from files or arrays to pixels with labels, parts and batches.

images.py      Images, Dataset, Split: what the rest of foveal sees
load.py        load_dataset: read, check, split
sources/       one file per kind of source
decode.py      one image file → pixels        jpeg.py        the short way for plain JPEGs
pipeline.py    many files → one array         cache.py       decoded pixels kept on disk
preprocess.py  size and normalisation         duplicates.py  images that are equal
split.py       drawing parts by class         groups.py      drawing parts by groups that stay together
augment.py     random moves of an image       batches.py     order, bounds and assembly of batches
"""

from foveal.data.augment import AUGMENTS, Augment, moves, parse_augment
from foveal.data.batches import assemble, batch_bounds, epoch_order
from foveal.data.decode import decode_image
from foveal.data.images import Dataset, Images, Split
from foveal.data.load import load_dataset, load_images
from foveal.data.preprocess import Preprocess

__all__ = [
    "AUGMENTS",
    "Augment",
    "Dataset",
    "Images",
    "Preprocess",
    "Split",
    "assemble",
    "batch_bounds",
    "decode_image",
    "epoch_order",
    "load_dataset",
    "load_images",
    "moves",
    "parse_augment",
]
