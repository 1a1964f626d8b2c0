"""Archives: the same images as the folder that was packed, and one clear line for what is damaged or dangerous."""

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foveal.data import load_dataset, pipeline
from foveal.data.sources import archive as archive_source
from foveal.data.sources import member, unpack
from foveal.data.sources.tar import Tar
from foveal.errors import DataError

MakeFolder = Callable[..., Path]
MODES = {
    "pets.tar": "w", "pets.tar.gz": "w:gz", "pets.tgz": "w:gz", "pets.tar.bz2": "w:bz2", "pets.tar.xz": "w:xz",
    "PETS.TAR": "w", "pets.zip": "", "plain.tar.gz": "w", "packed.tar": "w:xz",
}  # fmt: skip


def png(seed: int = 0, size: int = 8) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)).save(file, "png")
    return file.getvalue()


GOOD = {f"{c}/{i}.png": png(10 * k + i) for k, c in enumerate("ab") for i in range(3)}


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=form) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def pack(folder: Path, target: Path, below: str = "", *, backwards: bool = False) -> Path:
    paths = sorted((path for path in folder.rglob("*") if path.is_file()), reverse=backwards)
    files = {f"{below}{path.relative_to(folder)}": path.read_bytes() for path in paths}
    mode = MODES[target.name]
    return make_tar(target, files, mode) if mode else make_zip(target, files)


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("below", ["", "./", "deep/pets/"])
def test_an_archive_is_the_folder_that_was_packed(
    make_folder: MakeFolder, tmp_path: Path, name: str, below: str
) -> None:
    root = make_folder({f"{part}/{c}": 4 for part in ("train", "val", "test") for c in ("cat", "a-b", "Ä b")})
    (root / "train" / "cat" / "notes.txt").write_text("no image")
    (root / "train" / "cat" / ".hidden.png").write_text("no image")
    (root / "preview.png").write_bytes(png(size=200))
    packed = pack(root, tmp_path / name, below, backwards=True)
    a, b = load_dataset(root, cache=False), load_dataset(packed, cache=False)
    assert b.fingerprint == a.fingerprint
    assert (b.notes, b.class_names, b.preprocess, b.originals) == (a.notes, a.class_names, a.preprocess, a.originals)
    assert [part.paths for part in b.parts.values()] == [part.paths for part in a.parts.values()]
    assert b.name == name.lower().split(".")[0]
    assert "ignored, hidden (1): train/cat/.hidden.png" in b.notes
    assert b.split.given == ("train", "validation", "test")


def test_trashnet_trains_from_the_archive_alone(data_dir: Path) -> None:
    data = load_dataset(data_dir / "trashnet-128.tar", cache=False)
    assert sum(len(part) for part in data.parts.values()) == 2527
    assert data.class_names == ("cardboard", "glass", "metal", "paper", "plastic", "trash")
    pairs = [tuple(copy.path for copy in group) for group in data.duplicates.contradictions]
    assert pairs == [
        ("glass/glass115.jpg", "metal/metal91.jpg"),
        ("glass/glass176.jpg", "plastic/plastic152.jpg"),
        ("glass/glass389.jpg", "plastic/plastic332.jpg"),
    ]
    assert data.originals is not None
    assert data.originals.largest == (171, 128)


def test_macos_folders_are_hidden(tmp_path: Path) -> None:
    files = {**GOOD, "__MACOSX/a/._0.png": b"notes", "a/Thumbs.db": b"db", ".DS_Store": b""}
    data = load_dataset(make_zip(tmp_path / "pets.zip", files), validation=0, test=0)
    assert len(data.train) == 6
    assert data.notes == (
        "ignored, not images in a class folder (1): a/Thumbs.db",
        "ignored, hidden (2): .DS_Store, __MACOSX",
    )


def test_of_two_files_with_one_name_the_last_counts(tmp_path: Path) -> None:
    again = tmp_path / "again.tar"
    with tarfile.open(again, "w") as tar:
        for name, data in [("a/0.png", png(99)), *GOOD.items()]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    once = load_dataset(make_tar(tmp_path / "once.tar", GOOD))
    assert load_dataset(again).fingerprint == once.fingerprint


def test_names_in_any_script(tmp_path: Path) -> None:
    files = {
        f"{label}/{'x' * 90}/{'y' * 90}/{name}.png": png(hash_)
        for hash_, (label, name) in enumerate([(c, n) for c in ("猫", "собака", "قطة") for n in ("ß", "ñ/日本", "🦊")])
    }
    prints = set()
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        data = load_dataset(make_tar(tmp_path / f"{form}.tar", files, form=form), validation=0, test=0)
        assert data.class_names == ("собака", "قطة", "猫")
        assert set(data.train.paths or ()) == set(files)
        prints.add(data.fingerprint)
    plain = make_zip(tmp_path / "flagged.zip", files)
    unflagged = tmp_path / "unflagged.zip"  # as macOS writes them: UTF-8, but no flag says so
    unflagged.write_bytes(_without_utf8_flags(plain.read_bytes()))
    prints |= {load_dataset(path, validation=0, test=0).fingerprint for path in (plain, unflagged)}
    assert len(prints) == 1


def _without_utf8_flags(data: bytes) -> bytes:
    changed = bytearray(data)
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(signature)
        while at >= 0:
            changed[at + place + 1] &= ~0x08
            at = data.find(signature, at + 4)
    return bytes(changed)


def test_file_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"a/caf\xe9.png")
    data = load_dataset(make_tar(tmp_path / "pets.tar", {**GOOD, name: png(7)}), validation=0, test=0)
    assert name in (data.train.paths or ())
    odd = make_tar(tmp_path / "odd.tar", {**GOOD, os.fsdecode(b"\xff/x.png"): png(7)})
    with pytest.raises(DataError, match="no text"):
        load_dataset(odd)


def test_backslashes_of_a_zip_from_windows(tmp_path: Path) -> None:
    path = tmp_path / "pets.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, data in GOOD.items():
            info = zipfile.ZipInfo(name.replace("/", "\\"))
            info.create_system = 0
            file.writestr(info, data)
    assert load_dataset(path, validation=0, test=0).train.paths == tuple(GOOD)


def special(kind: bytes, name: str = "a/odd") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with tarfile.open(folder / "pets.tar", "w") as tar:
            for path, data in GOOD.items():
                info = tarfile.TarInfo(path)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
        return folder / "pets.tar"

    return make


def cut(share: float, mode: str = "w", name: str = "pets.tar") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = make_tar(folder / name, {f"{c}/{i}.png": png(i, 40) for c in "ab" for i in range(9)}, mode)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size if share < 1 else share)])
        return path

    return make


def without_its_end(folder: Path) -> Path:
    path = make_tar(folder / "pets.tar", {"a/0.png": b"x" * 512, "b/0.png": b"x" * 512}, form=tarfile.USTAR_FORMAT)
    path.write_bytes(path.read_bytes()[:2048])
    return path


def flipped(place: float, mode: str = "w", name: str = "pets.tar") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = make_tar(folder / name, {f"{c}/{i}.png": png(i, 40) for c in "ab" for i in range(9)}, mode)
        data = bytearray(path.read_bytes())
        data[int(place * len(data)) if place < 1 else int(place)] ^= 0x55
        path.write_bytes(data)
        return path

    return make


def linked_zip(folder: Path) -> Path:
    path = make_zip(folder / "pets.zip", GOOD)
    with zipfile.ZipFile(path, "a") as file:
        info = zipfile.ZipInfo("a/link.png")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
    return path


def encrypted_zip(folder: Path) -> Path:
    data = bytearray(make_zip(folder / "pets.zip", GOOD).read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.find(signature) + place] |= 1
    (folder / "pets.zip").write_bytes(data)
    return folder / "pets.zip"


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


BAD = {
    "link": (special(tarfile.SYMTYPE), "pets.tar holds 'a/odd', a link: only files and folders are read"),
    "hard_link": (special(tarfile.LNKTYPE), "'a/odd', a link"),
    "device": (special(tarfile.CHRTYPE), "'a/odd', a device"),
    "pipe": (special(tarfile.FIFOTYPE), "'a/odd', a pipe"),
    "sparse": (special(tarfile.GNUTYPE_SPARSE), "'a/odd', a sparse file"),
    "unknown_kind": (special(b"Q"), "'a/odd', of kind b'Q'"),
    "dots": (lambda f: make_tar(f / "x.tar", {**GOOD, "a/../../x.png": png()}), "a path that leads out of the archive"),
    "absolute": (lambda f: make_tar(f / "x.tar", {**GOOD, "/etc/x.png": png()}), "'/etc/x.png', a path that leads out"),
    "dots_in_zip": (lambda f: make_zip(f / "x.zip", {**GOOD, "../x.png": png()}), "'../x.png', a path that leads out"),
    "absolute_in_zip": (lambda f: make_zip(f / "x.zip", {**GOOD, "/x.png": png()}), "'/x.png', a path that leads out"),
    "drive": (lambda f: make_zip(f / "x.zip", {**GOOD, "C:/x.png": png()}), "'C:/x.png', a path that leads out"),
    "link_in_zip": (linked_zip, "pets.zip holds 'a/link.png', a link"),
    "encrypted": (encrypted_zip, r"pets.zip is encrypted \(a/0.png\): unpack it with its password first"),
    "cut_tar": (cut(0.5), r"pets.tar is cut off within [ab]/\d.png"),
    "cut_in_a_header": (cut(300), "pets.tar is no tar archive"),
    "no_end": (without_its_end, "pets.tar is cut off after b/0.png"),
    "cut_gz": (cut(0.5, "w:gz", "pets.tar.gz"), "pets.tar.gz is damaged: it ends too early"),
    "cut_bz2": (cut(0.5, "w:bz2", "pets.tbz2"), "pets.tbz2 is damaged: it ends too early"),
    "cut_xz": (cut(0.5, "w:xz", "pets.tar.xz"), "pets.tar.xz is damaged: it ends too early"),
    "flipped_gz": (flipped(0.5, "w:gz", "pets.tar.gz"), "pets.tar.gz is damaged"),
    "flipped_xz": (flipped(0.5, "w:xz", "pets.tar.xz"), "pets.tar.xz is damaged"),
    "flipped_header": (flipped(512 * 11 + 3), r"pets.tar is damaged: what follows a/\d.png is no file of an archive"),
    "text_as_tar": (written("x.tar", b"hello" * 300), "x.tar is no tar archive"),
    "empty_tar": (written("x.tar", b""), "x.tar is no tar archive"),
    "html_as_gz": (written("x.tar.gz", b"<html>not found</html>" * 100), "x.tar.gz is no tar archive"),
    "gz_of_text": (written("x.tgz", __import__("gzip").compress(b"hello" * 300)), "x.tgz is no tar archive"),
    "text_as_zip": (written("x.zip", b"hello"), "x.zip is no zip archive, or it is damaged or cut off"),
    "empty_zip": (lambda f: make_zip(f / "x.zip", {}), "x.zip has no class folders"),
    "no_folders": (lambda f: make_tar(f / "x.tar", {"a.png": png(), "b.png": png(1)}), "x.tar has no class folders"),
    "empty_class": (lambda f: make_zip(f / "x.zip", {**GOOD, "c/x.txt": b""}), "x.zip: c holds no images"),
    "one_class": (lambda f: make_tar(f / "x.tar", {"a/1.png": png(), "a/2.png": png(1)}), "at least 2 classes"),
    "file_and_folder": (lambda f: make_tar(f / "x.tar", {**GOOD, "a": b"file"}), "'a' both as a file and as a folder"),
    "unreadable": (
        lambda f: make_tar(f / "x.tar", {**GOOD, "a/bad.png": b"no"}),
        r"x.tar: 1 of 7 image files cannot be read: a/bad.png \(not an image that Pillow knows\); .*--skip-bad",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("skip_bad", [False, True])
def test_one_clear_line(tmp_path: Path, case: str, skip_bad: bool) -> None:
    make, says = BAD[case]
    path = make(tmp_path)
    if case == "unreadable" and skip_bad:
        assert load_dataset(path, skip_bad=True).unreadable == (("a/bad.png", "not an image that Pillow knows"),)
        return
    with pytest.raises(DataError, match=says) as raised:
        load_dataset(path, skip_bad=skip_bad)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value) or case == "one_class"


def test_a_damaged_file_within_a_zip_is_one_unreadable_file(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "pets.zip", {**GOOD, "b/4.png": png(5)})
    data = bytearray(path.read_bytes())
    data[data.find(b"b/1.png") + 40] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"1 of 7 image files cannot be read: b/1\.png \(damaged in the archive: "):
        load_dataset(path)
    assert [name for name, _ in load_dataset(path, skip_bad=True).unreadable] == ["b/1.png"]


@pytest.mark.parametrize("name", ["pets.tar", "pets.zip", "pets.tar.xz"])
def test_a_file_of_absurd_size_is_not_read(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foveal.data.sources.tar.LARGEST", 10_000)
    monkeypatch.setattr("foveal.data.sources.zip.LARGEST", 10_000)
    files = {**GOOD, "a/huge.png": bytes(1 << 20)}
    path = make_tar(tmp_path / name, files, MODES[name]) if MODES[name] else make_zip(tmp_path / name, files)
    data = load_dataset(path, skip_bad=True)
    assert data.unreadable == (("a/huge.png", member.TOO_LARGE.reason),)


@pytest.mark.parametrize("name", ["pets.tar.gz", "pets.tar.xz", "pets.tar.bz2", "pets.zip"])
def test_an_archive_that_unpacks_without_end_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "_SUSPICIOUS", 1 << 20)
    files = {**GOOD, "zeros.bin": bytes(30 << 20)}
    path = make_tar(tmp_path / name, files, MODES[name]) if MODES[name] else make_zip(tmp_path / name, files)
    with pytest.raises(DataError, match=f"{name} unpacks to more than 200 times its size"):
        load_dataset(path)


def test_a_size_that_is_a_lie_costs_no_memory(tmp_path: Path) -> None:
    import tracemalloc

    info = tarfile.TarInfo("a/0.png")
    info.size = 1 << 50
    (tmp_path / "pets.tar").write_bytes(info.tobuf() + bytes(5000))
    info.size = member.LARGEST
    (tmp_path / "pets2.tar").write_bytes(info.tobuf() + bytes(5000))
    tracemalloc.start()
    for name in ("pets.tar", "pets2.tar"):
        with pytest.raises(DataError, match=r"is cut off within a/0\.png"):
            load_dataset(tmp_path / name, skip_bad=True)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_an_image_of_absurd_size_in_an_archive(tmp_path: Path) -> None:
    plain = io.BytesIO()
    Image.new("1", (8, 8)).save(plain, "bmp")
    header = bytearray(plain.getvalue())
    header[18:26] = (30000).to_bytes(4, "little") * 2
    path = make_zip(tmp_path / "pets.zip", {**GOOD, "a/bomb.bmp": bytes(header)})
    with pytest.raises(DataError, match=r"a/bomb\.bmp \(too many pixels"):
        load_dataset(path)


def test_the_second_time_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_tar(tmp_path / "pets.tar.gz", {**GOOD, "a/bad.png": b"no", "a/x.txt": b"", ".x": b""}, "w:gz")
    first = load_dataset(path, skip_bad=True)
    with monkeypatch.context() as patch:
        patch.setattr(archive_source, "_decode", lambda *_: pytest.fail("it was read again"))
        second = load_dataset(path, skip_bad=True)
        with pytest.raises(DataError, match=r"a/bad\.png \(not an image"):
            load_dataset(path)
    assert (first.fingerprint, first.notes, first.unreadable, first.originals) == (
        second.fingerprint, second.notes, second.unreadable, second.originals,
    )  # fmt: skip
    assert first.train.paths == second.train.paths
    make_tar(path, {**GOOD, "a/bad.png": png(55)}, "w:gz")
    assert load_dataset(path).fingerprint != first.fingerprint


def test_progress_and_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"{c}/{i:03}.png": png(1000 * k + i) for k, c in enumerate("ab") for i in range(100)}
    used: list[int] = []
    decode = pipeline.decode_files

    def watched(files, wanted, threads, tell):  # type: ignore[no-untyped-def]
        used.append(threads)
        return decode(files, wanted, threads, tell)

    monkeypatch.setattr(archive_source, "decode_files", watched)
    for path in (make_tar(tmp_path / "pets.tar.xz", files, "w:xz"), make_zip(tmp_path / "pets.zip", files)):
        prints = set()
        for threads in (1, 3):
            told: list[tuple[int, float]] = []
            data = load_dataset(path, threads=threads, cache=False, progress=lambda n, s: told.append((n, s)))  # noqa: B023
            prints.add(data.fingerprint)
            assert told == sorted(told)
            assert told[-1][0] == 200
            assert all(0 <= share <= 1 for _, share in told)
        assert len(prints) == 1
    assert used == [1, 3, 1, 3]


NAMES = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="/"), min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=4), st.binary(max_size=1500)), max_size=5),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.sampled_from(["w", "w:gz", "w:bz2", "w:xz"]),
)
def test_a_tar_gives_what_was_put_in(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[list[str], bytes]], form: int, mode: str
) -> None:
    files = {"/".join(parts): data for parts, data in members if not {".", ".."} & set(parts)}
    files = {name: data for name, data in files.items() if name[1:3] != ":\\"}
    path = make_tar(tmp_path_factory.mktemp("tar") / "x.tar", files, mode, form)
    with Tar(path) as tar:
        assert {m.name: m.read() for m in tar.members()} == files
    with Tar(path) as tar:
        assert [m.name for m in tar.members()] == list(files)
