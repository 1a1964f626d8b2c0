"""The short way to the pixels of plain JPEGs: where it is taken, and that it ends where Pillow's own way does."""

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foveal.data.decode import Geometry, _opened, _short_way, fit, read_picture
from foveal.data.jpeg import plain_jpeg

SOFT = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)).resize((90, 61), Image.BICUBIC)


def jpeg(image: Image.Image = SOFT, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "jpeg", **options)
    return file.getvalue()


def with_orientation(value: int) -> dict[str, Any]:
    tags = Image.Exif()
    tags[0x0112] = value
    return {"exif": tags}


PLAIN: dict[str, bytes] = {
    "rgb": jpeg(),
    "grey": jpeg(SOFT.convert("L")),
    "progressive": jpeg(progressive=True),
    "progressive_grey": jpeg(SOFT.convert("L"), progressive=True),
    "full_chroma": jpeg(subsampling=0, quality=98),
    "half_chroma": jpeg(subsampling=1),
    "restarts": jpeg(restart_marker_blocks=3),
    "comment": jpeg(comment="hello"),
    "not_ycc": jpeg(keep_rgb=True),
    "one_pixel": jpeg(Image.new("RGB", (1, 1), "red")),
    "wide": jpeg(Image.new("L", (60000, 1), 9)),
    "trailing": jpeg() + b"more",
}
OTHER: dict[str, bytes] = {
    "exif": jpeg(**with_orientation(6)),
    "exif_that_does_nothing": jpeg(**with_orientation(1)),
    "cmyk": jpeg(Image.new("CMYK", (9, 6), (0, 255, 255, 0))),
    "profile": jpeg(icc_profile=b"x" * 200),
    "many_pixels": jpeg(Image.new("L", (1025, 1024))),
    "empty": b"",
    "two_bytes": b"\xff\xd8",
    "text": b"\xff\xd8hello hello hello",
    "no_scan": jpeg()[:100],
    "no_jpeg": b"GIF89a" + bytes(100),
}


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("wanted", [None, 20, Geometry(30, 40, 1), Geometry(61, 90, 3)], ids=str)
def test_the_same_pixels_as_by_opening(name: str, wanted: Any) -> None:
    short, long = _short_way(PLAIN[name], wanted), _opened(PLAIN[name], wanted)
    assert short is not None
    assert short.pixels.tobytes() == long.pixels.tobytes()
    assert (short.pixels.shape, short.width, short.height, short.format, short.mode) == (
        long.pixels.shape, long.width, long.height, long.format, long.mode,
    )  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_what_needs_more_is_opened(name: str) -> None:
    assert plain_jpeg(OTHER[name]) is None


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("side", [20, 38, 61, 76, 152, 153, 305, 306, 600])
def test_shrunk_while_it_is_decoded_as_by_opening(side: int, subsampling: int, grey: bool) -> None:
    large = SOFT.resize((901, 610)).convert("L" if grey else "RGB")
    data = jpeg(large, subsampling=subsampling)
    short = _short_way(data, side)
    assert short is not None
    assert short.pixels.tobytes() == _opened(data, side).pixels.tobytes()
    whole = np.asarray(fit(large, Geometry(side, side, 3)), np.int64).reshape(short.pixels.shape)
    shifted = np.abs(whole[1:] - whole[:-1]).mean()  # by one pixel
    assert np.abs(short.pixels - whole).mean() < 0.5 * shifted + 2  # 2 levels of JPEG's own noise


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.99])
def test_damage_is_said_as_by_opening(keep: float) -> None:
    cut = jpeg()[: int(keep * len(jpeg()))]
    errors = []
    for read in (read_picture, _opened):
        with pytest.raises(OSError, match="truncated") as raised:
            read(cut, None)
        errors.append(str(raised.value))
    assert errors[0] == errors[1]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["rgb", "grey", "progressive", "restarts"]), st.data())
def test_damaged_bytes_give_the_same_pixels_or_no_short_way(name: str, data: st.DataObject) -> None:
    changed = bytearray(PLAIN[name])
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    short = _short_way(bytes(changed), 30)
    if short is None:
        return
    try:
        long = _opened(bytes(changed), 30)
    except Exception:
        return  # Pillow objects to a table that libjpeg does not need
    assert short.pixels.tobytes() == long.pixels.tobytes()
