"""foveal evaluate in words: readable for 2 classes and for 100."""

import numpy as np

from foveal.cli.evaluate import WIDTH, report
from foveal.metrics import evaluate_predictions


def text(classes: int, mistakes: list[tuple[int, int]], *, name: str = "class") -> str:
    labels = [*range(classes), *(true for true, _ in mistakes)]
    predicted = [*range(classes), *(taken for _, taken in mistakes)]
    names = [f"{name}{k}" for k in range(classes)]
    return report(evaluate_predictions(predicted, labels, names, loss=0.25))


def test_two_classes_have_a_matrix() -> None:
    lines = text(2, [(0, 1), (0, 1)], name="").splitlines()
    assert lines[0] == "accuracy 50.0 %   balanced 66.7 %   macro F1 50.0 %   loss 0.2500   images 4"
    assert lines[2:5] == [
        "class  precision   recall      F1  images",
        "0        100.0 %   33.3 %  50.0 %       3",
        "1         33.3 %  100.0 %  50.0 %       1",
    ]
    assert lines[6] == "how often images of a class (row) were taken for which (column)"
    assert lines[8:] == ["   0  1", "0  1  2", "1  ·  1"]


def test_long_names_get_numbered_columns() -> None:
    assert text(3, [(0, 2)], name="flower ").splitlines()[-4:] == [
        "            1  2  3", "1 flower 0  1  ·  1", "2 flower 1  ·  1  ·", "3 flower 2  ·  ·  1",
    ]  # fmt: skip


def test_a_hundred_classes_have_their_worst_pairs() -> None:
    random = np.random.default_rng(0)
    mistakes = [(3, 7)] * 5 + [(8, 2)] * 4 + [(int(a), int(b)) for a, b in random.integers(10, 100, (60, 2)) if a != b]
    out = text(100, mistakes)
    assert max(map(len, out.splitlines())) <= WIDTH
    tail = out.split("\n\n")[-1].splitlines()
    assert tail[0].split() == ["class", "taken", "for", "images", "of", "the", "class"]
    assert [line.split()[:3] for line in tail[1:3]] == [["class3", "class7", "5"], ["class8", "class2", "4"]]
    assert tail[1].endswith("83.3 %")
    assert len(tail) == 11
    assert "the most frequent mistakes; the matrix is in --json" in out


def test_no_mistakes_and_classes_without_images() -> None:
    assert text(3, []).endswith("no mistakes")
    out = report(evaluate_predictions([0, 0], [0, 0], ["a", "b"]))
    assert "loss –" in out
    assert "b              –        –        –       0" in out


def test_names_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in report(evaluate_predictions([0, 1], [0, 0], ["\x1b[31m", "long name"]))
