"""Places in the arena: buffers whose lifetimes do not overlap share memory."""

from foveal.plan.program import Buffer, Step

LINE = 64  # bytes: buffers start on a cache line


def place(steps: list[Step], batch: int) -> int:
    """Give every arena buffer of the program its offset in bytes; returns the arena's size.

    A buffer lives from the first to the last step that names it. Largest first, each into the lowest gap that no
    buffer alive at the same time covers: the greedy rule of Pisarchyk and Lee (2020, arXiv 2001.03288).
    """
    lives: dict[Buffer, tuple[int, int]] = {}
    for number, step in enumerate(steps):
        for buffer in step.buffers:
            if buffer.region == "arena":
                lives[buffer] = (lives.get(buffer, (number, number))[0], number)
    placed: list[tuple[int, int, int, int]] = []  # offset, end, first step, last step
    for buffer in sorted(lives, key=lambda b: -b.nbytes(batch)):
        first, last = lives[buffer]
        size = -(-buffer.nbytes(batch) // LINE) * LINE
        offset = 0
        for start, end, born, dies in sorted(placed):
            if born <= last and first <= dies:
                if offset + size <= start:
                    break
                offset = max(offset, end)
        buffer.offset = offset
        placed.append((offset, offset + size, first, last))
    return max((end for _, end, _, _ in placed), default=0)
