"""foveal predict: what a model sees in image files."""

import csv
import sys

import click

from foveal.cli.options import json_option, machine_options
from foveal.cli.output import percent, print_json, table

TOP = 3


@click.command(short_help="Say what a trained model sees in image files.")
@click.argument("run")
@click.argument("images", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=None, metavar="N", help=f"Classes to name [{TOP}].")
@click.option("--csv", "as_csv", is_flag=True, help="Print path, label and probability as CSV.")
@machine_options
@json_option
def predict(
    run: str,
    images: tuple[str, ...],
    top: int | None,
    as_csv: bool,
    threads: int | None,
    isa: str | None,
    as_json: bool,
) -> None:
    """Predict the class of each of IMAGES with the model in RUN, a run folder or a model file.

    \b
    Example:
      foveal predict runs/flowers-1 holiday/*.jpg --csv > flowers.csv
    """
    from foveal.errors import UsageError
    from foveal.run import load_run

    if as_csv and as_json:
        raise UsageError("--csv and --json contradict each other: give one of them")
    if as_csv and top is not None:
        raise UsageError("--top would change nothing with --csv, which has one class a line; --json names several")
    predictions = load_run(run, threads=threads, isa=isa).predict(images, top=top or TOP)
    if as_json:
        print_json({"predictions": [prediction.to_json() for prediction in predictions]})
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("path", "label", "probability"))
        writer.writerows((p.path, p.label, f"{p.probability:.6f}") for p in predictions)
    else:
        rows = [(p.path or "", p.label, percent(p.probability), _others(p.top[1:])) for p in predictions]
        click.echo(table(("image", "class", "probability", "else"), rows, right=(2,)))


def _others(top: tuple[tuple[str, float], ...]) -> str:
    return ", ".join(f"{label} {percent(probability)}" for label, probability in top)
