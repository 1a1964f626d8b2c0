"""What can go wrong, in words for the person at the keyboard.

FovealError               one clear line: what is wrong, where, what to do; the command line exits with 1
├── UsageError            a wrong argument or flag (exit code 2)
├── ShapeError            layers that do not fit together, or an array of the wrong shape
├── DataError             images, archives or arrays that cannot be read or do not make sense
├── RunError              a run folder or a model file that is missing, locked, damaged or newer than this version
└── DivergedError         the loss became NaN or infinite
"""


class FovealError(Exception):
    """Base of all errors that foveal raises on purpose; its text is one line that a user can act on."""

    exit_code = 1


class UsageError(FovealError, ValueError):
    """A wrong argument: an unknown name, a number out of range, two settings that contradict each other."""

    exit_code = 2


class ShapeError(FovealError, ValueError):
    """Shapes that do not fit; the text names the layer, its place and the shapes."""


class DataError(FovealError, ValueError):
    """Data that cannot be read or do not make sense; the text names the file."""


class RunError(FovealError):
    """A run folder or model file that cannot be used; the text names it."""


class DivergedError(FovealError, ArithmeticError):
    """Training produced a loss that is not a finite number."""
