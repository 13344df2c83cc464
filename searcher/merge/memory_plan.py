"""Where the sources are going to live, chosen from measured free memory, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch

from searcher.errors import ConfigError
from searcher.merge import free_memory
from searcher.merge.free_memory import FreeMemory
from searcher.merge.stores import Mode, all_sources, stored_dtype

if TYPE_CHECKING:
    from searcher.pool.pool import Pool

Place: TypeAlias = Literal["device", "host"]

USABLE = 0.9  # of the free memory; the rest is for evaluating candidates
LARGEST_TABLES = 4 << 30  # bytes of tables with an entry per element that are worth keeping
SMALL_TABLE = 1 << 16  # bytes of the other side tables, per tensor and model
TEMPORARIES = 4  # float32 copies of a tensor, besides one of each source, that planning and merging may make
DESCRIPTIONS: Mapping[Mode, str] = {
    "resident": "sources stay in the memory where merging happens",
    "host": "sources stay in host memory and are copied to the device while merging",
    "stream": "every tensor is read from its file when it is merged",
}


@dataclass(frozen=True)
class MemoryPlan:
    """Where the sources live.

    Args:
        mode: Between builds they are on the device, in host memory, or only in their files.
        reason: Why, in one sentence with figures.
        needed: Bytes that one candidate takes, the sources included, by place; on the CPU the host is the device.
        free: Bytes that were free when this was decided, by place.
        tables: Bytes of side tables with an entry per element that may be kept.
    """

    mode: Mode
    reason: str
    needed: Mapping[Place, int]
    free: Mapping[Place, int]
    tables: int


@dataclass(frozen=True)
class Demand:
    """Bytes that a mode needs, by place.

    Args:
        mode: The mode.
        least: What it cannot do without.
        needed: What it needs when all goes well: also working space, and what loading the module takes.
    """

    mode: Mode
    least: Mapping[Place, int]
    needed: Mapping[Place, int]


def plan_memory(memory: str, pool: Pool, device: torch.device, dtype: torch.dtype) -> MemoryPlan:
    """Choose a mode; nothing is allocated.

    Args:
        memory: ``auto``, or the mode that it has to be.
        pool: The sources.
        device: Where merging happens; on the CPU ``host`` is the same as ``resident``.
        dtype: Storage type of weights.

    Raises:
        ConfigError: If the mode is unknown, or what it cannot do without is more than there is in all.
    """
    if memory not in ("auto", *DESCRIPTIONS):
        known = ", ".join(("auto", *DESCRIPTIONS))
        raise ConfigError(f"Memory mode {memory!r} does not exist.", where="pool.memory", fix=f"Use one of: {known}.")
    there: dict[Place, FreeMemory] = {"host": free_memory.host_memory()}
    if device.type != "cpu":
        there = {"device": free_memory.device_memory(device), **there}
    demands = {demand.mode: demand for demand in _demands(pool, device, dtype)}
    if memory == "auto":
        chosen = next((demand for demand in demands.values() if not _lacks(demand, there)), demands["stream"])
        reason = _why(chosen, demands, there)
    else:
        chosen = demands.get(memory, demands["resident"])  # type: ignore[call-overload]
        reason = f"{_takes(chosen, there)}, as pool.memory: {memory} asks for"
    _refuse_impossible(chosen, there, memory)
    return MemoryPlan(
        chosen.mode, f"Memory mode {chosen.mode} ({DESCRIPTIONS[chosen.mode]}): {reason}.", chosen.needed,
        {place: found.free for place, found in there.items()}, _tables(chosen, there, pool),
    )  # fmt: skip


def _demands(pool: Pool, device: torch.device, dtype: torch.dtype) -> list[Demand]:
    """What each mode needs that makes a difference on the device, the fastest first."""
    size, sources = pool.layout.n_parameters, {source.path: source for source in all_sources(pool)}.values()
    largest = max((entry.size for entry in pool.layout.tensors), default=0)
    width = sum(stored_dtype(source, dtype).itemsize for source in sources)  # bytes per parameter of all sources
    lines, tensors, output = size * width, largest * width, size * dtype.itemsize
    module = size * torch.empty(0, dtype=getattr(torch, pool.dtype)).element_size()
    working = 4 * largest * (len(sources) + TEMPORARIES)
    tables = SMALL_TABLE * len(pool.layout.tensors) * len(pool.models)
    if device.type == "cpu":
        host = output + max(module, working) + tables
        return [
            Demand("resident", {"host": lines + output}, {"host": lines + host}),
            Demand("stream", {"host": output}, {"host": tensors + host}),
        ]
    merging, host = output + working, module + largest * 8 + tables  # one tensor of one source on its way
    return [
        Demand("resident", {"device": lines + output}, {"device": lines + merging, "host": host}),
        Demand("host", {"device": output, "host": lines}, {"device": 2 * tensors + merging, "host": lines + host}),
        Demand("stream", {"device": output}, {"device": tensors + merging, "host": host}),
    ]


def _lacks(demand: Demand, there: Mapping[Place, FreeMemory]) -> list[Place]:
    """Places where a mode needs more than is free."""
    return [place for place, needed in demand.needed.items() if needed > USABLE * there[place].free]


def _why(chosen: Demand, demands: Mapping[Mode, Demand], there: Mapping[Place, FreeMemory]) -> str:
    """Why a mode was chosen automatically: what the faster ones lack, or else what it takes."""
    faster = list(takewhile(lambda demand: demand is not chosen, demands.values()))
    lacks = [
        f"{demand.mode} would need {_gib(demand.needed[place])} of {place} memory, where {_gib(there[place].free)} are "
        f"free and {USABLE:.0%} of that may be taken"
        for demand in faster
        for place in _lacks(demand, there)[:1]
    ]
    return ", and ".join(lacks) or _takes(chosen, there)


def _takes(demand: Demand, there: Mapping[Place, FreeMemory]) -> str:
    figures = [
        f"{_gib(n)} of the {_gib(there[place].free)} of free {place} memory" for place, n in demand.needed.items()
    ]
    return f"a candidate takes {' and '.join(figures)}, sources included"


def _refuse_impossible(demand: Demand, there: Mapping[Place, FreeMemory], memory: str) -> None:
    """Say at once what would fail for certain after minutes of reading."""
    for place, least in demand.least.items():
        if least > there[place].total:
            streamed = demand.mode == "stream"
            raise ConfigError(
                f"Memory mode {demand.mode!r} needs at least {_gib(least)} of {place} memory, but there are only "
                f"{_gib(there[place].total)} in all.",
                where=f"pool.memory: {memory}",
                fix="Use a machine with more memory, or pool.dtype: bfloat16 if it is float32."
                if streamed
                else "Set pool.memory to auto, or to stream, which needs least.",
            )


def _tables(demand: Demand, there: Mapping[Place, FreeMemory], pool: Pool) -> int:
    """Bytes for large tables: ranks of every model if there is room, nothing where memory is short."""
    if demand.mode == "stream":
        return 0
    place: Place = "device" if "device" in there else "host"
    left = int(USABLE * there[place].free) - demand.needed[place]
    return max(0, min(left, LARGEST_TABLES, 2 * pool.layout.n_parameters * len(pool.models)))


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / (1 << 30):.2f} GiB"
