"""foveal inspect: what foveal sees in a set of images, before anything is trained."""

import shlex
from typing import TYPE_CHECKING, Any, Final

import click

from foveal.cli.options import json_option, settings_options
from foveal.cli.output import percent, plain, print_json, table
from foveal.train.settings import TrainSettings, flag

if TYPE_CHECKING:
    from foveal.data import Dataset
    from foveal.models import Choice

SHOWN: Final = 10  # files and groups of equal images that are named; --json has all
UNEVEN: Final = 2.0  # times as many images in the largest class as in the smallest, from which it is remarked on


@click.command(short_help="Show what foveal sees in a set of images.")
@click.argument("data")
@settings_options("size", "validation", "group_by", "seed", "threads")
@json_option
def inspect(data: str, as_json: bool, **given: Any) -> None:
    """Show classes, counts, sizes, unreadable files, equal images and the split of DATA, and how to train on it.

    DATA and the flags are those of foveal train. Nothing is written but the cache of decoded images. Files that cannot
    be read are listed and left out.

    \b
    Example:
      foveal inspect flowers/
      foveal inspect flowers.tar --size 96 --json
    """
    from foveal.models import choose
    from foveal.run.model_file import image_shape
    from foveal.train.images import data_to_inspect

    settings = {name: value for name, value in given.items() if value is not None}
    dataset = data_to_inspect(TrainSettings(**settings), data)
    choice = choose(image_shape(dataset.preprocess), len(dataset.train))
    command = _command(data, settings, dataset)
    if as_json:
        print_json(_facts(dataset, choice, command))
    else:
        click.echo("\n".join(_lines(dataset, choice, command)))


def _command(data: str, settings: dict[str, Any], dataset: "Dataset") -> str:
    """What to type to train on these images as they are shown here."""
    flags = [word for name, value in sorted(settings.items()) for word in (flag(name), shlex.quote(str(value)))]
    return " ".join(["foveal train", shlex.quote(data), *flags, *(["--skip-bad"] if dataset.unreadable else [])])


def _facts(dataset: "Dataset", choice: "Choice", command: str) -> dict[str, Any]:
    names, preprocess = dataset.class_names, dataset.preprocess
    parts = {part: dict(zip(names, images.counts, strict=True)) for part, images in dataset.parts.items()}
    return {
        "name": dataset.name,
        "classes": list(names),
        "counts": dict(zip(names, _totals(dataset), strict=True)),
        "parts": parts,
        "input_shape": [preprocess.channels, preprocess.height, preprocess.width],
        "files": dataset.originals.to_json() if dataset.originals else None,
        "unreadable": [{"path": path, "reason": reason} for path, reason in dataset.unreadable],
        "duplicates": dataset.duplicates.to_json(),
        "split": dataset.split.to_json(),
        "imbalance": _imbalance(dataset)[0],
        "notes": list(dataset.notes),
        "data_fingerprint": dataset.fingerprint,
        "model": {"name": choice.model, "settings": dict(choice.settings), "reason": choice.reason},
        "train_command": command,
    }


def _lines(dataset: "Dataset", choice: "Choice", command: str) -> list[str]:
    preprocess, parts = dataset.preprocess, dataset.parts
    kind = {1: "grey", 3: "colour"}[preprocess.channels]
    lines = [
        f"{plain(dataset.name)}: {sum(map(len, parts.values())):,} images, {len(dataset.class_names)} classes, "
        f"{preprocess.width}×{preprocess.height} {kind} as the network sees them; "
        f"fingerprint {dataset.fingerprint[:12]}",
        "",
        _class_table(dataset),
        "",
        f"split        {_split(dataset)}",
    ]
    if files := dataset.originals:
        sizes = ", ".join(f"{name} {w}×{h}" for name, (w, h) in _sizes(files.to_json()))
        lines += [f"sizes        {sizes}", f"kinds        {_tally(files.formats)}; {_tally(files.modes)}"]
    lines += [f"balance      {_imbalance(dataset)[1]}", *_unreadable(dataset), *_duplicates(dataset)]
    lines += [f"note         {plain(note)}" for note in dataset.notes if not note.startswith(_SAID)]
    return [*lines, f"model        {choice}", "", f"train with   {command}"]


_SAID: Final = ("left out, unreadable", "exact duplicates")  # what stands here in more words


def _class_table(dataset: "Dataset") -> str:
    counts = [images.counts for images in dataset.parts.values()]
    columns = list(zip(*counts, strict=True))
    rows = [
        (str(k), name, *(f"{n:,}" for n in row), f"{sum(row):,}")
        for k, (name, row) in enumerate(zip(dataset.class_names, columns, strict=True))
    ]
    totals = [sum(part) for part in counts]
    rows.append(("", "all", *(f"{n:,}" for n in totals), f"{sum(totals):,}"))
    head = ("", "class", *dataset.parts, "images")
    return table(head, rows, right=[0, *range(2, len(head))])


def _totals(dataset: "Dataset") -> list[int]:
    return [sum(column) for column in zip(*(images.counts for images in dataset.parts.values()), strict=True)]


def _split(dataset: "Dataset") -> str:
    split = dataset.split
    drawn = [f"{part} {percent(getattr(split, part))}" for part in split.drawn]
    words = [f"{', '.join(split.given)} as given"] if len(split.given) > 1 else []
    words += [f"{', '.join(drawn)}, drawn from train by class with seed {split.seed}"] if drawn else []
    return "; ".join(words) or "none: everything is trained on"


def _sizes(files: dict[str, Any]) -> list[tuple[str, tuple[int, int]]]:
    return [(name, files[name]) for name in ("smallest", "median", "largest")]


def _tally(counts: Any) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {plain(name)}" for name, count in ordered)


def _imbalance(dataset: "Dataset") -> tuple[dict[str, Any], str]:
    """How unevenly the training images are spread over the classes, as numbers and in words."""
    counts, names = dataset.train.counts, dataset.class_names
    most, least = max(counts), min(counts)
    largest, smallest = names[counts.index(most)], names[counts.index(least)]
    ratio = most / least
    facts = {"largest": largest, "smallest": smallest, "ratio": round(ratio, 3)}
    if ratio < UNEVEN:
        spread = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        return facts, f"even: {spread} images a class to train on"
    return facts, (
        f"uneven: {plain(largest)} has {ratio:.3g} times as many images to train on as {plain(smallest)}; "
        f"always answering {plain(largest)} would be right {percent(most / sum(counts))} of the time, so look at the "
        "balanced accuracy (--class-weight balanced counts rare classes more)"
    )


def _unreadable(dataset: "Dataset") -> list[str]:
    files = dataset.unreadable
    lines = [f"unreadable   {len(files)} {'files are' if len(files) != 1 else 'file is'} left out"] if files else []
    lines += [f"             {plain(path)}: {plain(reason)}" for path, reason in files[:SHOWN]]
    return [*lines, *_more(len(files))]


def _duplicates(dataset: "Dataset") -> list[str]:
    found = dataset.duplicates
    if not found.count:
        return ["duplicates   none"]
    across = "".join(
        f"; {count} of {which.replace(' in ', ' also in ')}" for which, count in found.across_parts.items()
    )
    lines = [f"duplicates   {found.count} images equal another{across}"]
    if found.contradicting:
        lines[0] += f"; {found.contradicting} of them with another label:"
    else:
        lines[0] += ":"
    groups = found.contradictions or found.groups
    for group in groups[:SHOWN]:
        lines.append("             " + " = ".join(plain(f"{copy.path} ({copy.label})") for copy in group[:SHOWN]))
    return [*lines, *_more(len(groups))]


def _more(count: int) -> list[str]:
    return [f"             and {count - SHOWN} more; --json has all"] if count > SHOWN else []
