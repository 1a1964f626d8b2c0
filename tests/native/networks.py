"""Small networks that reach the edges of every compute kernel, and their definition run layer by layer in float64.

A case is named by the edge it hits. Tiles are 14 × 32 (AVX-512), 6 × 16 (AVX2, NEON), 2 × 16 (baseline) outputs; panels
of weights are 32 wide; channels are stored in multiples of 16; reductions are cut at 512, rows at 256 and 8 tiles.
"""

from dataclasses import dataclass

import numpy as np

import foveal as fv
from foveal.layers import LayerRandom, SoftmaxCrossEntropy
from foveal.layers.base import Context
from foveal.params import ParamLayout

Conv, Dense, ReLU, Flatten = fv.Conv2d, fv.Dense, fv.ReLU, fv.Flatten
Residual, Sequential = fv.Residual, fv.Sequential


@dataclass(frozen=True)
class Case:
    """A network, the shape of its images (C, H, W), and how many of them."""

    layers: tuple[fv.Layer, ...]
    shape: tuple[int, int, int]
    batch: int = 4

    @property
    def net(self) -> fv.Sequential:
        return fv.Sequential(*self.layers)


def _classified(*layers: fv.Layer) -> tuple[fv.Layer, ...]:
    return (*layers, Flatten(), Dense(3))


def _after_conv(*layers: fv.Layer) -> tuple[fv.Layer, ...]:
    """Behind a convolution, so that the gradient of the input is needed too."""
    return _classified(Conv(20, 3, padding=1), *layers)


UNBIASED = Conv(20, 3, padding=1, bias=False)

CASES: dict[str, Case] = {
    # dense: rows, inputs, units
    "dense_one_image": Case((Flatten(), Dense(5)), (1, 3, 3), 1),
    "dense_inputs_odd_units_1": Case((Flatten(), Dense(1), Dense(2)), (3, 5, 7)),
    "dense_rows_below_tile": Case((Flatten(), Dense(48), ReLU(), Dense(10)), (1, 4, 4), 3),
    "dense_rows_above_chunk": Case((Flatten(), Dense(33), ReLU(), Dense(17)), (1, 4, 4), 130),
    "dense_rows_above_batch_block": Case((Flatten(), Dense(18), ReLU(), Dense(4)), (1, 3, 3), 300),
    "dense_depth_above_block": Case((Flatten(), Dense(40), ReLU(), Dense(600), ReLU(), Dense(5)), (3, 14, 14), 5),
    "dense_without_bias": Case((Flatten(), Dense(32, bias=False), ReLU(), Dense(16, bias=False)), (1, 4, 4)),
    "dense_after_padded_channels": Case(_classified(Conv(5, 3), ReLU()), (2, 6, 5)),
    # convolution: channels, kernel, stride, padding, size
    "conv_channels_1": Case(_classified(Conv(16, 3, padding="same"), ReLU()), (1, 9, 7)),
    "conv_channels_3_kernel_5": Case(_classified(Conv(40, 5, padding="same"), ReLU()), (3, 8, 8)),
    "conv_channels_1_valid": Case(_classified(Conv(10, (3, 2), padding="valid")), (1, 6, 6)),
    "conv_channels_16_filters_16": Case(_after_conv(ReLU(), Conv(16, 3, padding="same"), ReLU()), (16, 5, 5)),
    "conv_filters_two_tiles_and_half": Case(_after_conv(Conv(70, 3, padding="same"), ReLU()), (1, 6, 6)),
    "conv_width_below_tile": Case(_after_conv(Conv(33, 3, padding="same")), (1, 3, 2)),
    "conv_width_above_tile": Case(_after_conv(Conv(16, 3, padding="same")), (1, 2, 33)),
    "conv_flattened_are_the_scores": Case((Conv(20, 3, padding=1), ReLU(), Conv(3, 2), Flatten()), (1, 3, 4)),
    "conv_one_pixel": Case(_after_conv(Conv(16, 3, padding="same")), (1, 1, 1)),
    "conv_stride_2_same_even": Case(_after_conv(ReLU(), Conv(17, 3, 2, "same"), ReLU()), (1, 8, 6)),
    "conv_stride_2_same_odd": Case(_after_conv(Conv(17, 3, 2, "same")), (1, 7, 9)),
    "conv_stride_3_above_kernel": Case(_after_conv(Conv(16, 2, 3)), (1, 11, 8)),
    "conv_stride_uneven": Case(_after_conv(Conv(16, (3, 2), (1, 2), (1, 0, 2, 1))), (1, 6, 7)),
    "conv_kernel_even_same": Case(_after_conv(Conv(16, 4, padding="same")), (1, 6, 6)),
    "conv_padding_above_kernel": Case(_after_conv(Conv(16, 2, padding=3)), (1, 4, 4)),
    "conv_kernel_whole_image": Case(_after_conv(Conv(24, (5, 6))), (1, 5, 6)),
    "conv_unused_border": Case(_after_conv(Conv(16, 2, 2)), (1, 7, 5)),
    "conv_first_layer_stride_2": Case(_classified(Conv(16, 3, 2, 1), ReLU()), (3, 9, 9)),
    "conv_first_layer_padding_above_kernel": Case(_classified(Conv(16, 2, padding=3)), (3, 4, 4)),
    "conv_chunk_of_channels": Case(_after_conv(ReLU(), Conv(130, 1), ReLU(), Conv(16, 3, padding=1)), (1, 4, 4), 2),
    "conv_1x1_one_matrix": Case(_after_conv(ReLU(), Conv(48, 1), ReLU(), Conv(10, 1)), (1, 5, 5)),
    "conv_1x1_stride_2": Case(_after_conv(Conv(16, 1, 2)), (1, 5, 5)),
    "conv_1x1_padded": Case(_after_conv(Conv(16, 1, padding=1)), (1, 3, 3)),
    "conv_1x1_on_images": Case(_classified(Conv(12, 1), ReLU()), (3, 4, 5)),
    "conv_bands_of_rows": Case(_after_conv(Conv(16, 3, padding="same")), (1, 40, 24), 1),
    "conv_dilated": Case(_after_conv(ReLU(), Conv(40, 3, padding="same", dilation=2), ReLU()), (1, 9, 8)),
    "conv_dilated_stride_2_then_pool": Case(
        _after_conv(ReLU(), Conv(16, (3, 2), (2, 1), 2, dilation=(1, 3)), ReLU(), fv.MaxPool2d(2)), (1, 9, 8)
    ),
    "conv_dilated_first": Case(_classified(Conv(16, 3, padding=2, dilation=2), ReLU()), (3, 9, 8)),
    "conv_dilated_beyond_image": Case(_after_conv(Conv(16, 3, padding="same", dilation=9)), (1, 4, 5)),
    "conv_groups_of_a_tile": Case(
        _classified(Conv(32, 3, padding=1), ReLU(), Conv(64, 3, padding=1, groups=2), ReLU()), (1, 6, 5)
    ),
    "conv_groups_below_a_tile": Case(
        _classified(Conv(32, 3, padding=1), ReLU(), Conv(64, 3, 2, 1, groups=8), ReLU(), Conv(20, 1, groups=4)),
        (1, 7, 6),
    ),
    "conv_groups_of_5": Case(_after_conv(ReLU(), Conv(12, 3, padding=2, dilation=2, groups=4), ReLU()), (1, 6, 6)),
    "conv_groups_first": Case(_classified(Conv(6, 3, padding=1, groups=3), ReLU()), (3, 6, 6)),
    "conv_groups_1x1_then_pool": Case(_after_conv(ReLU(), Conv(10, 1, groups=2), fv.MaxPool2d(2)), (1, 6, 6)),
    "depthwise": Case(_after_conv(ReLU(), Conv(20, 3, padding=1, groups=20), ReLU(), Conv(24, 1)), (1, 7, 19)),
    "depthwise_stride_2_dilated": Case(
        _after_conv(Conv(20, (3, 2), 2, (2, 1, 0, 3), bias=False, dilation=(2, 3), groups=20)), (1, 9, 8)
    ),
    "depthwise_first": Case(_classified(Conv(3, 3, padding=1, groups=3), ReLU()), (3, 6, 6)),
    "batch_norms_between_1x1": Case(  # of as many images as are shared out in whole ones, in uneven groups
        _classified(
            *(Conv(20, 1, bias=False), fv.BatchNorm(), ReLU(), Conv(33, 1, bias=False), fv.BatchNorm(), ReLU()),
            *(Conv(10, 1, bias=False), fv.BatchNorm()),
        ),
        (3, 6, 5),
        20,
    ),
    "depthwise_between_batch_norms": Case(
        _classified(
            UNBIASED,
            fv.BatchNorm(),
            ReLU(),
            Conv(20, 3, 2, 1, groups=20),
            ReLU(),
            Conv(24, 1, bias=False),
            fv.BatchNorm(),
            Conv(24, 5, padding="same", groups=24),
            ReLU(),
        ),
        (1, 8, 7),
        5,
    ),
    "depthwise_multiplied": Case(_after_conv(ReLU(), Conv(40, 3, padding=1, groups=20), ReLU()), (1, 6, 6)),
    # pooling
    "max_pool_even": Case(_after_conv(ReLU(), fv.MaxPool2d(2)), (1, 6, 8)),
    "max_pool_not_rectified": Case(_after_conv(fv.MaxPool2d(2)), (1, 6, 6)),
    "max_pool_overlapping_ceil": Case(_after_conv(ReLU(), fv.MaxPool2d(3, 2, ceil_mode=True)), (1, 8, 7)),
    "max_pool_padded": Case(_after_conv(fv.MaxPool2d((3, 2), (2, 1), (1, 1))), (1, 7, 6)),
    "max_pool_first": Case(_classified(fv.MaxPool2d(2), Conv(16, 3)), (3, 9, 8)),
    "max_pool_gap_between_windows": Case(_after_conv(fv.MaxPool2d(2, 3)), (1, 8, 8)),
    "avg_pool_ceil": Case(_after_conv(ReLU(), fv.AvgPool2d(3, 2, ceil_mode=True)), (1, 8, 7)),
    "avg_pool_padding_counted": Case(_after_conv(fv.AvgPool2d(3, 2, 1, ceil_mode=True, count_padding=True)), (1, 8, 8)),
    "avg_pool_padding_not_counted": Case(_after_conv(fv.AvgPool2d(3, 2, 1)), (1, 7, 8)),
    "avg_pool_first": Case(_classified(fv.AvgPool2d(2), Conv(16, 3)), (1, 8, 8)),
    "global_avg_pool": Case((Conv(35, 3), ReLU(), fv.GlobalAvgPool(), Dense(4)), (3, 7, 6)),
    "global_avg_pool_last": Case((Conv(35, 3), ReLU(), Conv(4, 1), fv.GlobalAvgPool()), (3, 7, 6)),
    # batch norm, dropout, activations on their own
    # (no bias before batch norm: its gradient is a sum that cancels, of which only rounding is left to compare)
    "batch_norm_after_conv": Case(
        _classified(UNBIASED, fv.BatchNorm(), ReLU(), Conv(16, 3, bias=False), fv.BatchNorm()), (1, 7, 7), 5
    ),
    "batch_norm_after_dense": Case((Flatten(), Dense(19, bias=False), fv.BatchNorm(), ReLU(), Dense(3)), (1, 5, 5), 6),
    "batch_norm_after_flatten": Case((Conv(5, 3, bias=False), Flatten(), fv.BatchNorm(), Dense(3)), (1, 5, 5), 6),
    "batch_norm_first": Case(_classified(fv.BatchNorm(), Conv(16, 3)), (3, 6, 6), 5),
    "batch_norm_then_pool": Case(_classified(UNBIASED, fv.BatchNorm(), ReLU(), fv.MaxPool2d(2)), (1, 6, 6), 3),
    "dropout_after_conv": Case(_after_conv(ReLU(), fv.Dropout(0.4), Conv(16, 3)), (1, 6, 6)),
    "dropout_after_dense": Case((Flatten(), Dense(70), ReLU(), fv.Dropout(0.5), Dense(3)), (1, 5, 5)),
    "dropout_after_flatten": Case((Conv(5, 2), Flatten(), fv.Dropout(0.5), Dense(3)), (1, 5, 4)),
    "dropout_after_flatten_first": Case((Flatten(), fv.Dropout(0.5), Dense(3)), (3, 4, 5)),
    "dropout_after_pool": Case(_after_conv(ReLU(), fv.MaxPool2d(2), fv.Dropout(0.2)), (1, 6, 6)),
    "dropout_first": Case(_classified(fv.Dropout(0.3), Conv(16, 3)), (3, 6, 6)),
    "relu_first": Case(_classified(ReLU(), Conv(16, 3)), (3, 6, 6)),
    "relu_after_pool": Case(_after_conv(fv.AvgPool2d(2), ReLU()), (1, 6, 6)),
    "relu_twice": Case(_after_conv(ReLU(), ReLU(), Conv(16, 3)), (1, 6, 6)),
    "leaky_relu": Case(_after_conv(fv.LeakyReLU(0.1), Conv(16, 3), fv.LeakyReLU()), (1, 6, 6)),
    "leaky_relu_after_dense": Case((Flatten(), Dense(21), fv.LeakyReLU(2.0), Dense(3)), (1, 4, 4)),
    "gelu": Case(_after_conv(fv.GELU(), Conv(16, 3), fv.GELU()), (1, 6, 6)),
    "gelu_first": Case(_classified(fv.GELU(), Conv(16, 3)), (3, 6, 6)),
    "sigmoid": Case(_after_conv(fv.Sigmoid(), Conv(16, 3, padding=1), fv.Sigmoid()), (1, 6, 6)),
    "sigmoid_of_padded_channels": Case((Conv(5, 3), fv.Sigmoid(), fv.GlobalAvgPool(), Dense(3)), (1, 6, 6)),
    "sigmoid_after_dense": Case((Flatten(), Dense(21), fv.Sigmoid(), Dense(3)), (1, 4, 4)),
    "sigmoid_after_flatten": Case((Conv(5, 3), Flatten(), fv.Sigmoid(), Dense(3)), (1, 6, 6)),
    "sigmoid_first": Case(_classified(fv.Sigmoid(), Conv(16, 3, padding=1)), (3, 6, 6)),
    "sigmoid_last": Case((Flatten(), Dense(3), fv.Sigmoid()), (1, 4, 4)),
    "tanh": Case(_after_conv(fv.Tanh(), Conv(16, 3), fv.Tanh()), (1, 6, 6)),
    "activations_and_batch_norm": Case(
        _classified(UNBIASED, fv.BatchNorm(), fv.Tanh(), Conv(16, 3, bias=False), fv.BatchNorm(), fv.GELU()), (1, 7, 7)
    ),
    "relu_after_flatten": Case((Conv(5, 3), Flatten(), ReLU(), Dense(3)), (1, 6, 6)),
}


# images of more tiles than Winograd's backward pass takes at a time: rows of tiles of eight images, and of what is left
CASES |= {
    f"winograd_bands_of_{tiles}_tiles": Case(
        _classified(
            Conv(33, 3, bias=False), fv.BatchNorm(), ReLU(), Conv(64, 3, padding=1, bias=False), fv.BatchNorm(), ReLU(),
            Conv(64, 3, padding=1), ReLU(), Conv(5, 3), fv.GlobalAvgPool(),
        ),
        shape, 10,
    )
    for tiles, shape in (("small", (3, 22, 18)), ("large", (3, 26, 22)))
} | {
    "winograd_bands_of_five": Case(_after_conv(ReLU(), Conv(100, 5, padding=2), fv.AvgPool2d(9)), (1, 21, 19), 9),
}  # fmt: skip


# branches: what they begin and end with, how they are stored, who reads the gradient of their sum
CASES |= {
    "residual_identity": Case(_after_conv(Residual(Conv(20, 3, padding=1)), Conv(16, 3)), (1, 6, 6)),
    "residual_then_relu": Case(_after_conv(ReLU(), Residual(Conv(20, 3, padding=1)), ReLU(), Conv(16, 3)), (1, 6, 6)),
    "residual_twice_rectified": Case(
        _after_conv(
            ReLU(), Residual(Sequential(Conv(20, 3, padding=1), ReLU(), Conv(20, 1))), ReLU(),
            Residual(Conv(20, 3, padding=1), Conv(20, 1)), ReLU(), fv.MaxPool2d(2),
        ),
        (1, 6, 6),
    ),
    "residual_projection": Case(
        _after_conv(
            ReLU(), Residual(Sequential(Conv(33, 3, 2, 1), ReLU(), Conv(33, 3, padding=1)), Conv(33, 1, 2)), ReLU(),
        ),
        (1, 7, 5),
    ),
    "residual_batch_norm": Case(
        _classified(
            UNBIASED, fv.BatchNorm(), ReLU(),
            Residual(
                Sequential(
                    Conv(24, 3, 2, 1, bias=False), fv.BatchNorm(), ReLU(), Conv(24, 1, bias=False), fv.BatchNorm()
                ),
                Sequential(Conv(24, 1, 2, bias=False), fv.BatchNorm()),
            ),
            ReLU(),
        ),
        (3, 8, 8), 5,
    ),
    "residual_body_changes_the_gradient_in_place": Case(
        _after_conv(Residual(Sequential(Conv(20, 1), ReLU(), fv.Dropout(0.4))), Residual(fv.Tanh(), fv.GELU())),
        (1, 5, 5),
    ),
    "residual_shortcut_changes_the_gradient_in_place": Case(
        _after_conv(Residual(fv.BatchNorm(), ReLU()), Residual(fv.Dropout(0.3), fv.LeakyReLU()), Residual(ReLU())),
        (1, 5, 5),
    ),
    "residual_both_are_the_input": Case(
        _after_conv(Residual(Sequential()), Residual(Sequential(), Sequential())), (1, 5, 5)
    ),
    "residual_first": Case(_classified(Residual(Conv(3, 3, padding=1)), Conv(16, 3)), (3, 6, 6)),
    "residual_first_without_parameters": Case(_classified(Residual(fv.Tanh()), Conv(16, 3)), (3, 6, 6)),
    "residual_first_of_pools": Case(_classified(Residual(fv.MaxPool2d(2), fv.AvgPool2d(2))), (3, 6, 6)),
    "residual_last": Case((Flatten(), Dense(3), Residual(Dense(3))), (1, 4, 4)),
    "residual_nested": Case(
        _after_conv(
            Residual(
                Sequential(
                    Residual(Sequential(Conv(20, 3, padding=1), ReLU()), Sequential(Conv(20, 1), fv.Dropout(0.2))),
                    ReLU(),
                    Sequential(Conv(20, 1), Residual(fv.Dropout(0.5))),
                ),
                Residual(Residual(Conv(20, 1))),
            ),
            fv.Dropout(0.1),
        ),
        (1, 5, 5), 3,
    ),
    "residual_of_vectors": Case((Flatten(), Dense(21), Residual(Sequential(Dense(21), ReLU())), Dense(3)), (1, 4, 4)),
    "residual_of_flattened_and_dense": Case((Conv(5, 3), Flatten(), Residual(Dense(45)), ReLU(), Dense(3)), (1, 5, 5)),
    "residual_of_dense_and_flattened": Case(
        (Conv(5, 3), ReLU(), Residual(Flatten(), Sequential(Flatten(), Dense(45))), Dense(3)), (1, 5, 5)
    ),
    "residual_of_flattened_images": Case(
        (Flatten(), Residual(Sequential(Dense(27), fv.Sigmoid())), Dense(3)), (3, 3, 3)
    ),
}  # fmt: skip


def batch_of(case: Case, classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    return random.standard_normal((case.batch, *case.shape), np.float32), random.integers(0, classes, case.batch)


@dataclass(frozen=True)
class Expected:
    """What the definitions say in float64 of one step: loss, gradients and running statistics by name, logits."""

    loss: float
    gradients: dict[str, np.ndarray]
    running: dict[str, np.ndarray]


def definition_step(
    case: Case, params: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray, seed: int, step: int
) -> Expected:
    """Forward and backward of one training step, by the layers' definitions."""
    weights = {name: value.astype(np.float64) for name, value in params.items()}
    context = Context(True, LayerRandom(seed, 0, step, 0), step)
    logits, saved = case.net.forward(x.astype(np.float64), weights, context)
    loss, saved_loss = SoftmaxCrossEntropy().forward(logits, y)
    dlogits = SoftmaxCrossEntropy().backward(saved_loss, y)
    _, gradients = case.net.backward(dlogits, saved, weights, context)
    running = {name: array for name, array in weights.items() if "running" in name}
    return Expected(loss, gradients, running)


def definition_logits(case: Case, params: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Inference in float64, by the layers' definitions."""
    weights = {name: value.astype(np.float64) for name, value in params.items()}
    return np.asarray(case.net.forward(x.astype(np.float64), weights, Context())[0])


def gradients_of(plan: fv.Plan) -> dict[str, np.ndarray]:
    """Gradients of the last step by name, in logical shape."""
    layout: ParamLayout = plan.layout
    flat = plan._memory.gradients.view(np.float32)
    return {name: layout.read(flat, name) for name, entry in layout.entries.items() if entry.group < 2}
