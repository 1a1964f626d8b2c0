"""Metrics against counting by hand."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveal.errors import DataError, DivergedError, ShapeError
from foveal.metrics import calibrated_loss, evaluate_predictions

NAMES = ("ant", "bee", "cow")


def test_a_small_case_by_hand() -> None:
    result = evaluate_predictions([0, 0, 1, 1, 2, 0], [0, 0, 0, 1, 1, 1], NAMES, loss=0.75)
    assert result.confusion.tolist() == [[2, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert result.accuracy == 0.5
    assert result.balanced_accuracy == pytest.approx((2 / 3 + 1 / 3) / 2)
    ant, bee, cow = result.per_class
    assert (ant.name, ant.count) == ("ant", 3)
    assert (ant.precision, ant.recall, ant.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (bee.precision, bee.recall, bee.f1) == pytest.approx((1 / 2, 1 / 3, 2 / 5))
    assert (cow.precision, cow.recall, cow.f1, cow.count) == (0, 0, 0, 0)
    assert result.macro_f1 == pytest.approx((2 / 3 + 2 / 5 + 0) / 3)  # cow was predicted once, wrongly
    assert result.confused() == [(0, 1, 1), (1, 0, 1), (1, 2, 1)]


def test_classes_without_images() -> None:
    """As scikit-learn 1.9 computes them: a class that is neither there nor predicted counts nowhere, one that is only
    predicted counts with F1 0, but not in the balanced accuracy."""
    names = ("ant", "bee", "cow", "dog")
    result = evaluate_predictions([0, 0, 0, 1, 1, 3], [0, 0, 0, 0, 1, 1], names)
    ant, bee, cow, dog = result.per_class
    assert (ant.precision, ant.recall, ant.f1) == pytest.approx((1, 3 / 4, 6 / 7))
    assert (bee.precision, bee.recall, bee.f1) == pytest.approx((1 / 2, 1 / 2, 1 / 2))
    assert (cow.precision, cow.recall, cow.f1, cow.count) == (0, 0, 0, 0)
    assert (dog.precision, dog.recall, dog.f1, dog.count) == (0, 0, 0, 0)
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.balanced_accuracy == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert result.macro_f1 == pytest.approx((6 / 7 + 1 / 2 + 0) / 3)
    only_ant = evaluate_predictions([0, 0], [0, 0], names)
    assert (only_ant.accuracy, only_ant.balanced_accuracy, only_ant.macro_f1) == (1, 1, 1)


def test_json_is_what_evaluate_prints() -> None:
    record = json.loads(json.dumps(evaluate_predictions([0, 1], [0, 0], NAMES, loss=0.5).to_json()))
    assert set(record) == {
        "accuracy", "balanced_accuracy", "macro_f1", "loss", "count", "class_names", "per_class", "confusion",
    }  # fmt: skip
    assert record["count"] == 2
    assert record["class_names"] == list(NAMES)
    assert record["per_class"][0] == {"name": "ant", "precision": 1.0, "recall": 0.5, "f1": 2 / 3, "count": 2}
    assert record["confusion"] == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_sums(pairs: list[tuple[int, int]]) -> None:
    predicted, labels = np.array(pairs).T
    result = evaluate_predictions(predicted, labels, NAMES)
    assert result.accuracy == np.mean(predicted == labels)
    assert int(result.confusion.sum()) == result.count == len(pairs)
    for k, scores in enumerate(result.per_class):
        assert scores.count == int((labels == k).sum())
        assert result.confusion[k].tolist() == np.bincount(predicted[labels == k], minlength=3).tolist()
        if scores.precision + scores.recall:
            harmonic = 2 * scores.precision * scores.recall / (scores.precision + scores.recall)
            assert scores.f1 == pytest.approx(harmonic)
    assert 0 <= result.balanced_accuracy <= 1


def test_scores_give_the_highest_class_the_first_of_equal_ones() -> None:
    logits = np.array([[1, 3, 2], [5, 5, 0], [-np.inf, -1, -2]], np.float32)
    assert evaluate_predictions(logits, [1, 0, 1], NAMES).accuracy == 1


def test_perfect() -> None:
    result = evaluate_predictions(np.arange(3), np.arange(3), NAMES)
    assert (result.accuracy, result.balanced_accuracy, result.macro_f1, result.loss) == (1, 1, 1, None)


@pytest.mark.parametrize(
    ("predictions", "labels", "error", "says"),
    [
        ([0, 1], [0], ShapeError, "do not fit"),
        (np.zeros((2, 4)), [0, 1], ShapeError, "scores of 4 classes do not fit 3"),
        ([], [], DataError, "no images"),
        ([0, 3], [0, 1], DataError, "predictions must be integers from 0 to 2"),
        ([0, 1], [0, -1], DataError, "labels must be integers from 0 to 2"),
        ([0, 1], [0.0, 1.0], DataError, "labels must be integers"),
        (np.full((2, 3), np.nan), [0, 1], DivergedError, "NaN"),
    ],
)
def test_refused(predictions: Any, labels: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        evaluate_predictions(predictions, labels, NAMES)


def test_calibrated_loss_does_not_depend_on_how_sure_a_network_is() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, 300)
    logits = random.normal(size=(300, 5)).astype(np.float32)
    logits[np.arange(300), labels] += 1.5

    def plain(scale: float) -> float:
        z = scale * logits.astype(np.float64)
        return float((np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - z[np.arange(300), labels]).mean())

    least = min(plain(scale) for scale in np.geomspace(0.1, 10, 2000))
    for scale in (8.0, 100.0, 5000.0):
        found = calibrated_loss((scale * logits).astype(np.float32), labels, plain(scale))
        assert abs(found - least) < 1e-5 < plain(scale) - least
    # One that is not sure enough is left as it is: the temperature is at least 1.
    assert calibrated_loss((0.01 * logits).astype(np.float32), labels, plain(0.01)) == plain(0.01)


def test_calibrated_loss_of_wrong_answers_is_a_guess() -> None:
    labels = np.zeros(4, np.int64)
    logits = np.tile(np.float32([-50, 20, 0]), (4, 1))
    assert calibrated_loss(logits, labels, 70.0) == pytest.approx(np.log(3), abs=1e-3)
