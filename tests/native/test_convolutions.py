"""What runs a convolution, by its shape and its groups."""

import numpy as np
import pytest
from small_plans import BATCH, ISA, SHAPE, images

import foveal as fv
from foveal.plan.conv import tiling_of, winograd_share


@pytest.mark.parametrize(
    ("kernel", "high", "wide", "tile", "edge", "points"),
    [
        (3, 32, 32, 4, 4, 48 * 48), (3, 16, 16, 4, 4, 24 * 24), (3, 7, 7, 4, 4, 12 * 12), (3, 4, 14, 4, 4, 6 * 24),
        (3, 6, 6, 6, 2, 8 * 8), (3, 14, 14, 6, 2, 20 * 20), (3, 28, 28, 6, 4, 38 * 38), (3, 14, 28, 6, 2, 20 * 40),
        (3, 96, 96, 6, 2, 128 * 128), (5, 16, 16, 4, 2, 32 * 32), (5, 14, 11, 4, 2, 30 * 24),
    ],
)  # fmt: skip
def test_winograd_tiles_by_shape(kernel: int, high: int, wide: int, tile: int, edge: int, points: int) -> None:
    tiling = tiling_of(kernel, high, wide)
    assert (tiling.tile, tiling.edge, tiling.multiplications) == (tile, edge, points)
    share = winograd_share(fv.Conv2d(16, kernel, padding=kernel // 2), (16, high, wide))
    assert share == points / (high * wide * kernel**2)


# ---- groups

GROUPED = fv.Sequential(
    fv.Conv2d(32, 3, padding=1), fv.Conv2d(48, 3, padding=1, groups=8), fv.Conv2d(48, 3, 2, 1, groups=3, bias=False),
    fv.Conv2d(48, 3, padding=2, dilation=2, groups=48), fv.Flatten(), fv.Dense(3),
)  # fmt: skip


@pytest.mark.parametrize("optimizer", [fv.Adam(), fv.Momentum(weight_decay=0.1)], ids=["adam", "momentum"])
def test_no_weight_appears_between_groups(optimizer: fv.Optimizer) -> None:
    x, y = images()
    plan = fv.Plan(GROUPED, SHAPE, BATCH, optimizer, seed=3, isa=ISA)
    for _ in range(3):
        plan.train_step(x, y, lr=0.05)
    padding = plan._flat.copy()
    for entry in plan.layout.entries.values():
        padding[entry.offset : entry.offset + entry.storage.size][entry.storage.index] = 0
    assert not padding.any()


def test_norms_of_filters_in_groups_are_limited_as_defined() -> None:
    x, y = images()
    plans = [fv.Plan(GROUPED, SHAPE, BATCH, fv.SGD(), 3, isa=isa, max_norm=0.7) for isa in (ISA, "reference")]
    for plan in plans:
        plan.train_step(x, y, lr=0.05)
    assert not any(step.function for step in plans[0]._training.steps)  # type: ignore[union-attr]
    for name, value in plans[1].params.items():
        np.testing.assert_allclose(plans[0].params[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
        if name.endswith("weight"):
            assert np.linalg.norm(value.reshape(len(value), -1), axis=1).max() <= 0.7 * (1 + 1e-6)


def test_what_runs_a_convolution_in_groups() -> None:
    def kernels(layer: fv.Conv2d, channels: int = 32) -> set[str]:
        net = fv.Sequential(fv.Conv2d(channels, 1), layer, fv.Flatten(), fv.Dense(3))
        facts = fv.Plan(net, SHAPE, BATCH, fv.SGD(), isa=ISA).layers()
        return set(facts[1].kernels)

    assert "depthwise_forward" in kernels(fv.Conv2d(32, 3, groups=32))
    assert "conv2d_forward" in kernels(fv.Conv2d(64, 3, groups=32))
    assert "turn_blocks" in kernels(fv.Conv2d(32, 3, groups=2))
    assert "turn_weights" in kernels(fv.Conv2d(30, 3, groups=3), 30)
