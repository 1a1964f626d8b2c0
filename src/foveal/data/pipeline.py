"""Many image files → one array: one reader, as many decoders as threads, and no more in memory than they can chew.

Pillow decodes with the interpreter's lock released, so threads share the work. Which pixels come out depends on the
files alone: each file is decoded by itself, and what depends on all of them (is every one grey? are all of one small
size?) is settled at the end.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveal.data.decode import (
    DEFAULT_SIDE,
    Geometry,
    Picture,
    Unreadable,
    Wanted,
    attempt,
    fit,
    own_warnings,
    read_picture,
)  # fmt: skip
from foveal.data.images import Originals

# a file to decode: its path, or its bytes; or why there is nothing to decode, which is passed on
File = Path | bytes | Unreadable
Result = Picture | Unreadable

_BATCH_FILES: Final = 16  # files that a decoder takes at once: handing over costs about as much as a tiny image
_BATCH_BYTES: Final = 1 << 20
_HELD_BYTES: Final = 64 << 20  # bytes of files that may wait; one larger file may alone


def decode_files(
    files: Iterable[File], wanted: Wanted, threads: int, tell: Callable[[int], None] = lambda count: None
) -> list[Result]:
    """All files, in their order. tell is called now and then with the number of those that are done."""
    with own_warnings():
        if threads == 1:
            results: list[Result] = []
            for file in files:
                results.append(_decode(file, wanted))
                tell(len(results))
            return results
        return _in_threads(files, wanted, threads, tell)


def _in_threads(files: Iterable[File], wanted: Wanted, threads: int, tell: Callable[[int], None]) -> list[Result]:
    results: list[Result] = []
    waiting: deque[tuple[Future[list[Result]], int]] = deque()
    held = 0
    pool = ThreadPoolExecutor(threads, "foveal-decode")
    try:
        for batch, size in _batches(files):
            waiting.append((pool.submit(lambda batch: [_decode(file, wanted) for file in batch], batch), size))
            held += size
            while waiting and (len(waiting) > 2 * threads or held > _HELD_BYTES or waiting[0][0].done()):
                future, size = waiting.popleft()
                results += future.result()
                held -= size
                tell(len(results))
        for future, _ in waiting:
            results += future.result()
            tell(len(results))
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def _batches(files: Iterable[File]) -> Iterator[tuple[list[File], int]]:
    """(some files, bytes of them that are in memory)."""
    batch: list[File] = []
    size = 0
    for file in files:
        batch.append(file)
        size += len(file) if isinstance(file, bytes) else 0
        if len(batch) == _BATCH_FILES or size >= _BATCH_BYTES:
            yield batch, size
            batch, size = [], 0
    if batch:
        yield batch, size


def _decode(file: File, wanted: Wanted) -> Result:
    return file if isinstance(file, Unreadable) else attempt(lambda: read_picture(file, wanted))


def stack(pictures: list[Picture], wanted: Wanted) -> NDArray[np.uint8]:
    """Pictures, one or more, that `decode_files` made for `wanted` → (N, H, W, C). The list is emptied on the way.

    Without a Geometry: one channel if all are grey; their own size, where that is wanted and all have the same of at
    most 64, else a square of 64. (A grey picture repeated is the same as one decoded in colour, and a picture of at
    most 64 was decoded whole: so the result is what decoding each file for this geometry would give.)
    """
    geometry = _common(pictures, wanted)
    pixels = np.empty((len(pictures), geometry.height, geometry.width, geometry.channels), np.uint8)
    for i in range(len(pictures) - 1, -1, -1):
        pixels[i] = _resized(pictures.pop().pixels, geometry)
    return pixels


def _common(pictures: Sequence[Picture], wanted: Wanted) -> Geometry:
    if isinstance(wanted, Geometry):
        return wanted
    channels = 1 if all(picture.grey for picture in pictures) else 3
    sizes = {(picture.width, picture.height) for picture in pictures}
    width, height = next(iter(sizes))
    if wanted is None and len(sizes) == 1 and max(width, height) <= DEFAULT_SIDE:
        return Geometry(height, width, channels)
    side = wanted or DEFAULT_SIDE
    return Geometry(side, side, channels)


def _resized(pixels: NDArray[np.uint8], geometry: Geometry) -> NDArray[np.uint8]:
    height, width, channels = pixels.shape
    if (height, width) == (geometry.height, geometry.width):
        return pixels
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    return np.asarray(fit(image, geometry)).reshape(geometry.height, geometry.width, channels)


def originals(pictures: Sequence[Picture]) -> Originals | None:
    """What the files of some pictures were like; None without any."""
    if not pictures:
        return None
    sizes = sorted(((p.width, p.height) for p in pictures), key=lambda size: (size[0] * size[1], size))
    formats, modes = Counter(p.format for p in pictures), Counter(p.mode for p in pictures)
    return Originals(
        sizes[0], sizes[len(sizes) // 2], sizes[-1], dict(sorted(formats.items())), dict(sorted(modes.items()))
    )
