"""How a training is shown while it runs, on stderr: a live bar on a terminal, one plain line per epoch elsewhere."""

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TextIO

from foveal.train.events import BatchDone, EpochDone, Event, Finished, Loaded, Noted, Started, Stopped, Warned

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


# what a write may end in: ValueError where the stream has been closed, SystemExit is what rich makes of a broken pipe
BROKEN: Final = (OSError, ValueError, SystemExit)
WIDE: Final = 100  # columns of a terminal from which the bar itself and the images a second have room


def progress_listener(stream: TextIO | None = None) -> "PlainProgress":
    """The listener that suits the stream (stderr when None): live on a terminal, plain lines otherwise."""
    stream = stream or sys.stderr
    return LiveProgress(stream) if stream.isatty() else PlainProgress(stream)


class PlainProgress:
    """A line of the data, one at the start, one per epoch, and one for everything unusual.

    When nobody can be told any more (the reader of a pipe has gone, the disk of a log is full) it falls silent:
    training goes on.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.epochs = 0
        self.silent = False

    def __call__(self, event: Event) -> None:
        if self.silent:
            return
        try:
            self.tell(event)
        except BROKEN:
            self.silent = True
            with suppress(*BROKEN):
                self.close()

    def tell(self, event: Event) -> None:
        for line in self.lines(event):
            self.write(line)

    def write(self, line: str) -> None:
        print(line, file=self.stream, flush=True)

    def close(self) -> None:
        """To be called at the end, and when training breaks off."""

    def lines(self, event: Event) -> list[str]:
        """What to say of an event, in words."""
        if isinstance(event, Loaded):
            return [_data_line(event), *(f"note: {note}" for note in event.notes)]
        if isinstance(event, Started):
            self.epochs = event.epochs
            return [_start_line(event)]
        if isinstance(event, EpochDone):
            return [_epoch_line(event, self.epochs)]
        if isinstance(event, Noted):
            return [f"note: {event.message}"]
        if isinstance(event, Warned):
            return [f"warning: {event.message}"]
        if isinstance(event, Stopped):
            return [f"stopped after epoch {event.epoch}: {event.reason}"]
        if isinstance(event, Finished):
            return [f"kept the weights of epoch {event.kept_epoch}; {duration(event.seconds)} in all"]
        return []


class LiveProgress(PlainProgress):
    """The same lines above a bar of the epoch under way: loss, accuracy, images a second, time left for all epochs."""

    INTERVAL = 0.1  # seconds between two looks at the bar

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.shown = 0.0

    def tell(self, event: Event) -> None:
        if isinstance(event, BatchDone):
            self.show(event)
            return
        super().tell(event)
        if isinstance(event, Started):
            self.begin(event)
        elif isinstance(event, Finished):
            self.close()

    def write(self, line: str) -> None:
        if self.bar is None:
            super().write(line)
        else:
            self.bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def begin(self, event: Started) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.close()
        self.started = event
        console = Console(file=self.stream)
        columns = (
            TextColumn("{task.description}"), *([BarColumn()] if console.width >= WIDE else []), MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"), TimeRemainingColumn(),
        )  # fmt: skip
        self.bar = Progress(*columns, console=console, transient=True)
        self.task = self.bar.add_task("training", total=event.steps, completed=event.updates, state="")
        self.bar.start()

    def show(self, event: BatchDone) -> None:
        if self.bar is None or self.task is None:
            return
        now = self.bar.get_time()
        if now - self.shown < self.INTERVAL:
            return
        self.shown = now
        speed = self.bar.tasks[0].speed
        wide = self.bar.console.width >= WIDE
        rate = f", {speed * self.started.batch_size:,.0f} images/s" if speed and wide else ""
        self.bar.update(
            self.task, completed=event.updates, description=f"epoch {event.epoch}/{self.started.epochs}",
            state=f"loss {event.loss:.4f}, accuracy {event.accuracy:.2%}{rate}",
        )  # fmt: skip

    def close(self) -> None:
        """Take the bar off the screen."""
        if self.bar is not None:
            self.bar.stop()
        self.bar = self.task = None


def _data_line(event: Loaded) -> str:
    channels, height, width = event.input_shape
    names, colour = event.class_names, {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    listed = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
    counts = {"to train on": event.images, "for validation": event.validation_images, "to test": event.test_images}
    parts = ", ".join(f"{count:,} {purpose}" for purpose, count in counts.items() if count)
    return (
        f"data: {len(names)} classes ({listed}); {width}×{height} {colour}; images: {parts}; "
        f"fingerprint {event.fingerprint[:12]}"
    )


def _start_line(event: Started) -> str:
    if event.updates >= event.steps:
        verb = "all steps are made"
    else:
        verb = f"going on at step {event.updates + 1:,}" if event.updates else "training"
    return (
        f"{event.run}: {verb}: {event.parameters:,} parameters, batches of {event.batch_size}, {event.steps:,} steps, "
        f"learning rate {event.lr:g}; {event.threads} thread{'s' if event.threads > 1 else ''}, {event.isa}"
    )


def _epoch_line(event: EpochDone, epochs: int) -> str:
    row = event.row
    parts = [f"loss {row.train_loss:.4f}, accuracy {row.train_accuracy:.2%}"]
    if row.val_loss is not None and row.val_accuracy is not None:
        star = " (best)" if event.improved else ""
        parts.append(f"validation loss {row.val_loss:.4f}, accuracy {row.val_accuracy:.2%}{star}")
    parts.append(f"{row.images_per_second:,.0f} images/s")
    return f"epoch {row.epoch}/{epochs}: {'; '.join(parts)}"


def duration(seconds: float) -> str:
    """ "4.3 s", "1 min 5 s", "2 h 1 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60} min"
