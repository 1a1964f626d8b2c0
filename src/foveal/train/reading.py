"""How far the reading of image files has come: a bar on a terminal, if it takes more than a moment."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Final, TextIO, TypeGuard

from foveal.train.progress import BROKEN, WIDE

if TYPE_CHECKING:
    from rich.progress import Progress

PATIENCE: Final = 0.5  # seconds of reading before there is anything to see
INTERVAL: Final = 0.1  # seconds between two looks at the bar


@contextmanager
def reading_shown(stream: TextIO | None) -> Iterator[Callable[[int, float], None] | None]:
    """What `load_dataset` takes as `progress`; None where nobody watches. The bar is gone afterwards."""
    if not _is_terminal(stream):
        yield None
        return
    display = _Display(stream)
    try:
        yield display
    finally:
        display.close()


def _is_terminal(stream: TextIO | None) -> TypeGuard[TextIO]:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False


class _Display:
    """Called with the number of images that are decoded and the part of the source, 0 to 1, that is read."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.bar: Progress | None = None
        self.next = monotonic() + PATIENCE

    def __call__(self, images: int, share: float) -> None:
        now = monotonic()
        if now < self.next:
            return
        self.next = now + INTERVAL
        try:
            bar = self.bar or self.begin()
            bar.update(bar.task_ids[0], completed=share, state=f"{images:,} images", refresh=True)
        except BROKEN:  # nobody can be told any more
            self.next = float("inf")

    def begin(self) -> "Progress":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        console = Console(file=self.stream)
        columns = (
            TextColumn("{task.description}"), *([BarColumn()] if console.width >= WIDE else []), TaskProgressColumn(),
            TextColumn("{task.fields[state]}"), TimeRemainingColumn(),
        )  # fmt: skip
        self.bar = Progress(*columns, console=console, transient=True, auto_refresh=False)
        self.bar.add_task("reading", total=1.0, state="")
        self.bar.start()
        return self.bar

    def close(self) -> None:
        if self.bar is not None:
            with suppress(*BROKEN):
                self.bar.stop()
