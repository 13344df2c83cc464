"""Which part of the live model's buffer a new recipe has to write."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from searcher.merge.job import Job


class Changes:
    """Knows whether the buffer still holds what was built last.

    torch counts in-place changes of a tensor, but not those made through ``.data``. Once a recipe has shared
    segments with the one before it, a checksum of the buffer is kept as well, so that such a change cannot survive
    in a segment that is not written again. Searches in which every candidate differs everywhere do not pay for it.
    """

    def __init__(self) -> None:
        self._version = -1
        self._sum: int | None = None

    def stale(self, last: Job | None, job: Job, weights: torch.Tensor) -> NDArray[np.int64]:
        """Intervals of the parameter line to write, int64, shape (n, 2), ascending and disjoint."""
        everything = np.array([[0, weights.numel()]])
        if last is None or self._version != weights._version or self._sum is None or not last.same_sources(job):
            return everything
        changed = changed_intervals(last, job)
        if changed.size and changed[:, 1].sum() - changed[:, 0].sum() == weights.numel():
            return everything
        return changed if self._sum == fingerprint(weights) else everything

    def built(self, last: Job | None, job: Job, weights: torch.Tensor) -> None:
        """Remember the buffer after a build."""
        shared = last is not None and last.same_sources(job) and _shares(last, job, weights.numel())
        self._version, self._sum = weights._version, fingerprint(weights) if shared else None


def changed_intervals(last: Job, job: Job) -> NDArray[np.int64]:
    """Where two jobs of the same sources differ in coefficients or settings; shape (n, 2)."""
    borders = np.union1d(last.recipe.boundaries, job.recipe.boundaries)
    found: list[list[int]] = []
    for start, stop in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        if _numbers(last, start) == _numbers(job, start):
            continue
        if found and found[-1][1] == start:
            found[-1][1] = stop
        else:
            found.append([start, stop])
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def fingerprint(weights: torch.Tensor) -> int:
    """A checksum of the bits; one pass at memory speed.

    Args:
        weights: Shape ``(n,)``, contiguous.
    """
    data = weights.view(torch.uint8)
    whole = data.numel() - data.numel() % 8
    return int(data[:whole].view(torch.int64).sum()) + int(data[whole:].sum(dtype=torch.int64))


def _shares(last: Job, job: Job, n_parameters: int) -> bool:
    changed = changed_intervals(last, job)
    return int((changed[:, 1] - changed[:, 0]).sum()) < n_parameters


def _numbers(job: Job, position: int) -> object:
    segment = int(np.searchsorted(job.recipe.boundaries, position, side="right")) - 1
    return job.coefficients[segment], job.operators[segment]
