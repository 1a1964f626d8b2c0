"""A short way to the pixels of plain small JPEGs, which cost Pillow more to open than to decode.

Pillow's JpegImagePlugin reads every marker in Python, with the interpreter's lock held, and then hands the whole file
to libjpeg, which reads them again. Here only what decides whether that hand-over is all there is to do is looked at:
baseline or progressive, 8 bits, grey or three colours, no EXIF (which may turn the image), no other frames, small.
The decoder is the same, so the pixels are.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST: Final = 1 << 20  # pixels, from which opening no longer matters
_FRAMES: Final = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive; the others are rare
# tables, restart interval, comment, JFIF, Adobe: they say nothing that Pillow would act on here
_SKIPPED: Final = frozenset((0xC4, 0xDB, 0xDD, 0xFE, 0xE0, 0xEE))
_SCAN: Final = 0xDA
_MODES: Final = {1: "L", 3: "RGB"}


def plain_jpeg(data: bytes) -> tuple[str, int, int] | None:
    """(mode, width, height) of a JPEG that `decode_plain` decodes as Pillow would; None for any other file."""
    if data[:2] != b"\xff\xd8":
        return None
    found, at, end = None, 2, len(data)
    while at + 9 < end and data[at] == 0xFF:
        marker, length = data[at + 1], (data[at + 2] << 8) + data[at + 3]
        if marker in _FRAMES and found is None:
            height, width = (data[at + 5] << 8) + data[at + 6], (data[at + 7] << 8) + data[at + 8]
            mode = _MODES.get(data[at + 9])
            if data[at + 4] != 8 or mode is None or not 0 < width * height <= LARGEST:
                return None
            found = (mode, width, height)
        elif marker == _SCAN:
            return found
        elif marker not in _SKIPPED:
            return None
        at += 2 + length
    return None


def decode_plain(data: bytes, mode: str, width: int, height: int, reduction: int = 1) -> "Image | None":
    """The image, or None if it is damaged: Pillow's own reader then says how.

    reduction: 1, 2, 4 or 8, by which libjpeg shrinks it, as `Image.draft` asks it to.
    """
    from PIL import Image

    size = -(-width // reduction), -(-height // reduction)
    try:
        return Image.frombytes(mode, size, data, "jpeg", mode, "", reduction, 0)
    except (ValueError, OSError):
        return None
