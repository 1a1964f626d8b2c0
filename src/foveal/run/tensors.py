"""Files of arrays: safetensors with ONE metadata entry, `foveal`, that holds everything else as canonical JSON.

One entry, because the safetensors library writes several in random order; canonical, so that equal content gives equal
bytes. The entry carries a digest of all the rest: the format itself does not notice a flipped bit.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foveal.errors import RunError

KEY: Final = "foveal"
FORMAT: Final = 1  # raised when a reader of this version could misunderstand the file
Arrays = Mapping[str, NDArray[Any]]


def canonical(record: Any) -> str:
    """JSON with sorted keys, no spaces and only ASCII: one text for one value."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"))


def pack(kind: str, arrays: Arrays, record: Mapping[str, Any]) -> bytes:
    """The bytes of a file of the given kind ("model", "checkpoint"); they depend on nothing but the arguments."""
    from safetensors.numpy import save

    # the library stores the memory of an array as it lies, so a transposed view must be made contiguous first
    contiguous = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    whole = {**record, "kind": kind, "format": FORMAT}
    whole["digest"] = _digest(contiguous, whole)
    return bytes(save(contiguous, metadata={KEY: canonical(whole)}))


def unpack(kind: str, path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Arrays and record of a file that `pack` made.

    Raises RunError, naming the file: missing, not from foveal, of another kind, newer than this version, damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        path.open("rb").close()  # the library says "no such file" whatever the reason
    except FileNotFoundError:
        raise RunError(f"there is no file {path}") from None
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}") from None
    try:
        with safe_open(path, framework="numpy") as file:
            record = _record(kind, path, (file.metadata() or {}).get(KEY))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is damaged or not a safetensors file: {error}") from None
    if record.pop("digest", None) != _digest(arrays, record):
        raise RunError(f"{path} is damaged: its content does not match its digest")
    return arrays, record


def _record(kind: str, path: Path, text: str | None) -> dict[str, Any]:
    if text is None:
        raise RunError(f"{path} was not written by foveal: its metadata have no entry {KEY!r}")
    try:
        record = json.loads(text)
        version, actual = record["format"], record["kind"]
        newer = version > FORMAT
    except (ValueError, TypeError, KeyError, RecursionError):
        raise RunError(f"{path} is damaged: its metadata cannot be read") from None
    if newer:
        raise RunError(f"{path} was written by a newer version of foveal (format {version}, known up to {FORMAT})")
    if actual != kind:
        raise RunError(f"{path} is a foveal {actual}, not a {kind}")
    return dict(record)


def _digest(arrays: Arrays, record: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(canonical(record).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
