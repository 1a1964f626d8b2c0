"""One image file → uint8 pixels, by Pillow, the same for training and for prediction.

The order: open (a large JPEG at reduced scale), turn as EXIF or XMP says, 16-bit grey → 8 bit, transparency over white,
colours as wanted, the largest centred part of the wanted shape resized to the wanted size (that is: the shorter side
resized, then the centre cut out).
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from foveal.data.jpeg import decode_plain, plain_jpeg
from foveal.data.preprocess import Preprocess
from foveal.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image  # Pillow is imported where images are decoded, so that `import foveal` is quick

DEFAULT_SIDE: Final = 64
_SMALL: Final = 1 << 20  # bytes of a file that is read at once
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


# What is asked of a decoded image: all of it; or a side in pixels, that of a square; or None: the image's own size if
# that is at most 64, else a square of 64. Without a Geometry a grey image has one channel.
Wanted = Geometry | int | None


@dataclass(frozen=True, eq=False)
class Picture:
    """One decoded file: uint8 pixels (H, W, C); and its own upright width and height, Pillow's format and mode."""

    pixels: NDArray[np.uint8]
    width: int
    height: int
    format: str
    mode: str

    @property
    def grey(self) -> bool:
        return self.mode in _GREY_MODES


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
    with own_warnings():
        picture = attempt(lambda: read_picture(Path(path), geometry))
    if isinstance(picture, Unreadable):
        raise DataError(f"{path} cannot be read: {picture.reason}")
    return picture.pixels


def read_picture(file: Path | bytes, wanted: Wanted) -> Picture:
    """Decode one file, or the bytes of one. Raises whatever Pillow raises."""
    if isinstance(file, Path):
        with file.open("rb") as stream:
            data = stream.read(_SMALL + 1)
        if len(data) > _SMALL:
            return _opened(file, wanted)
        file = data
    return _short_way(file, wanted) or _opened(file, wanted)


def _short_way(data: bytes, wanted: Wanted) -> Picture | None:
    """A plain small JPEG."""
    plain = plain_jpeg(data)
    if plain is None:
        return None
    mode, *own = plain
    geometry = _geometry(wanted, (own[0], own[1]), 1 if mode == "L" else 3)
    if (image := decode_plain(data, *plain, _reduction(min(own), geometry))) is None:
        return None
    return Picture(_finished(image, geometry), own[0], own[1], "JPEG", mode)


def _opened(file: Path | bytes, wanted: Wanted) -> Picture:
    from PIL import Image

    with Image.open(BytesIO(file) if isinstance(file, bytes) else file) as image:
        own, mode = _upright_size(image), image.mode
        geometry = _geometry(wanted, own, 1 if mode in _GREY_MODES else 3)
        if (reduction := _reduction(min(own), geometry)) > 1:
            image.draft(None, (image.width // reduction, image.height // reduction))
        image.load()
        pixels = _finished(_over_white(_eight_bits(_turn(image))), geometry)
        return Picture(pixels, *own, image.format or "", mode)


def _reduction(shorter: int, geometry: Geometry) -> int:
    """By how much libjpeg shrinks an image of a shorter side while it decodes: 1, 2, 4 or 8.

    To exactly the final size where that can be: libjpeg then averages whole squares of pixels, which no resampling
    would do better. Else twice the final size, at least, is left for the resampling to work on.
    """
    side = max(geometry.height, geometry.width)
    return next((k for k in (8, 4, 2) if shorter == k * side or shorter >= 2 * k * side), 1)


def _finished(image: "Image", geometry: Geometry) -> NDArray[np.uint8]:
    """Upright, opaque 8-bit pixels → (H, W, C)."""
    kind = "L" if geometry.channels == 1 else "RGB"
    fitted = fit(image if image.mode == kind else image.convert(kind), geometry)
    return np.frombuffer(fitted.tobytes(), np.uint8).reshape(geometry.height, geometry.width, geometry.channels)


def fit(image: "Image", geometry: Geometry) -> "Image":
    """The largest centred part with the geometry's aspect ratio, resized to it with an antialiased bilinear filter."""
    from PIL.Image import Resampling

    size = (geometry.width, geometry.height)
    if image.size == size:
        return image
    scale = min(image.width / geometry.width, image.height / geometry.height)
    left, top = (image.width - scale * geometry.width) / 2, (image.height - scale * geometry.height) / 2
    if scale == 1 and left.is_integer() and top.is_integer():  # nothing to resample
        return image.crop((int(left), int(top), int(left) + geometry.width, int(top) + geometry.height))
    box = (max(left, 0.0), max(top, 0.0), min(image.width - left, image.width), min(image.height - top, image.height))
    return image.resize(size, Resampling.BILINEAR, box)


def _geometry(wanted: Wanted, own: tuple[int, int], channels: int) -> Geometry:
    """own: width and height of the file."""
    if isinstance(wanted, Geometry):
        return wanted
    if wanted is None and max(own) <= DEFAULT_SIDE:
        return Geometry(own[1], own[0], channels)
    side = wanted or DEFAULT_SIDE
    return Geometry(side, side, channels)


def _upright_size(image: "Image") -> tuple[int, int]:
    """Width and height as EXIF turns them; Pillow turns TIFF itself, its size included."""
    turned = image.format != "TIFF" and _orientation(image) >= 5
    width, height = image.size[::-1] if turned else image.size
    return width, height


def _orientation(image: "Image") -> int:
    if not {"exif", "xmp"} & image.info.keys():  # asking for EXIF otherwise makes Pillow decode a whole PNG
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
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels have more than 16 bits")
    scaled = values.astype(np.uint32)  # changed in place: an image may be large
    scaled *= 255
    scaled += 32767
    scaled //= 65535
    clear = image.info.get("transparency")  # one of the 16-bit values, in a PNG
    if isinstance(clear, int):
        scaled[values == clear] = 255
    return Image.fromarray(scaled.astype(np.uint8))


def _over_white(image: "Image") -> "Image":
    from PIL import Image

    if "A" not in image.mode.upper().replace("LAB", "") and "transparency" not in image.info:
        return image
    colour = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colour.size, (255, 255, 255, 255)), colour)


def attempt(read: Callable[[], T]) -> T | Unreadable:
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
def own_warnings() -> Iterator[None]:
    """Pillow warns of odd metadata and large images; what matters is refused by name instead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
