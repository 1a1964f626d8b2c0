"""foveal predict: what a model sees in image files."""

import csv
import sys
from dataclasses import asdict

import click

from foveal.cli.opened import open_run
from foveal.cli.options import json_option, machine_options, tta_option
from foveal.cli.output import note, percent, print_json, table
from foveal.cli.own_layers import layers_option
from foveal.cli.pictures import image_paths
from foveal.errors import DataError, UsageError

TOP = 3


@click.command(short_help="Say what a trained model sees in image files.")
@click.argument("run")
@click.argument("images", nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=None, metavar="N", help=f"Classes to name [{TOP}].")
@click.option("--csv", "as_csv", is_flag=True, help="Print path, label and probability as CSV.")
@click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read instead of stopping.")
@tta_option
@layers_option
@machine_options
@json_option
def predict(
    run: str,
    images: tuple[str, ...],
    top: int | None,
    as_csv: bool,
    skip_bad: bool,
    tta: str | None,
    layers: str | None,
    threads: int | None,
    isa: str | None,
    as_json: bool,
) -> None:
    """Predict the class of each of IMAGES with the model in RUN, a run folder or a model file.

    IMAGES are files, folders (all images below them) or patterns in quotes. If any cannot be read, nothing is printed
    but its name, unless --skip-bad leaves it out.

    \b
    Example:
      foveal predict runs/flowers-1 holiday/*.jpg
      foveal predict runs/flowers-1 holiday/ --csv > flowers.csv
    """
    from foveal.run.prediction import cannot_be_read

    if as_csv and as_json:
        raise UsageError("--csv and --json contradict each other: give one of them")
    if as_csv and top is not None:
        raise UsageError("--top would change nothing with --csv, which has one class a line; --json names several")
    loaded = open_run(run, layers, tta=tta, threads=threads, isa=isa)
    predictions, unread = loaded.predict_readable(image_paths(images), top=top or TOP)
    if unread:
        message = cannot_be_read(unread, len(predictions))
        if not predictions or not skip_bad:
            raise DataError(f"{message}; --skip-bad leaves them out" if predictions else message)
        note(message)
    if as_json:
        print_json({"predictions": [p.to_json() for p in predictions], "unreadable": [asdict(file) for file in unread]})
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("path", "label", "probability"))
        writer.writerows((p.path, p.label, f"{p.probability:.6f}") for p in predictions)
    else:
        rows = [(p.path or "", p.label, percent(p.probability), _others(p.top[1:])) for p in predictions]
        click.echo(table(("image", "class", "probability", "else"), rows, right=(2,)))


def _others(top: tuple[tuple[str, float], ...]) -> str:
    return ", ".join(f"{label} {percent(probability)}" for label, probability in top)
