"""The engine's memory mode: planned from free memory, and given up for a smaller one when memory runs out after all."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch
from typing_extensions import override

from searcher.errors import ConfigError
from searcher.merge.free_memory import trim_heap
from searcher.merge.host_store import HostStore
from searcher.merge.memory_plan import DESCRIPTIONS, MemoryPlan, plan_memory
from searcher.merge.stores import FileStore, Mode, ResidentStore, SourceStore, Tensors

if TYPE_CHECKING:
    from searcher.pool.layout import TensorEntry
    from searcher.pool.pool import Pool

T = TypeVar("T")

STORES: dict[Mode, type[SourceStore]] = {"resident": ResidentStore, "host": HostStore, "stream": FileStore}
SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "cannot allocate memory")


class PlannedStore(SourceStore):
    """The store of a plan.

    When an allocation fails in mode ``auto``, it goes over to the next mode, which needs less: resident, host, stream.

    Args:
        memory: ``auto``, or the one mode that is allowed.
        pool: The sources.
        device: Where merging happens.
        dtype: Storage type of weights.

    Raises:
        ConfigError: As :func:`plan_memory`.
    """

    def __init__(self, memory: str, pool: Pool, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(pool, device, dtype)
        self._memory, self._pool = memory, pool
        self.plan: MemoryPlan = plan_memory(memory, pool, device, dtype)
        self.mode = self.plan.mode
        self._store = STORES[self.mode](pool, device, dtype)

    @override
    def tensors(self, names: Sequence[str], entries: Iterable[TensorEntry]) -> Iterator[tuple[TensorEntry, Tensors]]:
        wanted, n_done = list(entries), 0
        while n_done < len(wanted):
            try:
                for found in self._store.tensors(names, wanted[n_done:]):
                    n_done += 1
                    yield found
                    del found  # or its memory could not be released below
            except (MemoryError, RuntimeError) as error:  # the store's alone: what fails outside does not pass here
                fault = shortage(error)
            else:
                return
            self.give_way(fault)

    @override
    def lines(self, names: Sequence[str]) -> Tensors | None:
        return self.retry(lambda: self._store.lines(names))

    def retry(self, work: Callable[[], T]) -> T:
        """Do work that can be done again, in a smaller mode if memory runs out.

        Raises:
            ConfigError: If memory runs out in the last mode.
        """
        while True:
            try:
                return work()
            except (MemoryError, RuntimeError) as error:
                fault = shortage(error)
            self.give_way(fault)  # outside, where the error's frames no longer hold what did not fit

    def give_way(self, fault: str) -> None:
        """Go over to the next mode.

        Args:
            fault: What was said when memory ran out.

        Raises:
            ConfigError: If there is no next mode.
        """
        before, modes = self.mode, list(DESCRIPTIONS)
        if self._memory != "auto" or before == "stream":
            raise ConfigError(
                f"Memory ran out in mode {before!r}: {fault}",
                where=f"pool.memory: {self._memory}",
                fix="Use a machine with more memory, fewer processes, or a smaller batch of candidates or examples."
                if before == "stream"
                else "Set pool.memory to auto, or to stream, which needs least.",
            )
        after = "stream" if self._device.type == "cpu" else modes[modes.index(before) + 1]
        self._store = STORES[after](self._pool, self._device, self._dtype)
        release_memory()  # of the store before, so that it counts as free in the new plan
        plan = plan_memory(after, self._pool, self._device, self._dtype)
        reason = f"Memory mode {after} ({DESCRIPTIONS[after]}): mode {before} ran out of memory ({fault})."
        self.plan, self.mode = replace(plan, reason=reason), after
        logging.getLogger(__name__).warning(reason)


def choose_store(memory: str, pool: Pool, device: torch.device, dtype: torch.dtype) -> PlannedStore:
    """The store for a memory mode: ``resident``, ``host``, ``stream`` or ``auto``.

    Raises:
        ConfigError: As :func:`plan_memory`.
    """
    return PlannedStore(memory, pool, device, dtype)


def shortage(error: Exception) -> str:
    """What an error says about memory that ran out, in one line; any other error is raised again."""
    text = " ".join(str(error).split("DefaultCPUAllocator:")[-1].split())[:200]
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(sign in text.lower() for sign in SIGNS):
        return text or type(error).__name__
    raise error


def release_memory() -> None:
    """Give memory that nobody uses any more back to the system."""
    gc.collect()
    trim_heap()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        empty_host_cache = getattr(torch.accelerator, "empty_host_cache", None)
        if empty_host_cache is not None:
            empty_host_cache()
