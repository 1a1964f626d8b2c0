"""Ctrl-C, SIGTERM and SIGHUP as a request: the loop ends the step at hand, saves, and raises `Interrupted`."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from foveal.errors import FovealError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(FovealError):  # noqa: N818 (not an error: what was asked for)
    """Training was interrupted and saved; the text says how to go on."""

    exit_code = 130


@dataclass
class StopRequest:
    """Whether a signal has asked the loop to stop. process: whose handler this is."""

    requested: bool = False
    process: int = field(default_factory=os.getpid)

    def ask(self, number: int, frame: FrameType | None) -> None:
        """The signal handler. A second Ctrl-C does not wait for the step: it raises KeyboardInterrupt. A process that
        was forked off meanwhile, a worker, has nothing to save: there the signal does what it usually does."""
        if os.getpid() != self.process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Turn SIGINT, SIGTERM and SIGHUP into a request while the block runs.

    Outside the main thread, where Python allows no handlers, nothing is changed; a signal that the process was
    started to ignore stays ignored.
    """
    request = StopRequest()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, request.ask)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
