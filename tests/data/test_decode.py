"""Decoding: every kind of image that Pillow reads, and what cannot be read."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from foveal.data import Preprocess, decode_image
from foveal.data.decode import Geometry, Picture, Wanted, read_picture
from foveal.data.images import Originals
from foveal.data.pipeline import decode_files, originals, stack
from foveal.errors import DataError

RGB = np.random.default_rng(3).integers(0, 256, (6, 9, 3), np.uint8)


def like(height: int, width: int, channels: int, resample: str = "bilinear") -> Preprocess:
    return Preprocess(height, width, channels, (0.5,) * channels, (0.25,) * channels, resample)


def saved(folder: Path, image: Image.Image, name: str = "image.png", **options: Any) -> Path:
    image.save(folder / name, **options)
    return folder / name


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def test_rgb_as_it_is(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(RGB))
    np.testing.assert_array_equal(decode_image(path, like(6, 9, 3)), RGB)
    np.testing.assert_array_equal(decode_image(str(path), like(6, 9, 3, "none")), RGB)


def test_colour_to_grey_by_rec601(tmp_path: Path) -> None:
    grey = decode_image(saved(tmp_path, Image.fromarray(RGB)), like(6, 9, 1))
    assert grey.shape == (6, 9, 1)
    np.testing.assert_allclose(grey[..., 0], RGB @ [0.299, 0.587, 0.114], atol=0.51)


def test_grey_to_colour_by_repetition(tmp_path: Path) -> None:
    pixels = decode_image(saved(tmp_path, Image.fromarray(RGB[..., 0])), like(6, 9, 3))
    np.testing.assert_array_equal(pixels, np.repeat(RGB[..., :1], 3, axis=2))


@pytest.mark.parametrize("alpha", [0, 51, 255])
def test_alpha_over_white(tmp_path: Path, alpha: int) -> None:
    rgba = np.dstack([RGB, np.full((6, 9), alpha, np.uint8)])
    pixels = decode_image(saved(tmp_path, Image.fromarray(rgba)), like(6, 9, 3))
    np.testing.assert_allclose(pixels, RGB * (alpha / 255) + 255 * (1 - alpha / 255), atol=1)


def test_grey_with_alpha_stays_grey(tmp_path: Path) -> None:
    image = Image.merge("LA", [Image.fromarray(RGB[..., 0]), Image.new("L", (9, 6), 0)])
    path = saved(tmp_path, image)
    assert read_picture(path, None).grey
    assert (decode_image(path, like(6, 9, 1)) == 255).all()


def test_palette(tmp_path: Path) -> None:
    image = Image.fromarray(RGB).quantize(16)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode_image(saved(tmp_path, image), like(6, 9, 3)), expected)
    np.testing.assert_array_equal(decode_image(saved(tmp_path, image, "image.gif"), like(6, 9, 3)), expected)


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    image = Image.fromarray(RGB).quantize(4)
    index = np.asarray(image)
    pixels = decode_image(saved(tmp_path, image, transparency=2), like(6, 9, 3))
    assert (pixels[index == 2] == 255).all()
    np.testing.assert_array_equal(pixels[index != 2], np.asarray(image.convert("RGB"))[index != 2])


def test_one_bit(tmp_path: Path) -> None:
    image = Image.fromarray(RGB[..., 0] > 127)
    path = saved(tmp_path, image)
    assert read_picture(path, None).grey
    np.testing.assert_array_equal(decode_image(path, like(6, 9, 1))[..., 0], (RGB[..., 0] > 127) * 255)


def test_cmyk(tmp_path: Path) -> None:
    image = Image.new("CMYK", (9, 6), (0, 255, 255, 0))
    pixels = decode_image(saved(tmp_path, image, "image.tif"), like(6, 9, 3))
    np.testing.assert_array_equal(pixels, np.broadcast_to([255, 0, 0], (6, 9, 3)))
    jpeg = decode_image(saved(tmp_path, image, "image.jpg"), like(6, 9, 3))
    np.testing.assert_allclose(jpeg, np.broadcast_to([255, 0, 0], (6, 9, 3)), atol=3)


@pytest.mark.parametrize("name", ["image.png", "image.tif", "image.pgm"])
def test_sixteen_bits(tmp_path: Path, name: str) -> None:
    values = np.array([[0, 128, 129, 257], [32768, 65278, 65407, 65535]], np.uint16)
    path = saved(tmp_path, Image.fromarray(values), name)
    assert read_picture(path, None).grey
    expected = (values.astype(int) * 255 + 32767) // 65535
    np.testing.assert_array_equal(decode_image(path, like(2, 4, 1))[..., 0], expected)
    assert expected.tolist() == [[0, 0, 1, 1], [128, 254, 255, 255]]


def test_sixteen_bits_with_a_transparent_value(tmp_path: Path) -> None:
    values = np.array([[1000, 1001, 1000, 65535]], np.uint16)
    path = saved(tmp_path, Image.fromarray(values), transparency=1000)
    assert decode_image(path, like(1, 4, 1))[..., 0].tolist() == [[255, 4, 255, 255]]


def test_sixteen_bits_beyond_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.array([[1 << 20]], np.int32)), "deep.tif")
    with pytest.raises(DataError, match=r"deep\.tif cannot be read: its pixels have more than 16 bits"):
        decode_image(path, like(1, 1, 1))


@pytest.mark.parametrize("name", ["image.ppm", "image.bmp", "image.tga", "image.webp", "image.tif", "image.pcx"])
def test_other_formats(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, Image.fromarray(RGB), name, **({"lossless": True} if name.endswith("webp") else {}))
    np.testing.assert_array_equal(decode_image(path, like(6, 9, 3)), RGB)
    np.testing.assert_array_equal(read_picture(path.read_bytes(), None).pixels, RGB)


@pytest.mark.parametrize("name", ["image.gif", "image.png", "image.tif", "image.webp"])
def test_the_first_of_several_frames(tmp_path: Path, name: str) -> None:
    frames = [Image.new("RGB", (9, 6), colour) for colour in ((255, 0, 0), (0, 0, 255), (0, 255, 0))]
    more = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **more)
    with Image.open(path) as image:
        assert image.n_frames == 3  # type: ignore[attr-defined]
    assert (decode_image(path, like(6, 9, 3)) == [255, 0, 0]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_a_jpeg(tmp_path: Path, orientation: int) -> None:
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16], upright[16:, 32:] = (255, 0, 0), (0, 0, 255)
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # the transposition that undoes the turn
    image = Image.fromarray(upright)
    stored = image if back is None else image.transpose(Image.Transpose(back))
    path = saved(tmp_path, stored, "photo.jpg", exif=exif(orientation), quality=95, subsampling=0)
    assert (read_picture(path, None).width, read_picture(path, None).height) == (48, 32)
    np.testing.assert_allclose(decode_image(path, like(32, 48, 3)).astype(int), upright, atol=40)


@pytest.mark.parametrize("name", ["photo.jpg", "photo.webp"])
def test_orientation_in_xmp_alone(tmp_path: Path, name: str) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    stored = Image.new("RGB", (48, 32), (255, 0, 0))
    stored.paste((0, 0, 255), (0, 0, 16, 32))  # blue at the left, which is the top when upright
    picture = read_picture(saved(tmp_path, stored, name, xmp=xmp), None)
    assert (picture.width, picture.height) == (32, 48)
    assert (picture.pixels[:12, :, 2] > 200).all()
    assert (picture.pixels[20:, :, 0] > 200).all()


@pytest.mark.parametrize("mode", ["YCbCr", "LAB", "HSV"])
def test_other_colour_spaces(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(RGB).convert("YCbCr") if mode == "YCbCr" else Image.new(mode, (9, 6), (100, 128, 128))
    try:
        path = saved(tmp_path, image, "image.tif")
    except OSError:  # this version of Pillow does not write it
        assert mode == "HSV"
        return
    with Image.open(path) as stored:
        expected = np.asarray(stored.convert("RGB"))
    np.testing.assert_array_equal(decode_image(path, like(6, 9, 3)), expected)


def test_sixteen_bits_of_either_end(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32768, 65535]], np.uint16)
    little = saved(tmp_path, Image.fromarray(values), "little.tif").read_bytes()
    big = saved(tmp_path, Image.frombytes("I;16B", (4, 1), values.astype(">u2").tobytes()), "big.tif").read_bytes()
    assert (little[:2], big[:2]) == (b"II", b"MM")
    for data in (little, big):
        picture = read_picture(data, None)
        assert picture.grey
        assert picture.pixels.reshape(-1).tolist() == [0, 1, 128, 255]


def test_floating_point_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.ones((4, 4), np.float32)), "float.tif")
    with pytest.raises(DataError, match=r"float\.tif cannot be read: its pixels are floating-point"):
        decode_image(path, like(4, 4, 1))


@pytest.mark.parametrize("name", ["image.png", "image.tif", "image.webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path: Path, orientation: int, name: str) -> None:
    # what the file must hold so that it shows as RGB when turned as the tag says
    stored = {
        1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1],
        5: RGB.swapaxes(0, 1), 6: np.rot90(RGB, 1), 7: RGB[::-1, ::-1].swapaxes(0, 1), 8: np.rot90(RGB, -1),
    }[orientation]  # fmt: skip
    options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
    path = saved(tmp_path, Image.fromarray(np.ascontiguousarray(stored)), name, exif=exif(orientation), **options)
    picture = read_picture(path, 64)
    assert (picture.height, picture.width) == (6, 9)
    np.testing.assert_array_equal(decode_image(path, like(6, 9, 3)), RGB)


def test_damaged_exif_does_not_lose_the_image(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(RGB), "image.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    assert decode_image(path, like(6, 9, 3)).shape == (6, 9, 3)


def test_shorter_side_to_size_then_centre(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255  # the centre square
    pixels = decode_image(saved(tmp_path, Image.fromarray(wide)), like(10, 10, 3))
    assert (pixels[:, 1:-1] == 255).all()
    tall = decode_image(saved(tmp_path, Image.fromarray(wide.swapaxes(0, 1))), like(10, 10, 3))
    np.testing.assert_array_equal(tall, pixels.swapaxes(0, 1))


def test_a_strip_of_one_pixel_is_not_blown_up(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("L", (60000, 1), 77))
    assert (decode_image(path, like(64, 64, 1)) == 77).all()


def test_large_jpeg_decodes_at_reduced_scale_to_nearly_the_same(tmp_path: Path) -> None:
    ramp = np.add.outer(np.arange(800), np.arange(1000)).astype(np.float64) / 1798 * 255
    path = saved(tmp_path, Image.fromarray(ramp.astype(np.uint8)), "large.jpg", quality=95)
    pixels = decode_image(path, like(40, 50, 1))[..., 0]
    expected = ramp.reshape(40, 20, 50, 20).mean(axis=(1, 3))
    np.testing.assert_allclose(pixels, expected, atol=4)


@pytest.mark.parametrize("wanted", [Geometry(5, 5, 3), Geometry(7, 5, 1), 5, 100, None], ids=str)
def test_many_files_as_each_by_itself(tmp_path: Path, wanted: Wanted) -> None:
    paths = [saved(tmp_path, Image.fromarray(np.roll(RGB, i)), f"{i}.png") for i in range(70)]
    paths[33] = saved(tmp_path, Image.fromarray(RGB[..., 0]), "grey.png")
    want = wanted if isinstance(wanted, Geometry) else Geometry(wanted or 6, wanted or 9, 3)
    expected = np.stack([read_picture(path, want).pixels for path in paths])
    for threads in (1, 4):
        told: list[int] = []
        for files in (paths, [path.read_bytes() for path in paths]):
            pictures = [p for p in decode_files(files, wanted, threads, told.append) if isinstance(p, Picture)]
            assert len(pictures) == 70
            assert originals(pictures).modes == {"L": 1, "RGB": 69}  # type: ignore[union-attr]
            np.testing.assert_array_equal(stack(pictures, wanted), expected)
        assert told[-1] == 70


@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("other", [(6, 9), (9, 6), (64, 64), (65, 20), (300, 200)])
def test_the_size_of_all_is_settled_at_the_end(tmp_path: Path, other: tuple[int, int], colours: bool) -> None:
    """As if the files' headers had been read first: nothing of an image is lost before all are known."""
    random, grey = np.random.default_rng(1), Image.fromarray(RGB[..., 0])
    odd = Image.fromarray(random.integers(0, 256, (*other, 3) if colours else other, np.uint8))
    translucent = Image.merge("LA", [grey, Image.fromarray(RGB[..., 1])])
    deep = Image.fromarray(RGB[..., 0].astype(np.uint16) * 200)
    images = [grey, grey.convert("1"), translucent, deep, odd]
    paths = [saved(tmp_path, image, f"{i}.png") for i, image in enumerate(images)]
    paths.append(saved(tmp_path, grey, "transparent.png", transparency=int(RGB[0, 0, 0])))
    side = Geometry(6, 9, 1) if other == (6, 9) else Geometry(64, 64, 1)
    want = Geometry(side.height, side.width, 3 if colours else 1)
    pictures = [p for p in decode_files(paths, None, 2) if isinstance(p, Picture)]
    np.testing.assert_array_equal(stack(pictures, None), np.stack([read_picture(path, want).pixels for path in paths]))


def test_what_the_files_were_like(tmp_path: Path) -> None:
    sizes = [(9, 6), (100, 2), (30, 20), (20, 30), (8, 8)]
    paths = [saved(tmp_path, Image.new("RGB", size), f"{i}.bmp") for i, size in enumerate(sizes)]
    paths[2] = saved(tmp_path, Image.new("L", (20, 30)), "turned.jpg", exif=exif(6))
    facts = originals([p for p in decode_files(paths, 4, 1) if isinstance(p, Picture)])
    assert facts is not None
    assert (facts.smallest, facts.median, facts.largest) == ((9, 6), (100, 2), (30, 20))
    assert facts.formats == {"BMP": 4, "JPEG": 1}
    assert Originals.from_json(facts.to_json()) == facts


@pytest.mark.parametrize("name", ["image.png", "image.jpg", "image.gif", "image.bmp", "image.tif", "image.webp"])
@pytest.mark.parametrize("cut", [0.1, 0.6])
def test_cut_files_are_named(tmp_path: Path, name: str, cut: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), name)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(DataError, match=f"{name} cannot be read: ") as raised:
        decode_image(path, like(40, 40, 3))
    assert "\n" not in str(raised.value)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png cannot be read: no such file"):
        decode_image(tmp_path / "gone.png", like(4, 4, 3))
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match=r"text\.png cannot be read: not an image that Pillow knows"):
        decode_image(tmp_path / "text.png", like(4, 4, 3))


def test_decompression_bomb_is_refused_by_name(tmp_path: Path) -> None:
    plain = io.BytesIO()
    Image.new("1", (8, 8)).save(plain, "bmp")
    header = bytearray(plain.getvalue())
    header[18:26] = (30000).to_bytes(4, "little") * 2
    (tmp_path / "bomb.bmp").write_bytes(header)
    with pytest.raises(DataError, match=r"bomb\.bmp cannot be read: too many pixels"):
        decode_image(tmp_path / "bomb.bmp", like(8, 8, 1))
