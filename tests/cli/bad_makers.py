"""What bad inputs are made of: folders, archives and runs that something is wrong with."""

import io
import json
import os
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@dataclass(frozen=True)
class Tools:
    """What the makers have at hand: the folder to fill, a trained run (do not change it), and a way to patch."""

    folder: Path
    trained: Path
    patch: pytest.MonkeyPatch


Maker = Callable[[Tools], None]


GREY = Image.new("L", (8, 8))
PIXELS, LABELS = np.zeros((20, 8, 8), np.uint8), np.arange(20) % 2


def image(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)).save(path)


def png() -> bytes:
    file = io.BytesIO()
    GREY.save(file, "png")
    return file.getvalue()


def folder(*names: str) -> Maker:
    """An image at each name; empty folders where a name ends in a slash."""

    def make(tools: Tools) -> None:
        for seed, name in enumerate(names):
            path = tools.folder / name
            if name.endswith("/"):
                path.mkdir(parents=True)
            else:
                image(path, seed)

    return make


def flowers(tools: Tools) -> None:
    folder(*(f"flowers/{label}/{n}.png" for label in ("daisy", "tulip") for n in range(6)))(tools)


def written(name: str, data: bytes) -> Maker:
    return lambda tools: (tools.folder / name).write_bytes(data) and None


def together(*makers: Maker) -> Maker:
    def make(tools: Tools) -> None:
        for maker in makers:
            maker(tools)

    return make


def npz(name: str, **arrays: Any) -> Maker:
    return lambda tools: np.savez(tools.folder / name, **arrays)


def idx(name: str, array: np.ndarray, *, count: int | None = None, cut: int = 0) -> Maker:
    shape = (len(array) if count is None else count, *array.shape[1:])
    data = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *shape) + array.tobytes()
    return written(name, data[: len(data) - cut])


def mnist(**images: int) -> Maker:
    labels = LABELS.astype(np.uint8)
    return together(idx("train-images-idx3-ubyte", PIXELS, **images), idx("train-labels-idx1-ubyte", labels))


def cifar(batch: bytes, ending: str = "") -> Maker:
    """A folder of batches."""
    names = (f"cifar/{name}{ending}" for name in ("data_batch_1", "test_batch"))
    return together(folder("cifar/"), *(written(name, batch) for name in names))


def tar(name: str, *more: tuple[str, bytes]) -> Maker:
    """A tar of two classes and more: (name, type of member)."""

    def make(tools: Tools) -> None:
        with tarfile.open(tools.folder / name, "w:gz" if name.endswith("gz") else "w") as file:
            for member, kind in (*((f"{c}/{n}.png", tarfile.REGTYPE) for c in "ab" for n in range(3)), *more):
                info = tarfile.TarInfo(member)
                info.type, info.linkname, info.size = kind, "/etc/passwd", len(png()) * (kind == tarfile.REGTYPE)
                file.addfile(info, io.BytesIO(png()))

    return make


def cut_tar(tools: Tools) -> None:
    tar("flowers.tar.gz")(tools)
    path = tools.folder / "flowers.tar.gz"
    path.write_bytes(path.read_bytes()[:-40])


def packed_bomb(tools: Tools) -> None:
    """30 MB of nothing, and a limit to match: the real one, 1 GB, takes its time."""
    tools.patch.setattr("foveal.data.sources.unpack._SUSPICIOUS", 1 << 20)
    with zipfile.ZipFile(tools.folder / "flowers.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("a/0.png", "b/0.png"):
            file.writestr(name, png())
        file.writestr("a/zeros.png", bytes(30 << 20))


def pixel_bomb(tools: Tools) -> None:
    """A file of a few bytes that says it is 30,000 × 30,000 pixels."""
    flowers(tools)
    plain = io.BytesIO()
    Image.new("1", (8, 8)).save(plain, "bmp")
    header = bytearray(plain.getvalue())
    header[18:26] = (30000).to_bytes(4, "little") * 2
    (tools.folder / "flowers" / "daisy" / "bomb.bmp").write_bytes(header)


def run(tools: Tools) -> None:
    """A copy of the trained run as ./run."""
    shutil.copytree(tools.trained, tools.folder / "run")


def config(**change: Any) -> Maker:
    """A run whose config.json says something else."""

    def make(tools: Tools) -> None:
        run(tools)
        path = tools.folder / "run" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))

    return make


def damaged(name: str) -> Maker:
    """A run one of whose files has lost its end."""

    def make(tools: Tools) -> None:
        run(tools)
        path = tools.folder / "run" / name
        path.write_bytes(path.read_bytes()[:-9])

    return make


def without(name: str) -> Maker:
    return together(run, lambda tools: (tools.folder / "run" / name).unlink())


def model(*, record: dict[str, Any] | None = None, flip: bool = False, foreign: bool = False) -> Maker:
    """model.safetensors with a changed record, a flipped bit, or as another library writes it."""

    def make(tools: Tools) -> None:
        from safetensors import safe_open
        from safetensors.numpy import load_file, save_file

        from foveal.run.tensors import _digest

        source, target = tools.trained / "model.safetensors", tools.folder / "model.safetensors"
        with safe_open(source, "numpy") as file:
            whole = {**json.loads(file.metadata()["foveal"]), **(record or {})}
        arrays = load_file(source)
        del whole["digest"]
        whole["digest"] = _digest(arrays, whole)
        save_file(arrays, target, None if foreign else {"foveal": json.dumps(whole)})
        if flip:
            data = bytearray(source.read_bytes())
            data[-1] ^= 1
            target.write_bytes(data)

    return make


def other_run(tools: Tools) -> None:
    """./run, whose checkpoint and model are those of a wider network."""
    import foveal as fv

    run(tools)
    fv.fit("mlp", "digits", width=0.05, lr=0.02, epochs=1, run_dir=tools.folder / "other", progress=False)
    shutil.copy(tools.folder / "other" / "last.safetensors", tools.folder / "run")
    shutil.rmtree(tools.folder / "other")


def from_flowers(tools: Tools) -> None:
    """./run, trained on ./flowers."""
    import foveal as fv

    flowers(tools)
    fv.fit("mlp", tools.folder / "flowers", width=0.05, lr=0.02, epochs=1, run_dir=tools.folder / "run", progress=False)
    path = tools.folder / "run" / "config.json"  # as if it had been typed in this folder
    record = json.loads(path.read_text())
    record["data"]["source"] = "flowers"
    path.write_text(json.dumps(record))


def changed(change: Maker) -> Maker:
    return together(from_flowers, change)


def in_use(tools: Tools) -> None:
    """./run, locked as if another process were at work on it."""
    from foveal.run.lock import locked

    run(tools)
    lock = locked(tools.folder / "run")
    lock.__enter__()
    tools.patch.setattr(Tools, "lock", lock, raising=False)  # held until the case is over


def layers_file(text: str) -> Maker:
    return together(run, written("layers.py", text.encode()))


def bad_images(*names: str) -> Maker:
    return together(*(written(name, b"no image") for name in names))


def bad_flowers(tools: Tools) -> None:
    flowers(tools)
    (tools.folder / "flowers" / "daisy" / "x.jpg").write_bytes(b"no image")


def all_bad(tools: Tools) -> None:
    for label in ("daisy", "tulip"):
        (tools.folder / "flowers" / label).mkdir(parents=True)
        (tools.folder / "flowers" / label / "x.jpg").write_bytes(b"no image")


def undecodable(tools: Tools) -> None:
    (tools.folder / "flowers" / os.fsdecode(b"caf\xe9")).mkdir(parents=True)
    image(tools.folder / "flowers" / os.fsdecode(b"caf\xe9") / "a.png")
    image(tools.folder / "flowers" / "b" / "a.png")
