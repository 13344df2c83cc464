"""Which code executes plans, and the threads that do it on the CPU."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from searcher.errors import ConfigError
from searcher.merge.kernels import reference

if TYPE_CHECKING:
    from searcher.merge.kernels.buffers import Buffers
    from searcher.merge.plan import TensorPlan

BATCH = 1 << 24  # elements that are planned before threads are given them
STRETCH = 1 << 21  # elements that one thread merges in one go, at least
ALIGNED = 1 << 12  # stretches of one tensor begin at multiples of this
SHARED_STRETCH = 1 << 18  # when several candidates are merged: their sources stay in the cache meanwhile
COMPILED_FROM = 1 << 20  # parameters; below, compiling takes longer than it saves
SPAN = 1 << 32  # indices beyond this change the key of the hash
SWITCH_INTERVAL = 1e-4  # seconds; a thread that has merged a stretch waits no longer for the one that plans the next
CHOICES = ("auto", "reference", "compiled", "triton")

Job = tuple[int, int, int]  # number of a piece of work, first element, last element + 1
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

        self._n_threads = max(1, torch.get_num_threads())
        self._threads = ThreadPoolExecutor(self._n_threads, thread_name_prefix="merge")
        self._pending: list[Future[None]] = []
        self._collected: list[Sequence[Work]] = []
        self._size = 0
        self._interval = 0.0  # of Python's lock before the work; 0 while there is none

    @override
    def submit(self, work: Sequence[Work]) -> None:
        self._collected.append(work)
        self._size += sum(stop - start for *_, start, stop in work)
        if self._size >= BATCH:
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
        from searcher.merge.kernels.cpu import CompiledBatch

        collected, self._collected, self._size = self._collected, [], 0
        if not collected:
            return
        if not self._interval:
            self._interval = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_INTERVAL)
        batch = CompiledBatch([(plan, buffers) for work in collected for plan, buffers, *_ in work])
        spans = [[(start, stop) for *_, start, stop in work] for work in collected]
        for jobs in stretches(spans, self._n_threads):
            self._pending.append(self._threads.submit(batch.run, jobs))


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


def stretches(spans: Sequence[Sequence[tuple[int, int]]], n_threads: int) -> Iterator[list[Job]]:
    """What each thread does in one go: small tensors together, large ones cut.

    First long stretches, so that threads need Python's lock rarely while the next tensors are planned, then shorter
    ones, so that all threads end together. Several candidates go over a part of their tensor one after the other,
    while its sources are in the cache.

    Args:
        spans: For each tensor the elements, start and stop, of each piece of work.
        n_threads: Number of threads.

    Yields:
        Number of a piece (counted over all tensors), start and stop.
    """
    left = sum(stop - start for pieces in spans for start, stop in pieces)
    jobs: list[Job] = []
    size, wanted = 0, _share(left, n_threads)
    for part in _parts(spans):
        for job in part if len(part) == 1 else ():  # of one candidate: cut where the stretch is long enough
            number, start, stop = job
            while size + stop - start > wanted:
                cut = min(stop, start + max(ALIGNED, (wanted - size) // ALIGNED * ALIGNED))
                jobs.append((number, start, cut))
                yield jobs
                left, start = left - size - (cut - start), cut
                jobs, size, wanted = [], 0, _share(left, n_threads)
            part = [(number, start, stop)] if start < stop else []
        jobs += part
        size += sum(stop - start for _, start, stop in part)
        if size >= wanted:
            yield jobs
            left -= size
            jobs, size, wanted = [], 0, _share(left, n_threads)
    if jobs:
        yield jobs


def _share(left: int, n_threads: int) -> int:
    """Elements of the next stretch."""
    return max(STRETCH, left // (2 * n_threads))


def _parts(spans: Sequence[Sequence[tuple[int, int]]]) -> Iterator[list[Job]]:
    """Work that should stay together, within one multiple of 2^32."""
    first = 0
    for pieces in spans:
        numbered = [(j, start, stop) for j, (start, stop) in enumerate(pieces, first) if start < stop]
        first += len(pieces)
        together = any(before[2] > after[1] for before, after in pairwise(numbered))  # of several candidates
        step = SHARED_STRETCH if together else SPAN
        for group in [numbered] if together else [[job] for job in numbered]:
            lowest, highest = min(a for _, a, _ in group), max(b for *_, b in group)
            for low in range(lowest - lowest % step, highest, step):
                cut = ((j, max(a, low), min(b, low + step)) for j, a, b in group)
                yield [job for job in cut if job[1] < job[2]]
