"""How much memory is free where merging happens: measured, not configured."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CGROUP_FILES = {  # limit, usage, and the lines of memory.stat with what the system gives back when asked
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
    2: ("memory.max", "memory.current", ("inactive_file", "active_file")),
}


@dataclass(frozen=True)
class FreeMemory:
    """Memory of one place, in bytes.

    Args:
        free: What can still be taken.
        total: What there is in all.
    """

    free: int
    total: int


def device_memory(device: torch.device) -> FreeMemory:
    """Memory of a CUDA device; other devices share the host's."""
    import torch

    if device.type != "cuda":
        return host_memory()
    free, total = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # held by torch, to be used again
    return FreeMemory(free + unused, total)


def host_memory(root: Path = Path("/")) -> FreeMemory:
    """Memory of the host, or of the control group (container, job) that this process is confined to, if less.

    Args:
        root: Where ``/proc`` and ``/sys`` are.
    """
    import psutil

    found = psutil.virtual_memory()
    free, total = found.available, found.total
    for group in _control_groups(root):
        free, total = min(free, group.free), min(total, group.total)
    return FreeMemory(max(0, free), total)


def trim_heap() -> None:
    """Give freed memory back to the system; glibc keeps up to 64 MiB of it, and more between blocks in use."""
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)


@lru_cache(maxsize=1)
def _c_library() -> object:
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None


def _control_groups(root: Path) -> Iterator[FreeMemory]:
    """The limits of this process's control group and those around it, in both versions of the interface."""
    mount = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return  # not Linux
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _limits(mount, path, 2)
        elif "memory" in controllers.split(","):
            yield from _limits(mount / "memory", path, 1)


def _limits(mount: Path, path: str, version: int) -> Iterator[FreeMemory]:
    """Limits from a group up to the mount, which is all that a container sees of its own group."""
    group = mount / path.strip("/")
    for folder in (group, *group.parents):
        if not folder.is_relative_to(mount):
            return
        limit, usage, cached = CGROUP_FILES[version]
        try:
            total, used = int((folder / limit).read_text()), int((folder / usage).read_text())
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # "max": unlimited; the topmost group has no files
            continue
        yield FreeMemory(total - used + sum(int(stat.get(key, 0)) for key in cached), total)
