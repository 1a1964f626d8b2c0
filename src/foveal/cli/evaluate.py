"""foveal evaluate: how good a model is on labelled images."""

from typing import Any, Final

import click

from foveal.cli.opened import open_run
from foveal.cli.options import json_option, machine_options, tta_option
from foveal.cli.output import note, percent, print_json, table
from foveal.cli.own_layers import layers_option
from foveal.errors import RunError, UsageError
from foveal.metrics import ClassScores, Evaluation

WIDTH: Final = 100  # columns that a confusion matrix may take; a larger one is told by its most frequent mistakes
MISTAKES: Final = 10


@click.command(short_help="Judge a trained model on labelled images.")
@click.argument("run")
@click.argument("data", required=False)
@click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read instead of stopping.")
@tta_option
@layers_option
@machine_options
@json_option
def evaluate(
    run: str, data: str | None, skip_bad: bool, tta: str | None, layers: str | None, threads: int | None,
    isa: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Judge the model in RUN on DATA: its test part if it has one, else all of it.

    Without DATA: the test part of what the model was trained on. RUN is a run folder or a model file. Shown are
    accuracy, balanced accuracy (mean recall of the classes), macro F1 (mean F1), loss, each class, and which classes
    are taken for which.

    \b
    Example:
      foveal evaluate runs/flowers-1
      foveal evaluate runs/flowers-1 other-flowers/ --json
    """
    from foveal.train.images import held_out_images, images_to_judge

    loaded = open_run(run, layers, tta=tta, threads=threads, isa=isa)
    if data is None and skip_bad:
        raise UsageError("--skip-bad would change nothing without DATA: the run reads its own images as it did then")
    if data is None:
        images = held_out_images(loaded, progress=True)
        if images is None:
            raise RunError(f"{run} has no test part; say what to judge it on: foveal evaluate {run} DATA")
    else:
        images, remark = images_to_judge(loaded, data, skip_bad=skip_bad, progress=True)
        if remark:
            note(remark)
    evaluation = loaded.evaluate(images)
    if as_json:
        print_json(evaluation.to_json())
    else:
        click.echo(report(evaluation))


def report(evaluation: Evaluation) -> str:
    """An evaluation in words."""
    rows: list[list[Any]] = [
        [name, *(percent(value if scores.count else None) for value in _rates(scores)), f"{scores.count:,}"]
        for name, scores in zip(evaluation.class_names, evaluation.per_class, strict=True)
    ]
    head = ("class", "precision", "recall", "F1", "images")
    loss = "–" if evaluation.loss is None else f"{evaluation.loss:.4f}"
    return "\n".join([
        f"accuracy {percent(evaluation.accuracy)}   balanced {percent(evaluation.balanced_accuracy)}   "
        f"macro F1 {percent(evaluation.macro_f1)}   loss {loss}   images {evaluation.count:,}",
        "",
        table(head, rows, right=range(1, 5)),
        "",
        _mistakes(evaluation),
    ])  # fmt: skip


def _rates(scores: ClassScores) -> tuple[float, float, float]:
    return scores.precision, scores.recall, scores.f1


def _mistakes(evaluation: Evaluation) -> str:
    """The confusion matrix if it is not too wide, else its largest entries beside the diagonal."""
    from rich.cells import cell_len

    names, confused = evaluation.class_names, evaluation.confused()
    if not confused:
        return "no mistakes"
    heads, labels = list(names), list(names)
    if max(map(cell_len, names)) > 4:  # long names: columns are numbered
        heads = [str(k + 1) for k in range(len(names))]
        labels = [f"{number} {name}" for number, name in zip(heads, names, strict=True)]
    cells = [[str(count) if count else "·" for count in row] for row in evaluation.confusion.tolist()]
    matrix = [[label, *row] for label, row in zip(labels, cells, strict=True)]
    text = table(("", *heads), matrix, right=range(1, len(names) + 1))
    if max(map(cell_len, text.splitlines())) <= WIDTH:
        return f"how often images of a class (row) were taken for which (column)\n\n{text}"
    rows = [
        (names[true], names[taken], str(count), percent(count / evaluation.per_class[true].count))
        for true, taken, count in confused[:MISTAKES]
    ]
    more = f"; the matrix is in --json ({len(confused)} pairs)" if len(confused) > MISTAKES else ""
    head = ("class", "taken for", "images", "of the class")
    return f"the most frequent mistakes{more}\n\n{table(head, rows, right=(2, 3))}"
