"""Keep exactly the k largest magnitudes of a tensor, decided from two scalars."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from searcher.merge.operators.counter_hash import counter_hash

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class MagnitudeCut:
    """Which elements of one tensor are kept.

    Args:
        threshold: Magnitudes above it are kept, those below it are not.
        last_tie: Elements exactly at the threshold are kept if their hash is at most this; None keeps all.
    """

    threshold: float
    last_tie: int | None = None


KEEP_ALL = MagnitudeCut(0.0)


def n_kept(density: float, size: int) -> int:
    """Number of elements kept of ``size``: ``density * size`` to the nearest whole number, at least one."""
    return min(size, max(1, round(density * size)))


def magnitude_cut(values: torch.Tensor, density: float, tensor: str) -> MagnitudeCut:
    """The cut that keeps :func:`n_kept` elements of a whole tensor.

    Deltas of 16-bit weights repeat the same few magnitudes, and a bare threshold would keep far too many or
    too few of them; ties are broken by :func:`counter_hash`. A cut at magnitude 0 keeps all zeros, which
    contribute nothing.

    Args:
        values: The whole tensor, float32, shape ``(n,)``.
        density: Kept fraction, in [0, 1].
        tensor: Its name.
    """
    size = values.numel()
    k = n_kept(density, size)
    if k == size:
        return KEEP_ALL
    magnitudes = values.abs()
    threshold = float(_kth_smallest(magnitudes, size - k))
    if threshold == 0.0:
        return KEEP_ALL
    ties = (magnitudes == threshold).nonzero().flatten()
    n_ties_kept = k - int((magnitudes > threshold).count_nonzero())
    if n_ties_kept == ties.numel():
        return MagnitudeCut(threshold)
    return MagnitudeCut(threshold, int(_kth_smallest(counter_hash(tensor, ties), n_ties_kept - 1)))


def trimmed(values: torch.Tensor, cut: MagnitudeCut, start: int, tensor: str) -> torch.Tensor:
    """A stretch with the elements that are not kept set to zero; may be ``values`` itself.

    Args:
        values: The stretch, float32, shape ``(n,)``.
        cut: From the whole tensor.
        start: Index of the stretch's first element inside the tensor.
        tensor: Name of the tensor.
    """
    from torch.nn.functional import hardshrink

    if cut == KEEP_ALL:
        return values
    result = hardshrink(values, _below(cut.threshold))  # one pass; it keeps what is strictly above
    if cut.last_tie is not None:
        ties = (values.abs() == cut.threshold).nonzero().flatten()
        result[ties[counter_hash(tensor, ties + start) > cut.last_tie]] = 0.0
    return result


@lru_cache(maxsize=65536)
def _below(threshold: float) -> float:
    """The largest float32 below a positive float32."""
    return float(np.nextafter(np.float32(threshold), np.float32(0.0)))


def _kth_smallest(values: torch.Tensor, k: int) -> float | int:
    """The k-th smallest value, k from 0."""
    if values.device.type == "cpu":
        return np.partition(values.numpy(), k)[k].item()  # type: ignore[no-any-return]
    return values.kthvalue(k + 1).values.item()
