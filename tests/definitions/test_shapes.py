"""Integer arithmetic of shapes: where the padding goes and how many windows fit."""

import itertools
import pickle

import pytest

from foveal.errors import ShapeError, UsageError
from foveal.layers import AvgPool2d, Conv2d, Dense, GlobalAvgPool, MaxPool2d, ReLU, Residual, Sequential
from foveal.shapes import normalise_padding, output_length, padded_channels, pads, pair


def test_same_gives_the_size_divided_by_the_stride_rounded_up() -> None:
    for size, kernel, stride in itertools.product(range(1, 12), range(1, 6), range(1, 5)):
        top, bottom, left, right = pads("same", (size, 7), (kernel, 3), (stride, 1))
        assert output_length(size, kernel, stride, top, bottom) == -(-size // stride)
        assert bottom - top in (0, 1)  # the odd one goes after
        assert (left, right) == (1, 1)


def test_other_paddings() -> None:
    assert pads("valid", (5, 5), (3, 3), (1, 1)) == (0, 0, 0, 0)
    assert pads(2, (5, 5), (3, 3), (1, 1)) == (2, 2, 2, 2)
    assert pads((1, 2, 3, 4), (5, 5), (3, 3), (1, 1)) == (1, 2, 3, 4)


@pytest.mark.parametrize("ceil", [False, True])
def test_windows_counted_one_by_one(ceil: bool) -> None:
    for size, kernel, stride, before, after in itertools.product(range(1, 9), range(1, 5), range(1, 5), (0, 1), (0, 1)):
        length, count = size + before + after, 1
        if length < kernel or (ceil and 2 * max(before, after) > kernel):  # what pools refuse
            continue
        while count * stride + kernel <= length:  # whole windows
            count += 1
        uncovered = (count - 1) * stride + kernel < length
        if ceil and uncovered and count * stride < before + size:  # one more, if it begins before the end
            count += 1
        assert output_length(size, kernel, stride, before, after, ceil=ceil) == count


def test_published_poolings() -> None:
    assert [output_length(size, 3, 2, 0, 0, ceil=True) for size in (32, 16, 28, 14, 8)] == [16, 8, 14, 7, 4]


def test_a_window_that_hangs_over_from_the_start_counts_in_ceil_mode() -> None:
    """As in PyTorch: where the first window would be the last one too."""
    assert output_length(2, 3, 2, 0, 0, ceil=True) == 1
    assert MaxPool2d(3, 2, ceil_mode=True).geometry((1, 2, 2)) == ((0, 1, 0, 1), (1, 1))
    for stride, ceil in ((1, True), (2, False)):
        with pytest.raises(ShapeError, match="a window of 3 does not fit into 2"):
            output_length(2, 3, stride, 0, 0, ceil=ceil)


@pytest.mark.parametrize(("channels", "stored"), [(1, 16), (15, 16), (16, 16), (17, 32), (192, 192)])
def test_padded_channels(channels: int, stored: int) -> None:
    assert padded_channels(channels) == stored


@pytest.mark.parametrize("value", [0, (3,), (1, 2, 3), (3, 0), (2.0, 2), "3"])
def test_pair_refuses(value: object) -> None:
    with pytest.raises(UsageError, match=r"size must be (one or two integers|an integer of at least 1|at least 1)"):
        pair(value, "size")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [-1, "full", (1, 2), (0, 0, 0, -1), 1.5])
def test_padding_refuses(value: object) -> None:
    with pytest.raises(UsageError, match="padding must be"):
        normalise_padding(value)  # type: ignore[arg-type]


GEOMETRIES = {
    "conv_same_with_stride": (Conv2d(1, (3, 2), stride=2, padding="same"), (1, 1, 0, 0), (3, 3)),
    "conv_four_sides": (Conv2d(1, 3, padding=(0, 1, 2, 3)), (0, 1, 2, 3), (4, 9)),
    "conv_dilated": (Conv2d(1, 3, dilation=2), (0, 0, 0, 0), (1, 2)),
    "conv_dilated_same": (Conv2d(1, (3, 2), stride=(2, 1), padding="same", dilation=(2, 3)), (2, 2, 1, 2), (3, 6)),
    "pool_rest_dropped": (MaxPool2d(2), (0, 0, 0, 0), (2, 3)),
    "pool_ceil_hangs_below": (MaxPool2d(2, ceil_mode=True), (0, 1, 0, 0), (3, 3)),
    "pool_ceil_hangs_on_both": (AvgPool2d(4, 4, 1, ceil_mode=True), (1, 2, 1, 1), (2, 2)),
    "pool_ceil_hangs_right": (AvgPool2d(4, 5, 1, ceil_mode=True), (1, 3, 1, 2), (2, 2)),
    "pool_border_not_all_used": (MaxPool2d(3, 2, padding=1), (1, 1, 1, 1), (3, 3)),
}


@pytest.mark.parametrize("case", GEOMETRIES)
def test_geometry_of_images_five_by_six(case: str) -> None:
    layer, border, outputs = GEOMETRIES[case]
    assert layer.geometry((1, 5, 6)) == (border, outputs)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (
            Conv2d(4, 5),
            (3, 4, 8),
            "its kernel of 5×5 does not fit into its input, images (C, H, W) of shape (3, 4, 8); use larger images, or "
            "fewer layers before it that make them smaller",
        ),
        (
            Conv2d(4, (9, 3), padding=(1, 2, 0, 1)),
            (3, 4, 8),
            "its kernel of 9×3 does not fit into its input, images (C, H, W) of shape (3, 4, 8), with its padding "
            "(3, 7, 9); use larger images",
        ),
        (
            Conv2d(4, 3, padding=1, dilation=(4, 1)),
            (3, 6, 8),
            "its dilated kernel of 9×3 does not fit into its input, images (C, H, W) of shape (3, 6, 8), with its "
            "padding (3, 8, 10); use larger images",
        ),
        (Conv2d(4, 3, groups=2), (3, 6, 8), "groups=2 must divide the channels of its input, but there are 3"),
        (
            MaxPool2d(3, 2, ceil_mode=True),
            (96, 1, 1),
            "its window of 3×3 does not fit into its input, images (C, H, W) of shape (96, 1, 1); use larger images",
        ),
        (
            AvgPool2d((5, 2), padding=(1, 0)),
            (8, 2, 4),
            "of 5×2 does not fit into its input, images (C, H, W) of shape (8, 2, 4), with its padding (8, 4, 4);",
        ),
        (
            Conv2d(4, 3),
            (10,),
            "Conv2d takes images (C, H, W), but its input is a vector of shape (10,); put it before Flatten, "
            "GlobalAvgPool and Dense",
        ),
        (MaxPool2d(2), (10,), "MaxPool2d takes images (C, H, W), but its input is a vector of shape (10,)"),
        (AvgPool2d(2), (10,), "AvgPool2d takes images (C, H, W), but its input is a vector of shape (10,)"),
        (GlobalAvgPool(), (10,), "GlobalAvgPool takes images (C, H, W), but its input is a vector of shape (10,)"),
        (
            Dense(3),
            (3, 8, 8),
            "Dense takes vectors (F,), but its input is images (C, H, W) of shape (3, 8, 8); put Flatten() or "
            "GlobalAvgPool() before it",
        ),
    ],
    ids=[
        "conv_too_large",
        "conv_padded",
        "conv_dilated_too_large",
        "conv_groups",
        "max_too_large",
        "mean_padded",
        "conv_vector",
        "max_vector",
        "mean_vector",
        "gap_vector",
        "dense_image",
    ],
)
def test_what_does_not_fit_is_named(layer: object, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ShapeError) as caught:
        layer.out_shape(shape)  # type: ignore[attr-defined]
    assert words in str(caught.value)


MISFITS = {
    "nested": (
        Sequential(ReLU(), Sequential(Sequential(Conv2d(4, 3), Dense(3)))),
        "layer 1.0.1 (Dense): Dense takes vectors",
    ),
    "body": (
        Sequential(*[ReLU()] * 3, Residual(Sequential(ReLU(), Conv2d(4, 9)))),
        "layer 3.body.1 (Conv2d): ",
    ),
    "shortcut": (
        Sequential(Residual(ReLU(), Sequential(ReLU(), Residual(Dense(3))))),
        "layer 0.shortcut.1.body.0 (Dense): Dense takes vectors",
    ),
    "branches": (
        Sequential(ReLU(), Residual(Conv2d(64, 3, padding=1), Conv2d(32, 1))),
        "layer 1 (Residual): its body gives (64, 8, 8), its shortcut (32, 8, 8); "
        "they are added, so they must be the same",
    ),
    "input": (
        Sequential(Residual(Conv2d(64, 3, 2, 1))),
        "layer 0 (Residual): its body gives (64, 4, 4), its shortcut (2, 8, 8), which is its input; give it a shortcut "
        "that makes them the same, such as Conv2d(64, 1, stride=2)",
    ),
    "input_no_projection": (
        Sequential(Residual(Conv2d(2, 2))),
        "layer 0 (Residual): its body gives (2, 7, 7), its shortcut (2, 8, 8), which is its input; give it a shortcut "
        "that makes them the same",
    ),
    "nested_branches": (
        Sequential(ReLU(), Residual(Sequential(ReLU(), Residual(GlobalAvgPool())))),
        "layer 1.body.1 (Residual): its body gives (2,), its shortcut (2, 8, 8), which is its input; "
        "give it a shortcut that makes them the same",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_places_of_nested_layers_are_named(case: str) -> None:
    net, words = MISFITS[case]
    with pytest.raises(ShapeError) as caught:
        net.out_shape((2, 8, 8))
    assert str(caught.value).startswith(words)
    if words.endswith("same"):
        assert str(caught.value) == words
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (type(caught.value), str(caught.value))


def test_sequential_names_the_place() -> None:
    with pytest.raises(ShapeError, match=r"^layer 2 \(Dense\): Dense takes vectors"):
        Sequential(Conv2d(4, 3), ReLU(), Dense(10)).out_shape((1, 8, 8))
