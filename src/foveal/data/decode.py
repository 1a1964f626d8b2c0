"""Image files → uint8 arrays, by Pillow: every format it reads, turned as EXIF says, alpha over white."""

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from foveal.data.preprocess import Preprocess
from foveal.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT_SIZE: Final = 64
MOST_PIXELS: Final = 100_000_000  # of one file; more is taken for a decompression bomb

_SUFFIXES: Final = frozenset(
    ".jpg .jpeg .jpe .png .bmp .gif .tif .tiff .webp .ppm .pgm .pbm .pnm .tga .ico .jp2 .avif .dib .pcx .sgi".split()
)


def is_image_name(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES


def common_preprocess(paths: Sequence[Path], size: int | None) -> tuple[Preprocess, dict[Path, str]]:
    """(record, unreadable files with the reason) for a set of files, from their headers.

    One channel only if all are grey. Size: as given; else the images' own where all agree and are at most 64; else 64.
    """
    sizes: set[tuple[int, int]] = set()
    bad: dict[Path, str] = {}
    grey = True
    for path in paths:
        try:
            with _open(path) as image:
                wide, high = image.size
                sizes.add((high, wide) if image.getexif().get(0x0112, 1) < 5 else (wide, high))
                grey = grey and _is_grey(image)
        except Exception as error:
            bad[path] = _reason(error)
    own = next(iter(sizes)) if len(sizes) == 1 else None
    if size is None and own is not None and max(own) <= DEFAULT_SIZE:
        high, wide = own
    else:
        high = wide = size or DEFAULT_SIZE
    return Preprocess(high, wide, 1 if grey else 3), bad


def decode_all(paths: Sequence[Path], preprocess: Preprocess) -> tuple[NDArray[np.uint8], dict[Path, str]]:
    """(pixels (N, H, W, C) of the readable files in order, {unreadable file: reason}), on all cores."""
    bad: dict[Path, str] = {}

    def decode(path: Path) -> NDArray[np.uint8] | None:
        try:
            return decode_image(path, preprocess)
        except DataError as error:
            bad[path] = str(error).partition(" cannot be read: ")[2]
            return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = [image for image in pool.map(decode, paths) if image is not None]
    shape = (preprocess.height, preprocess.width, preprocess.channels)
    return (np.stack(images) if images else np.zeros((0, *shape), np.uint8)), bad


def decode_image(path: str | Path, preprocess: Preprocess) -> NDArray[np.uint8]:
    """One file as (H, W, C) uint8. Raises DataError naming the file."""
    target = preprocess.height, preprocess.width
    try:
        with _open(Path(path)) as image:
            if image.format == "JPEG":
                image.draft(None, (2 * target[1], 2 * target[0]))  # decodes at ½, ¼ or ⅛ where that is still enough
            return _fit(_plain(image, preprocess.channels), target)
    except Exception as error:
        raise DataError(f"{path} cannot be read: {_reason(error)}") from None


def _open(path: Path) -> "Image":
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return Image.open(path)


def _is_grey(image: "Image") -> bool:
    return image.mode in ("1", "L", "I;16", "I", "F", "I;16B", "I;16L")


def _plain(image: "Image", channels: int) -> "Image":
    """Turned upright, alpha over white, 8 bits, grey or RGB."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        top = 65535.0 if values.max(initial=0) > 255 else 255.0
        image = Image.fromarray(np.clip(np.rint(values * (255.0 / top)), 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        white = Image.new("RGBA", coloured.size, "white")
        image = Image.alpha_composite(white, coloured)
    return image.convert("L" if channels == 1 else "RGB")


def _fit(image: "Image", target: tuple[int, int]) -> NDArray[np.uint8]:
    """Scaled so that the target is just covered, then cropped at the centre."""
    from PIL import Image

    high, wide = target
    if image.size != (wide, high):
        factor = max(high / image.height, wide / image.width)
        size = max(wide, round(image.width * factor)), max(high, round(image.height * factor))
        image = image.resize(size, Image.Resampling.BILINEAR)
        left, top = (image.width - wide) // 2, (image.height - high) // 2
        image = image.crop((left, top, left + wide, top + high))
    pixels = np.asarray(image, np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"more than {MOST_PIXELS // 1_000_000} million pixels"
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return str(error) or type(error).__name__
