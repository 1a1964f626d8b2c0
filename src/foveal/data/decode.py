"""Image files → uint8 pixels, by Pillow, the same for training and for prediction.

The order: open (a large JPEG at reduced scale), turn as EXIF says, 16-bit grey → 8 bit, transparency over white,
colours as the geometry wants, the largest centred part of the wanted shape resized to the wanted size (that is: the
shorter side resized, then the centre cut out).
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from foveal.data.preprocess import Preprocess
from foveal.errors import DataError
from foveal.kernels.machine import default_threads

if TYPE_CHECKING:
    from PIL.Image import Image  # Pillow is imported where images are decoded, so that `import foveal` is quick

DEFAULT_SIDE: Final = 64
_ORIENTATION: Final = 0x0112  # the EXIF tag
_GREY_MODES: Final = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N")
# EXIF orientation → name of the Pillow transposition that undoes it
_UPRIGHT: Final = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
T = TypeVar("T")


@dataclass(frozen=True)
class Geometry:
    """What a decoded image looks like: height and width in pixels, channels 1 or 3."""

    height: int
    width: int
    channels: int


@dataclass(frozen=True)
class Header:
    """What the first bytes of an image file say: size in pixels, upright, and whether it is grey."""

    height: int
    width: int
    grey: bool


@dataclass(frozen=True)
class Unreadable:
    """Why a file cannot be decoded, in a few words. passing: it may be readable the next time."""

    reason: str
    passing: bool = False


def decoder() -> str:
    """What decides about the pixels beside the file: Pillow's version."""
    from PIL import __version__

    return f"Pillow {__version__}"


def decode_image(path: str | Path, preprocess: Preprocess) -> NDArray[np.uint8]:
    """The uint8 (H, W, C) pixels of an image file, as the network of `preprocess` takes it. Raises DataError."""
    geometry = Geometry(preprocess.height, preprocess.width, preprocess.channels)
    with _own_warnings():
        pixels = _attempt(lambda: read_pixels(Path(path), geometry))
    if isinstance(pixels, Unreadable):
        raise DataError(f"{path} cannot be read: {pixels.reason}")
    return pixels


def decode_files(paths: Sequence[Path], geometry: Geometry) -> tuple[NDArray[np.uint8], dict[int, Unreadable]]:
    """All files, with all threads there are → pixels uint8 (N, H, W, C), and what could not be read, by position."""
    pixels = np.zeros((len(paths), geometry.height, geometry.width, geometry.channels), np.uint8)
    bad: dict[int, Unreadable] = {}
    for i, decoded in enumerate(_in_threads(lambda path: read_pixels(path, geometry), paths)):
        if isinstance(decoded, Unreadable):
            bad[i] = decoded
        else:
            pixels[i] = decoded
    return pixels, bad


def choose_geometry(paths: Sequence[Path], size: int | None) -> Geometry | None:
    """The geometry for a set of files, from their headers; None if none of them can be read.

    `size` × `size`; without it the images' own size when all agree and it is at most 64, else 64 × 64. One channel only
    if all images are grey.
    """
    headers = [header for header in _in_threads(read_header, paths) if isinstance(header, Header)]
    if not headers:
        return None
    channels = 1 if all(header.grey for header in headers) else 3
    sizes = {(header.height, header.width) for header in headers}
    if size is None and len(sizes) == 1 and max(max(sizes)) <= DEFAULT_SIDE:
        return Geometry(*sizes.pop(), channels)
    side = size or DEFAULT_SIDE
    return Geometry(side, side, channels)


def read_header(path: Path) -> Header:
    """Size and kind of an image file, without its pixels. Raises whatever Pillow raises."""
    from PIL import Image

    with Image.open(path) as image:
        turned = image.format != "TIFF" and _orientation(image) >= 5  # Pillow turns TIFF itself, its size included
        width, height = image.size[::-1] if turned else image.size
        return Header(height, width, image.mode in _GREY_MODES)


def read_pixels(path: Path, geometry: Geometry) -> NDArray[np.uint8]:
    """The uint8 (H, W, C) pixels of one file. Raises whatever Pillow raises."""
    from PIL import Image

    with Image.open(path) as image:
        # libjpeg shrinks by 2, 4 or 8 while decoding; twice the final size is left for the resampling to work on
        room = 2 * max(geometry.height, geometry.width)
        image.draft(None, (room, room))
        image.load()
        upright = _turn(image)
        flat = _over_white(_eight_bits(upright)).convert("L" if geometry.channels == 1 else "RGB")
        pixels = np.asarray(_fit(flat, geometry), np.uint8)
    return pixels.reshape(geometry.height, geometry.width, geometry.channels)


def _orientation(image: "Image") -> int:
    if "exif" not in image.info:  # asking for EXIF otherwise makes Pillow decode a whole PNG
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF: the pixels may still be good
        return 1


def _turn(image: "Image") -> "Image":
    from PIL.Image import Transpose

    name = _UPRIGHT.get(_orientation(image)) if image.format != "TIFF" else None
    return image.transpose(Transpose[name]) if name else image


def _eight_bits(image: "Image") -> "Image":
    from PIL import Image

    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels have more than 16 bits")
    return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))


def _over_white(image: "Image") -> "Image":
    from PIL import Image

    if "A" not in image.mode.upper().replace("LAB", "") and "transparency" not in image.info:
        return image
    colour = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colour.size, (255, 255, 255, 255)), colour)


def _fit(image: "Image", geometry: Geometry) -> "Image":
    """The largest centred part with the geometry's aspect ratio, resized to it with an antialiased bilinear filter."""
    from PIL.Image import Resampling

    size = (geometry.width, geometry.height)
    if image.size == size:
        return image
    scale = min(image.width / geometry.width, image.height / geometry.height)
    left, top = (image.width - scale * geometry.width) / 2, (image.height - scale * geometry.height) / 2
    box = (max(left, 0.0), max(top, 0.0), min(image.width - left, image.width), min(image.height - top, image.height))
    return image.resize(size, Resampling.BILINEAR, box)


def _in_threads(read: Callable[[Path], T], paths: Sequence[Path]) -> Iterator[T | Unreadable]:
    """read(path) of each path, in order, or why it failed. Pillow decodes with the interpreter's lock released."""
    with _own_warnings(), ThreadPoolExecutor(default_threads()) as threads:
        yield from threads.map(lambda path: _attempt(lambda: read(path)), paths)


def _attempt(read: Callable[[], T]) -> T | Unreadable:
    """Pillow's readers raise nearly anything for damaged files; running out of memory is not the file's fault."""
    try:
        return read()
    except MemoryError:
        raise
    except Exception as error:
        passing = isinstance(error, OSError) and error.errno is not None  # the system's word, not the decoder's
        return Unreadable(_reason(error), passing)


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow knows"
    if isinstance(error, Image.DecompressionBombError):
        return f"too many pixels, more than {2 * (Image.MAX_IMAGE_PIXELS or 0)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    text = str(error).splitlines()
    return text[0][:80] if text and text[0] else type(error).__name__


@contextmanager
def _own_warnings() -> Iterator[None]:
    """Pillow warns of odd metadata and large images; what matters is refused by name instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
