"""Image files that a source has listed → SourceData: from the cache, or decoded and then kept there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.data import cache
from foveal.data.decode import Picture, Unreadable, Wanted, decoder
from foveal.data.images import Images, Originals
from foveal.data.pipeline import Result, decode_files, originals, stack
from foveal.data.sources.base import PARTS, ReadOptions, SourceData, first_few
from foveal.data.sources.layout import Listing, in_bytes
from foveal.errors import DataError


@dataclass(frozen=True, eq=False)
class Decoded:
    """pixels uint8 (M, H, W, C) of the M readable ones of some files, in their order; bad: why the others are not, by
    position. (M, 0, 0, 3) if none is."""

    pixels: NDArray[np.uint8]
    bad: dict[int, Unreadable]
    originals: Originals | None

    @classmethod
    def of(cls, results: Iterable[Result], wanted: Wanted) -> "Decoded":
        pictures, bad = [], {}
        for i, result in enumerate(results):
            if isinstance(result, Picture):
                pictures.append(result)
            else:
                bad[i] = result
        facts = originals(pictures)
        return cls(stack(pictures, wanted) if pictures else np.zeros((0, 1, 1, 3), np.uint8), bad, facts)


def read_files(name: str, place: str, root: Path, listing: Listing, options: ReadOptions) -> SourceData:
    """Files on disk: names below `root`. place: the source, as messages call it."""

    def decode() -> tuple[Decoded, dict[str, Any]]:
        total = len(listing.files)
        paths = [root / name for name in listing.names]
        results = decode_files(
            paths, options.wanted, options.thread_count, lambda done: options.tell(done, done / total)
        )
        return Decoded.of(results, options.wanted), {}

    decoded, _ = cached(root, listing.names, {"source": "files"}, options, decode)
    return source_data(name, place, listing, decoded, options)


def cached(
    root: Path,
    names: Sequence[str],
    request: Mapping[str, Any],
    options: ReadOptions,
    decode: Callable[[], tuple[Decoded, dict[str, Any]]],
) -> tuple[Decoded, dict[str, Any]]:
    """What decode() gives, images and a record of JSON values, or gave when the files `names` below `root` were the
    same and the same was asked for."""
    geometry = options.geometry
    asked = {
        **request,
        "size": options.size,
        "geometry": geometry and [geometry.height, geometry.width, geometry.channels],
        "decoder": decoder(),
    }
    folder, key = cache.cache_folder(), cache.cache_key(root, names, asked) if options.cache else None
    if key and (found := cache.fetch(folder, key)):
        record, pixels = found
        bad = {int(i): Unreadable(reason) for i, reason in record["bad"].items()}
        return Decoded(pixels, bad, Originals.from_json(record["originals"])), record["more"]
    decoded, more = decode()
    pixels, bad, facts = decoded.pixels, decoded.bad, decoded.originals
    lasting = (not bad or options.skip_bad) and not any(why.passing for why in bad.values())
    if key and facts and lasting:
        record = {"bad": {i: why.reason for i, why in bad.items()}, "originals": facts.to_json(), "more": more}
        pixels = cache.store(folder, key, record, pixels)
    return Decoded(pixels, bad, facts), more


def source_data(name: str, place: str, listing: Listing, decoded: Decoded, options: ReadOptions) -> SourceData:
    """The listed images by parts. Raises DataError if some cannot be read, unless options.skip_bad; or if none can."""
    names, bad = listing.names, decoded.bad
    unreadable = (*((names[i], why.reason) for i, why in sorted(bad.items())), *listing.missing)
    said = first_few(f"{name} ({reason})" for name, reason in unreadable)
    if bad and not options.skip_bad:
        raise DataError(
            f"{place}: {len(bad)} of {len(names)} image files cannot be read: {said}; "
            "remove them, or leave them out with --skip-bad"
        )
    if len(bad) == len(names):
        which = f"none of the {len(names)} image files can" if len(names) > 1 else "the only image file cannot"
        raise DataError(f"{place}: {which} be read: {said}")
    class_names = tuple(sorted({label for _, _, label in listing.files}, key=in_bytes))
    number = {label: i for i, label in enumerate(class_names)}
    kept = [file for i, file in enumerate(listing.files) if i not in bad]
    labels = np.array([number[label] for _, _, label in kept], np.int32)
    everything = Images(decoded.pixels, labels, class_names, tuple(name for name, _, _ in kept))
    parts = np.array([part for _, part, _ in kept])
    return SourceData(
        name,
        {part: everything.subset(np.flatnonzero(parts == part)) for part in PARTS if (parts == part).any()},
        "bilinear",
        _notes(listing, unreadable),
        unreadable,
        decoded.originals,
    )


def _notes(listing: Listing, unreadable: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    notes = []
    if listing.ignored:
        notes.append(f"ignored, not images in a class folder ({len(listing.ignored)}): {first_few(listing.ignored)}")
    if listing.hidden:
        notes.append(f"ignored, hidden ({len(listing.hidden)}): {first_few(listing.hidden)}")
    if unreadable:
        notes.append(f"left out, unreadable ({len(unreadable)}): {first_few(name for name, _ in unreadable)}")
    return tuple(notes)
