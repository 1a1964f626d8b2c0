"""Splitting with groups: images that belong together, such as those of one person, stay on one side."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from foveal.data.duplicates import Index, first_places
from foveal.data.images import Images
from foveal.data.sources import first_few
from foveal.errors import DataError, UsageError
from foveal.rng import permutation, stream_key


def pattern_of(group_by: str) -> re.Pattern[str]:
    """The regular expression. Raises UsageError if it is none."""
    try:
        return re.compile(group_by)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"--group-by '{group_by}' is no regular expression: {error}") from None


def path_groups(paths: Sequence[str], group_by: str) -> Index:
    """For each path the position of the first one with the same match: the first of its groups in parentheses that
    took part, if the pattern has any, else all of it. The match may lie anywhere in the path. Raises UsageError for
    paths without one."""
    pattern = pattern_of(group_by)
    matches = [pattern.search(path) for path in paths]
    found = [match and _key(match) for match in matches]
    unmatched = [path for path, key in zip(paths, found, strict=True) if key is None]
    if unmatched:
        how = "does not match" if None in matches else "matches with none of its parentheses"
        raise UsageError(
            f"--group-by '{group_by}' {how} {len(unmatched)} of {len(paths)} paths: {first_few(unmatched)}"
        )
    return first_places(found)


def _key(match: re.Match[str]) -> str | None:
    return next((part for part in match.groups() or (match[0],) if part is not None), None)


def joined(a: Index, b: Index) -> Index:
    """Groups of images that are together in a or in b, or by way of others; each (N,), the position of a first one."""
    top = list(range(len(a)))

    def head(i: int) -> int:
        while top[i] != i:
            top[i] = i = top[top[i]]
        return i

    for groups in (a, b):
        for i, first in enumerate(groups.tolist()):
            one, other = head(i), head(first)
            top[max(one, other)] = min(one, other)
    return np.array([head(i) for i in range(len(top))], np.int64)


def split_by_group(
    images: Images, groups: Index, fractions: Sequence[tuple[str, float]], seed: int
) -> dict[str, Index]:
    """Draw parts out of `images`, whole groups at a time → {"train": rest, part: …}, positions in increasing order.

    groups: as `joined` gives them. In a random order, a group goes to a part if that brings the part's numbers of
    images of each class nearer to their fractions (by the sum of squared differences) and leaves some of each class for
    the other parts; then a class that has none gets the group that fits best. Raises DataError for too few groups.
    """
    parts = [name for name, fraction in fractions if fraction > 0]
    names, totals = images.class_names, images.counts
    content: dict[int, Counter[int]] = {}
    for head, label in zip(groups.tolist(), images.labels.tolist(), strict=True):
        content.setdefault(head, Counter())[label] += 1
    spread = Counter(label for counts in content.values() for label in counts)  # groups that a class is in
    for label, name in enumerate(names):
        if spread[label] <= len(parts):
            raise _too_few(name, spread[label], ("train", *parts))
    heads = np.array(list(content), np.int64)
    order = heads[permutation(stream_key(seed, "groups"), len(heads))].tolist()
    chosen: dict[str, list[int]] = {}
    for number, part in enumerate(parts):
        later = len(parts) - number  # parts still to come, training included: a group with each class for each
        goals = [max(1, int(dict(fractions)[part] * total + 0.5)) for total in totals]
        have, taken = [0] * len(names), list[int]()

        def cost(head: int, have: list[int] = have, goals: list[int] = goals) -> int:
            return sum(n * (n + 2 * (have[k] - goals[k])) for k, n in content[head].items())

        def take(head: int, have: list[int] = have, taken: list[int] = taken) -> None:
            taken.append(head)
            order.remove(head)
            for label, count in content[head].items():
                have[label] += count
                spread[label] -= 1

        def spare(head: int, later: int = later) -> bool:
            return all(spread[label] > later for label in content[head])

        for head in list(order):
            if cost(head) < 0 and spare(head):
                take(head)
        for label, name in enumerate(names):
            if not have[label]:
                fitting = [head for head in order if label in content[head] and spare(head)]
                if not fitting:
                    raise _too_few(name, spread[label], ("train", *parts))
                take(min(fitting, key=cost))
        chosen[part] = taken
    chosen["train"] = order
    return {name: np.flatnonzero(np.isin(groups, heads)) for name, heads in chosen.items()}


def _too_few(class_name: str, count: int, parts: Iterable[str]) -> DataError:
    return DataError(
        f"the images of class {class_name!r} lie in {count} group{'s' * (count != 1)} of --group-by that can be "
        f"parted, too few to have some in each of {', '.join(parts)}"
    )
