"""What a command leaves behind that a test can look at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """Exit code and both streams."""

    code: int
    out: str
    err: str
