"""Sources in host memory; each tensor is copied to the device while the one before it is merged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
from typing_extensions import override

from searcher.merge.stores import SourceStore, Tensors, stored_dtype

if TYPE_CHECKING:
    from searcher.pool.layout import TensorEntry
    from searcher.pool.pool import Pool

PIECE = 1 << 26  # bytes; torch rounds page-locked memory up to a power of two, so that larger lines would waste half


class HostStore(SourceStore):
    """Every source as one line in host memory, page-locked for a CUDA device.

    The device holds two tensors of each source: one that is merged and one that is being copied.
    """

    def __init__(self, pool: Pool, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(pool, device, dtype)
        self.mode = "host"
        self._lines: dict[object, HostLine] = {}

    @override
    def tensors(self, names: Sequence[str], entries: Iterable[TensorEntry]) -> Iterator[tuple[TensorEntry, Tensors]]:
        lines, wanted = {name: self._line(name) for name in names}, list(entries)
        largest = max((entry.size for entry in wanted), default=0)
        slots = [
            {name: torch.empty(largest, dtype=line.dtype, device=self._device) for name, line in lines.items()}
            for _ in range(2)
        ]
        queue = make_queue(self._device)

        def start(i: int) -> None:
            queue.start(i % 2, partial(_copy, lines, wanted[i], slots[i % 2]))

        try:
            for i, entry in enumerate(wanted):
                if i == 0:
                    start(0)
                if i + 1 < len(wanted):
                    start(i + 1)
                queue.wait(i % 2)
                yield entry, {name: buffer[: entry.size] for name, buffer in slots[i % 2].items()}
                queue.release(i % 2)
        finally:
            queue.close()

    def _line(self, name: str) -> HostLine:
        key = self.key(name)
        if key not in self._lines:
            dtype = stored_dtype(self._sources[name], self._dtype)
            line = HostLine(self._layout.n_parameters, dtype, pinned=self._device.type == "cuda")
            for entry in self._layout.tensors:
                line.write(entry.offset, self.read(name, entry))
            self._lines[key] = line
        return self._lines[key]


class HostLine:
    """One source's parameter line in host memory, in pieces of ``PIECE`` bytes.

    Args:
        size: Number P of parameters.
        dtype: Storage type.
        pinned: Whether it is page-locked, so that the device copies from it by itself.
    """

    def __init__(self, size: int, dtype: torch.dtype, *, pinned: bool) -> None:
        self.dtype = dtype
        self._step = PIECE // dtype.itemsize
        self._pieces = [
            torch.empty(min(self._step, size - start), dtype=dtype, pin_memory=pinned)
            for start in range(0, size, self._step)
        ]

    def write(self, start: int, values: torch.Tensor) -> None:
        """Store values, shape ``(n,)``, from a position on."""
        for low, part in self._parts(start, values.numel()):
            part.copy_(values[low : low + part.numel()])

    def copy_to(self, out: torch.Tensor, start: int) -> None:
        """Copy as many values as ``out``, shape ``(n,)``, takes, from a position on; may return before it is done."""
        for low, part in self._parts(start, out.numel()):
            out[low : low + part.numel()].copy_(part, non_blocking=True)

    def _parts(self, start: int, size: int) -> Iterator[tuple[int, torch.Tensor]]:
        """The pieces of a stretch, each with its distance from the start."""
        at = start
        while at < start + size:
            inside = at % self._step
            part = self._pieces[at // self._step][inside : inside + start + size - at]
            yield at - start, part
            at += part.numel()


class CopyQueue(ABC):
    """Runs copies into two slots of buffers beside the work that reads them."""

    @abstractmethod
    def start(self, slot: int, copies: Callable[[], None]) -> None:
        """Run copies into a slot after the work that was there when the slot was last released."""

    @abstractmethod
    def wait(self, slot: int) -> None:
        """Let the work that follows begin after the copies into a slot."""

    @abstractmethod
    def release(self, slot: int) -> None:
        """Say that the work so far is the last that reads a slot."""

    @abstractmethod
    def close(self) -> None:
        """Let the work that follows, which may use the same memory, begin after all copies."""


class DirectQueue(CopyQueue):
    """Copies at once."""

    @override
    def start(self, slot: int, copies: Callable[[], None]) -> None:
        copies()

    @override
    def wait(self, slot: int) -> None:
        return

    @override
    def release(self, slot: int) -> None:
        return

    @override
    def close(self) -> None:
        return


class CudaQueue(CopyQueue):
    """Copies on a stream of their own; events order them against the current stream, and the host never waits."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._copied, self._released = ([torch.cuda.Event() for _ in range(2)] for _ in range(2))  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream(device))  # the slots' memory may still be in use there

    @override
    def start(self, slot: int, copies: Callable[[], None]) -> None:
        self._stream.wait_event(self._released[slot])  # nothing to wait for before the first release
        with torch.cuda.stream(self._stream):
            copies()
        self._copied[slot].record(self._stream)

    @override
    def wait(self, slot: int) -> None:
        torch.cuda.current_stream(self._device).wait_event(self._copied[slot])

    @override
    def release(self, slot: int) -> None:
        self._released[slot].record(torch.cuda.current_stream(self._device))

    @override
    def close(self) -> None:
        torch.cuda.current_stream(self._device).wait_stream(self._stream)


def make_queue(device: torch.device) -> CopyQueue:
    """The queue for a device."""
    return CudaQueue(device) if device.type == "cuda" else DirectQueue()


def _copy(lines: dict[str, HostLine], entry: TensorEntry, slot: Tensors) -> None:
    for name, line in lines.items():
        line.copy_to(slot[name][: entry.size], entry.offset)
