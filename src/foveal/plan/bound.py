"""A bound program: steps whose buffers have addresses, ready to run; natively in one call, but for Python steps."""

import time
from collections.abc import Callable, Sequence

from foveal.errors import UsageError
from foveal.kernels import REFERENCE, native_program
from foveal.plan.memory import Memory
from foveal.plan.program import Buffer, Phase, RunInfo, Step


def addressed(step: Step, memory: Memory) -> dict[str, int | float]:
    """A native step's arguments with addresses for buffers, 0 for those left out."""
    values: dict[str, int | float] = {}
    for name, value in step.args.items():
        values[name] = memory.address(value) if isinstance(value, Buffer) else 0 if value is None else value
    return values


class BoundProgram:
    """Steps cut into stretches: native ones run as one call without the GIL, Python ones are called."""

    def __init__(self, steps: Sequence[Step], memory: Memory, isa: str, threads: int) -> None:
        self.steps, self._memory, self._threads = tuple(steps), memory, threads
        native = [(step.kernel, addressed(step, memory)) for step in steps if step.function is None]
        self._native = native_program(isa, native, memory) if isa != REFERENCE else None
        self._stretches: list[tuple[int, int] | Step] = []
        count = 0
        for step in steps:
            if step.function is not None:
                self._stretches.append(step)
                continue
            last = self._stretches[-1] if self._stretches else None
            if isinstance(last, tuple):
                self._stretches[-1] = (last[0], count + 1)
            else:
                self._stretches.append((count, count + 1))
            count += 1

    def run(self, run: RunInfo) -> None:
        """Run all steps for `run.batch` images."""
        for stretch in self._stretches:
            if isinstance(stretch, tuple):
                self._run_native(*stretch, run)
            else:
                stretch.function(self._memory.array, run)  # type: ignore[misc]

    def time_steps(self, run: RunInfo, runs: int) -> list[tuple[Step, list[float]]]:
        """Seconds of each native step, `runs` times over; Python steps are left out."""
        native = [step for step in self.steps if step.function is None]
        times: list[tuple[Step, list[float]]] = [(step, []) for step in native]
        for _ in range(runs):
            for number, (_, values) in enumerate(times):
                start = time.perf_counter()
                self._run_native(number, number + 1, run)
                values.append(time.perf_counter() - start)
        return times

    def part(self, run: RunInfo, layer: str, phase: Phase) -> Callable[[], None]:
        """Runs the native steps of one layer in one phase. Raises KeyError where there are none, or not in a row."""
        own = [n for n, s in enumerate(self.steps) if (s.layer, s.phase, s.function) == (layer, phase, None)]
        if not own or own != list(range(own[0], own[-1] + 1)) or any(step.function for step in self.steps):
            raise KeyError(f"no native steps in a row of {layer!r} in phase {phase!r}")
        return lambda: self._run_native(own[0], own[-1] + 1, run)

    def _run_native(self, begin: int, end: int, run: RunInfo) -> None:
        try:
            self._native.run(  # type: ignore[union-attr]
                begin, end, self._threads, run.batch, run.lr, run.update, run.epoch, run.step, run.seed
            )
        except RuntimeError as error:  # the system gives no more threads
            raise UsageError(f"{error}; use fewer threads") from None

    def traffic(self, batch: int) -> int:
        """Bytes that the steps read and write for a whole batch, each buffer once a step."""
        return sum(buffer.nbytes(batch) for step in self.steps for buffer in step.buffers)

    def table(self, isa: str, batch: int) -> list[tuple[str, ...]]:
        """One row a step: phase, layer, kernel, provenance, bytes touched, FLOPs, for a whole batch."""
        rows: list[tuple[str, ...]] = []
        for step in self.steps:
            where = "python" if step.function is not None else f"native {isa}"
            touched = sum(buffer.nbytes(batch) for buffer in step.buffers)
            rows.append((step.phase, step.layer, step.kernel, where, f"{touched:,}", f"{step.flops * batch:,}"))
        return rows
