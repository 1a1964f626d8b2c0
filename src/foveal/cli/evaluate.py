"""foveal evaluate: how good a model is on labelled images."""

from typing import Any

import click

from foveal.cli.options import json_option, machine_options
from foveal.cli.output import percent, print_json, table
from foveal.errors import RunError, UsageError
from foveal.metrics import ClassScores, Evaluation


@click.command(short_help="Judge a trained model on labelled images.")
@click.argument("run")
@click.argument("data", required=False)
@click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read instead of stopping.")
@machine_options
@json_option
def evaluate(run: str, data: str | None, skip_bad: bool, threads: int | None, isa: str | None, as_json: bool) -> None:
    """Judge the model in RUN on DATA: its test part if it has one, else all of it.

    Without DATA: the test part of what the model was trained on. RUN is a run folder or a model file.

    \b
    Example:
      foveal evaluate runs/flowers-1
      foveal evaluate runs/flowers-1 other-flowers/ --json
    """
    from foveal.fitting import held_out_images, images_to_judge
    from foveal.run import load_run

    loaded = load_run(run, threads=threads, isa=isa)
    if data is None and skip_bad:
        raise UsageError("--skip-bad would change nothing without DATA: the run reads its own images as it did then")
    if data is None:
        images = held_out_images(loaded)
        if images is None:
            raise RunError(f"{run} has no test part; say what to judge it on: foveal evaluate {run} DATA")
    else:
        images, remark = images_to_judge(loaded, data, skip_bad=skip_bad)
        if remark:
            click.echo(f"note: {remark}", err=True)
    evaluation = loaded.evaluate(images)
    if as_json:
        print_json(evaluation.to_json())
    else:
        click.echo(_report(evaluation))


def _rates(scores: ClassScores) -> tuple[float, float, float]:
    return scores.precision, scores.recall, scores.f1


def _report(evaluation: Evaluation) -> str:
    rows: list[list[Any]] = [
        [name, *(percent(value if scores.count else None) for value in _rates(scores)), str(scores.count)]
        for name, scores in zip(evaluation.class_names, evaluation.per_class, strict=True)
    ]
    head = ("class", "precision", "recall", "F1", "images")
    lines = [
        f"accuracy {percent(evaluation.accuracy)}   balanced {percent(evaluation.balanced_accuracy)}   "
        f"macro F1 {percent(evaluation.macro_f1)}   loss {evaluation.loss:.4f}   images {evaluation.count}",
        "",
        table(head, rows, right=range(1, 5)),
    ]
    return "\n".join(lines)
