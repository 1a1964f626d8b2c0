"""Limits on norms: by hand, and what must stay as it is."""

import numpy as np
import pytest

from foveal.optim.clipping import clip_norm, limit_norms


def test_a_long_gradient_is_scaled_to_the_limit() -> None:
    g = np.array([3.0, 0.0, -4.0])
    assert clip_norm(g, 1.0) == 5
    np.testing.assert_allclose(g, np.array([0.6, 0, -0.8]) * 5 / (5 + 1e-6), rtol=1e-15)
    assert np.linalg.norm(g) < 1


@pytest.mark.parametrize("most", [5.0 + 1e-6, 7.0, 1e30])
def test_a_short_gradient_stays(most: float) -> None:
    g = np.array([3.0, 0.0, -4.0])
    assert clip_norm(g, most) == 5
    assert g.tolist() == [3, 0, -4]


def test_a_gradient_of_zeros_stays() -> None:
    g = np.zeros(3, np.float32)
    assert clip_norm(g, 1e-3) == 0
    assert g.tolist() == [0, 0, 0]


def test_squares_beyond_float32_are_summed() -> None:
    g = np.array([3e30, 4e30], np.float32)
    assert clip_norm(g, 1.0) == pytest.approx(5e30)
    np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-6)
    assert g.dtype == np.float32


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_gradient_that_is_no_number_shows(value: float) -> None:
    g = np.array([1.0, value])
    with np.errstate(invalid="ignore"):  # 0 · inf
        clip_norm(g, 1.0)
    assert np.isnan(g[1])


def test_units_that_are_too_long_are_scaled_and_others_stay() -> None:
    w = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0], [-5.0, 12.0]])
    limit_norms(w, 2.0)
    np.testing.assert_allclose(w, [[1.2, 1.6], [0.3, 0.4], [0, 0], [-10 / 13, 24 / 13]], rtol=1e-15)
    assert w[1].tolist() == [0.3, 0.4]


def test_a_filter_is_a_unit() -> None:
    w = np.random.default_rng(0).standard_normal((5, 3, 2, 2)).astype(np.float32)
    before, norms = w.copy(), np.sqrt((w.astype(np.float64) ** 2).sum(axis=(1, 2, 3)))
    most = float(np.median(norms))
    limit_norms(w, most)
    np.testing.assert_allclose(np.linalg.norm(w.reshape(5, -1), axis=1), np.minimum(norms, most), rtol=1e-6)
    assert (w[norms <= most] == before[norms <= most]).all()
    assert (w[norms > most] != before[norms > most]).any()
