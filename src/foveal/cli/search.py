"""foveal search: the learning rate that train would find, and no training yet."""

import shlex
import sys
import time
from typing import Any

import click

from foveal.cli.app import STARTED
from foveal.cli.opened import open_run
from foveal.cli.options import More, json_option, settings_options
from foveal.cli.output import note, print_json
from foveal.cli.own_layers import import_layers_of_run, layers_option
from foveal.errors import UsageError
from foveal.train.settings import TrainSettings, flag

_MACHINE = ("threads", "isa", "workers")  # what may differ when a search goes on


@click.command(short_help="Find the learning rate to train with.")
@click.argument("data", required=False)
@click.option("--resume", metavar="RUN", help="Go on with an interrupted search; everything comes from its folder.")
@click.option("--out", metavar="RUN", help="Folder to make for the run, which must not exist [runs/DATA-N].")
@settings_options(without=("lr",))
@layers_option
@json_option
def search(
    data: str | None, resume: str | None, out: str | None, layers: str | None, as_json: bool, **given: Any
) -> None:
    """Find the learning rate that suits DATA and the training that is asked for, and stop before the training.

    DATA and the flags are those of foveal train, which searches by itself where no --lr is given; here one may look
    first. foveal train --resume RUN then begins the training with the rate that was found. Every trial is kept as it
    ends; search/search.svg in the run folder is a plot of them, where matplotlib is installed.

    \b
    Example:
      foveal search flowers/ --epochs 20 --augment standard
      foveal train --resume runs/flowers-1
      foveal search --resume runs/flowers-1
    """
    from foveal.fitting import Watch, resume_search, search_settings
    from foveal.run import RunFolder
    from foveal.search.display import noise
    from foveal.search.plot import plot
    from foveal.train.events import Event, SearchStarted
    from foveal.train.progress import duration

    settings = {name: value for name, value in given.items() if value is not None}
    begun: list[SearchStarted] = []

    def listen(event: Event) -> None:
        if isinstance(event, SearchStarted):
            begun.append(event)

    watch = Watch(command=("foveal", *sys.argv[1:]), listeners=[listen])
    if resume is not None:
        extra = [flag(name) for name in settings if name not in _MACHINE] + ["--out"] * bool(out)
        if extra:
            raise UsageError(f"--resume takes everything from the run folder: leave out {extra[0]}")
        import_layers_of_run(layers, resume)
        found, path = resume_search(resume, data=data, watch=watch, **settings)
        if not begun:
            note(f"the search of {resume} is finished: this is what it found")
    elif layers is not None and "init_from" not in settings:
        raise UsageError("--layers would change nothing without --resume or --init-from, which read a model")
    elif isinstance(settings.get("epochs"), More):
        raise UsageError("--epochs +N is for train --resume, which adds to what there is")
    elif data is None:
        raise UsageError("search needs DATA: a folder or archive of class folders, a CSV, IDX files, .npz, or digits")
    else:
        if "init_from" in settings and layers is not None:  # they are known once the model has been read
            open_run(settings["init_from"], layers)
        found, path = search_settings(TrainSettings(**settings), data, run_dir=out, watch=watch)
    folder = RunFolder.open(path)
    picture = plot(found, ((folder.read_search() or {}).get("search") or {}).get("guess"))
    if picture is not None:
        folder.write_plot(picture)
    best, plotted = found.best, None if picture is None else str(folder.plot)
    if as_json:
        seconds = round(time.monotonic() - STARTED, 3)
        print_json({"run": str(path), **found.to_json(), "seconds": seconds, "plot": plotted})
    else:
        reason = f": {best.reason}" if best.reason else ""
        click.echo(f"learning rate  {best.lr:g}")
        click.echo(f"bracket        {best.bracket[0]:g} to {best.bracket[1]:g} (four chances in five)")
        click.echo(f"noise          equal trials differ by {noise(best.noise)}")
        click.echo(f"cost           {found.cost:.2g} of a full training, {duration(found.seconds)}")
        click.echo(f"evidence       {best.evidence}{reason}")
        if plotted:
            click.echo(f"plot           {plotted}")
        click.echo(f"run folder     {path}")
        click.echo(f"next: foveal train --resume {shlex.quote(str(path))}")
    if picture is None:
        note("for a plot of the trials: pip install foveal[report]")
