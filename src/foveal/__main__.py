"""The program `foveal`, also as `python -m foveal`: Ctrl-C is answered before anything else is imported."""

import os
import signal
from types import FrameType
from typing import NoReturn


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    """While the program is being loaded: nothing has begun, so nothing is to be saved."""
    os.write(2, b"foveal: interrupted\n")
    os._exit(130)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _interrupted)


def main() -> None:
    """Run the command line and exit with its code."""
    from foveal.cli.app import main as run_and_exit

    if signal.getsignal(signal.SIGINT) is _interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run_and_exit()


if __name__ == "__main__":
    main()
