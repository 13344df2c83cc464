"""Which code executes plans, and the threads that do it on the CPU."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from searcher.errors import ConfigError
from searcher.merge.kernels import reference

if TYPE_CHECKING:
    from searcher.merge.kernels.buffers import Buffers
    from searcher.merge.plan import TensorPlan

STRETCH = 1 << 20  # elements that one thread merges in one go
SHARED_STRETCH = 1 << 18  # when several candidates are merged: their sources stay in the cache meanwhile
COMPILED_FROM = 1 << 20  # parameters; below, compiling takes longer than it saves
SWITCH_INTERVAL = 1e-4  # seconds; a thread that has merged a stretch waits no longer for the one that plans the next
CHOICES = ("auto", "reference", "compiled", "triton")

_Task = tuple[Callable[[int, int], None], int, int]  # what merges a stretch, and the elements it shall merge
Work = tuple["TensorPlan", "Buffers", int, int]  # a plan, and the elements of a tensor to merge


class Backend(ABC):
    """Executes plans; ``submit`` may return before they are done, ``wait`` may not."""

    name: str

    @abstractmethod
    def submit(self, work: Sequence[Work]) -> None:
        """Merge stretches of one tensor for one or several candidates."""

    def wait(self) -> None:
        """Return when everything submitted is done; raises what failed."""
        return

    def drop(self) -> None:
        """Return when nothing submitted runs any more, done or not: the build that it was for has failed."""
        return


class ReferenceBackend(Backend):
    """Plain torch, on any device."""

    name = "reference"

    @override
    def submit(self, work: Sequence[Work]) -> None:
        for plan, buffers, start, stop in work:
            reference.execute(plan, buffers, start, stop)


class CompiledBackend(Backend):
    """Kernels compiled by numba, on as many threads as torch uses; they run without Python's lock."""

    name = "compiled"

    def __init__(self) -> None:
        import torch

        self._threads = ThreadPoolExecutor(max(1, torch.get_num_threads()), thread_name_prefix="merge")
        self._pending: list[Future[None]] = []
        self._collected: list[list[_Task]] = []
        self._size = 0
        self._interval = 0.0  # of Python's lock before the work; 0 while there is none

    @override
    def submit(self, work: Sequence[Work]) -> None:
        from searcher.merge.kernels.cpu import CompiledPlan

        tasks: list[_Task] = []
        for plan, buffers, start, stop in work:
            run = CompiledPlan(plan, buffers).run if plan.used else partial(reference.execute, plan, buffers)
            tasks.append((run, start, stop))
        self._collected.append(tasks)
        self._size += sum(stop - start for _, start, stop in tasks)
        if self._size >= STRETCH:
            self._flush()

    @override
    def wait(self) -> None:
        self._flush()
        for future in self._finished():
            future.result()

    @override
    def drop(self) -> None:
        self._collected, self._size = [], 0
        for future in self._pending:
            future.cancel()
        self._finished()

    def _finished(self) -> list[Future[None]]:
        """All that was given to the threads, once none of it runs any more."""
        pending, self._pending = self._pending, []
        wait(pending)  # all, also if one has failed: the others still write into the result
        if self._interval:
            sys.setswitchinterval(self._interval)
            self._interval = 0.0
        return pending

    def _flush(self) -> None:
        """Give the threads what was collected: small tensors together, large ones cut."""
        if not self._pending and not self._interval:
            self._interval = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_INTERVAL)
        collected, self._collected, self._size = self._collected, [], 0
        small: list[list[_Task]] = []
        for tasks in collected:
            if sum(stop - start for _, start, stop in tasks) < STRETCH:
                small.append(tasks)
                continue
            step = STRETCH if len(tasks) == 1 else SHARED_STRETCH
            first, last = min(a for _, a, _ in tasks), max(b for *_, b in tasks)
            for low in range(first - first % step, last, step):
                self._pending.append(self._threads.submit(_run, tasks, low, low + step))
        if small:
            self._pending.append(self._threads.submit(_run_all, small))


class TritonBackend(Backend):
    """Triton kernels on a CUDA device; they are queued on the current stream, which later work follows."""

    name = "triton"

    @override
    def submit(self, work: Sequence[Work]) -> None:
        from searcher.merge.kernels import gpu

        spans = {(start, stop) for _, _, start, stop in work}
        if len(work) > 1 and len(spans) == 1:
            gpu.execute_many([w[0] for w in work], [w[1] for w in work], *spans.pop())
            return
        for plan, buffers, start, stop in work:
            gpu.execute(plan, buffers, start, stop)


def make_backend(name: str, device: str, n_parameters: int) -> Backend:
    """The backend for a device.

    Args:
        name: ``auto`` or one of the others of ``CHOICES``; the environment variable ``SEARCHER_KERNELS`` overrides
            ``auto``.
        device: A torch device.
        n_parameters: Size of a model; small ones are merged faster than a kernel is compiled.

    Raises:
        ConfigError: If the name is unknown or the backend cannot run here.
    """
    chosen = os.environ.get("SEARCHER_KERNELS", "auto") if name == "auto" else name
    if chosen not in CHOICES:
        raise ConfigError(
            f"Kernels {chosen!r} do not exist.", where="SEARCHER_KERNELS", fix=f"Use {', '.join(CHOICES)}."
        )
    on_cpu = device == "cpu"
    if chosen == "auto":
        package, wanted = ("numba", "compiled") if on_cpu else ("triton", "triton")
        worth_it = find_spec(package) is not None and (not on_cpu or n_parameters >= COMPILED_FROM)
        chosen = wanted if worth_it else "reference"
    if (chosen == "compiled" and not on_cpu) or (chosen == "triton" and on_cpu):
        raise ConfigError(f"Kernels {chosen!r} do not run on {device!r}.", where="SEARCHER_KERNELS", fix="Use auto.")
    made: dict[str, Any] = {"reference": ReferenceBackend, "compiled": CompiledBackend, "triton": TritonBackend}
    backend: Backend = made[chosen]()
    return backend


def _run_all(collected: list[list[_Task]]) -> None:
    for tasks in collected:
        for run, start, stop in tasks:
            run(start, stop)


def _run(tasks: list[_Task], low: int, high: int) -> None:
    """All candidates over one stretch."""
    for run, start, stop in tasks:
        first, last = max(start, low), min(stop, high)
        if first < last:
            run(first, last)
