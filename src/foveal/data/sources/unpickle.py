"""A reader of the pickles that CIFAR's batches are: dicts of text, numbers, lists and arrays of integers.

Python's own unpickler calls any function that a file names. This one calls none: `pickletools` takes the file apart
into operations, of which those below are followed; the few names with which NumPy's arrays are written stand for
themselves, and every other name or operation is refused by its name.
"""

import math
import pickletools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_NEWEST: Final = 4  # protocol
_CONSTANTS: Final = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES",
}  # fmt: skip
_VALUES: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES: Final = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NAMES: Final = (
    "numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct", "numpy ndarray", "numpy dtype",
    "_codecs encode",
)  # fmt: skip
_MARK: Final = object()


class _Name(str):
    """One of _NAMES; it is only ever compared."""


@dataclass(eq=False)
class _Array:
    """An array to be: made empty, filled later."""

    values: NDArray[Any] | None = None


@dataclass(eq=False)
class _Dtype:
    code: str


def read_pickle(data: bytes) -> dict[str, Any]:
    """The dict that was pickled; its arrays are read-only. Raises ValueError, saying what is not allowed or broken."""
    machine = _Machine(len(data))
    try:
        for operation, argument, _ in pickletools.genops(data):
            machine.follow(operation.name, argument)
        (result,) = machine.stack
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is broken ({type(error).__name__})") from None
    if not isinstance(result, dict):
        raise ValueError(f"it holds {type(result).__name__}, not a dict")
    return {_text(key): value.values if isinstance(value, _Array) else value for key, value in result.items()}


class _Machine:
    """The stack and the memo that the operations work on. size: of the file; no more than that is made of its text."""

    def __init__(self, size: int) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.allowed = size

    def follow(self, name: str, argument: Any) -> None:
        stack, memo = self.stack, self.memo
        if name in _CONSTANTS:
            stack.append(argument)
        elif name in _VALUES:
            stack.append(_VALUES[name])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": {}, "EMPTY_LIST": [], "EMPTY_TUPLE": ()}[name])
        elif name in _TUPLES:
            stack.append(tuple([stack.pop() for _ in range(_TUPLES[name])][::-1]))
        elif name in ("TUPLE", "LIST", "DICT"):
            items = self.to_mark()
            stack.append(tuple(items) if name == "TUPLE" else items if name == "LIST" else _pairs(items))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self.to_mark()
            stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = [stack.pop(), stack.pop()][::-1] if name == "SETITEM" else self.to_mark()
            stack[-1].update(_pairs(items))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            words = argument if name == "GLOBAL" else " ".join([stack.pop(), stack.pop()][::-1])
            if words not in _NAMES:
                raise ValueError(f"it names {words[:60]!r}, which is not allowed")
            stack.append(_Name(words))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(self.called(stack.pop(), arguments))
        elif name == "BUILD":
            state = stack.pop()
            self.build(stack[-1], state)
        elif name == "PROTO":
            if argument > _NEWEST:
                raise ValueError(f"it is of protocol {argument}; up to {_NEWEST} are read")
        elif name not in ("FRAME", "STOP"):
            raise ValueError(f"it uses the operation {name}, which is not allowed")

    def to_mark(self) -> list[Any]:
        """What was pushed since the last mark, which goes too."""
        items = []
        while (item := self.stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def called(self, function: Any, arguments: Any) -> Any:
        """What NumPy's words stand for."""
        word = function.split()[-1] if isinstance(function, _Name) else ""
        if word == "encode" and arguments[1:] == ("latin1",):
            return self.encoded(arguments[0])
        if word == "_reconstruct" and isinstance(arguments[0], _Name) and arguments[0] == "numpy ndarray":
            return _Array()
        if word == "dtype":
            return _Dtype(_text(arguments[0]))
        raise ValueError("it calls what is no array")

    def build(self, target: Any, state: Any) -> None:
        """Fill a dtype or an array."""
        if isinstance(target, _Dtype):
            target.code = _text(state[1]) + target.code.lstrip("<>|=")
            return
        _, shape, dtype, by_columns, data = state
        if not isinstance(target, _Array) or not isinstance(dtype, _Dtype):
            raise ValueError("it builds what is no array")
        kind = np.dtype(dtype.code)
        if kind.kind not in "iu":
            raise ValueError(f"it holds an array of {kind}; only integers are read")
        content = self.encoded(data) if isinstance(data, str) else data
        fits = isinstance(content, bytes) and math.prod(shape) * kind.itemsize == len(content)
        if not fits or min(shape, default=0) < 0:
            raise ValueError(f"it holds an array of {shape} that does not have so many bytes")
        target.values = np.frombuffer(content, kind).reshape(shape, order="F" if by_columns else "C")

    def encoded(self, text: str) -> bytes:
        """Python 2 wrote bytes as text, and so does Python 3 for protocol 2."""
        self.allowed -= len(text)
        if self.allowed < 0:
            raise ValueError("it makes more bytes than it has")
        return text.encode("latin1")


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _text(value: Any) -> str:
    """Python 2's text is bytes, and so may be Python 3's keys."""
    text = value.decode("latin1") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        raise ValueError(f"a name in it is {type(text).__name__}, not text")
    return text
