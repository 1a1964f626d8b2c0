"""foveal train: from images to a trained, evaluated, reusable model."""

import shlex
import sys
import time
from textwrap import wrap
from typing import Any

import click

from foveal.cli.app import STARTED
from foveal.cli.opened import open_run
from foveal.cli.options import More, json_option, settings_options
from foveal.cli.output import percent, print_json
from foveal.cli.own_layers import import_layers_of_run, layers_option
from foveal.errors import UsageError
from foveal.train.recipes import RECIPES, with_recipe
from foveal.train.settings import TrainSettings, flag


class WithRecipes(click.Command):
    """A command whose help says what the recipe that was named before --help consists of, or which there are."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        chosen = ctx.meta.get("foveal.recipe")
        with formatter.section("Recipes" if chosen is None else "Recipe"):
            shown = RECIPES if chosen is None else {chosen: RECIPES[chosen]}
            formatter.write_dl([(name, f"{recipe.purpose}.") for name, recipe in shown.items()])
            if chosen is not None:
                formatter.write_paragraph()
                indent = " " * formatter.current_indent
                for line in wrap(shown[chosen].flags, formatter.width - len(indent), break_on_hyphens=False):
                    formatter.write(f"{indent}{line}\n")


def _remember(ctx: click.Context, param: click.Parameter, name: str | None) -> str | None:
    with_recipe(name, {})  # a name that is none is answered before the help
    if name is not None:
        ctx.meta["foveal.recipe"] = name
    return name


@click.command(cls=WithRecipes, short_help="Train a network on images.")
@click.argument("data", required=False)
@click.option("--resume", metavar="RUN", help="Go on with an interrupted run; everything comes from its folder.")
@click.option("--out", metavar="RUN", help="Folder to make for the run, which must not exist [runs/DATA-N].")
@click.option(
    "--recipe", metavar="NAME", is_eager=True, callback=_remember,
    help="Settings made for one purpose, unless given beside it; --recipe NAME --help shows them.",
)  # fmt: skip
@settings_options(more_epochs=True)
@layers_option
@json_option
def train(
    data: str | None,
    resume: str | None,
    out: str | None,
    recipe: str | None,
    layers: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Train a network on DATA and evaluate it.

    With --resume: go on with a run; DATA then only says where the images are now, if they have moved.

    DATA: a folder of class folders (or of train/, val/ and test/ with class folders in them), the same in a .zip or
    .tar archive (.tar.gz, .tar.bz2, .tar.xz), a .csv of path,label[,split], IDX files as MNIST has them, CIFAR's
    batches, an .npz file (x_train, y_train, ..., or as MedMNIST's), or digits, which is built in.

    \b
    Example:
      foveal train flowers/ --epochs 20 --augment standard
      foveal train --resume runs/flowers-1
      foveal train trees/ --init-from runs/flowers-1
    """
    from foveal.fitting import Watch, fit_settings
    from foveal.fitting import resume as resume_run
    from foveal.train.events import Event, Started

    settings = {name: value for name, value in given.items() if value is not None}
    begun: list[Started] = []

    def listen(event: Event) -> None:
        if isinstance(event, Started):
            begun.append(event)

    watch = Watch(command=("foveal", *sys.argv[1:]), listeners=[listen] if resume is not None else [])
    if resume is not None:
        settings |= {"recipe": recipe} if recipe else {}
        extra = [flag(name) for name in settings if name not in ("threads", "isa", "epochs")] + ["--out"] * bool(out)
        if extra:
            raise UsageError(f"--resume takes everything from the run folder: leave out {extra[0]}")
        more = settings.get("epochs", More(0))
        if not isinstance(more, More):
            raise UsageError("--resume goes on to the end that the run was begun with; --epochs +N adds to it")
        if "epochs" in settings and more < 1:
            raise UsageError("--epochs +N needs N of at least 1")
        import_layers_of_run(layers, resume)
        machine = {name: settings.get(name) for name in ("threads", "isa")}
        run = resume_run(resume, data=data, more_epochs=more, watch=watch, **machine)
        if not begun:
            click.echo(f"{resume} is finished: nothing was left to do", err=True)
    elif layers is not None and "init_from" not in settings:
        raise UsageError("--layers would change nothing without --resume or --init-from, which read a model")
    elif isinstance(settings.get("epochs"), More):
        raise UsageError("--epochs +N is for --resume, which adds to what there is")
    elif data is None:
        raise UsageError("train needs DATA: a folder or archive of class folders, a CSV, IDX files, .npz, or digits")
    else:
        if "init_from" in settings and layers is not None:  # they are known once the model has been read
            open_run(settings["init_from"], layers)
        run = fit_settings(TrainSettings(**with_recipe(recipe, settings)), data, run_dir=out, watch=watch)
    summary = {**run.summary(), "seconds": round(time.monotonic() - STARTED, 3)}
    if as_json:
        print_json(summary)
        return
    if summary["validation_accuracy"] is not None:
        click.echo(f"validation accuracy {percent(summary['validation_accuracy'])}")
    if summary["test_accuracy"] is not None:
        click.echo(f"test accuracy {percent(summary['test_accuracy'])}")
    click.echo(f"run folder {summary['run']}")
    path = shlex.quote(summary["run"])
    click.echo(f"next: foveal evaluate {path}   or: foveal predict {path} IMAGES...")
