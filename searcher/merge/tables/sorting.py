"""Sorted magnitudes and tie hashes of a tensor, on the CPU and on a device."""

from __future__ import annotations

import numpy as np
import torch

from searcher.merge.counter_hash import TIES, counter_hash

ALL_TIES = 0xFFFFFFFF  # the largest hash
STRETCH = 1 << 15  # elements hashed at once; their 64-bit intermediates then stay in the processor's cache


def sort(values: torch.Tensor) -> torch.Tensor:
    """The values in ascending order, shape ``(n,)``, any signed type; the argument may be overwritten.

    numpy sorts with vector instructions, ten times as fast as torch on the CPU; it also releases the interpreter
    lock, so that tensors can be sorted in several threads.
    """
    if values.device.type == "cpu":
        values.numpy().sort()
        return values
    return values.sort().values


def places_of(magnitude: float, values: torch.Tensor) -> torch.Tensor:
    """Where a magnitude stands in a tensor, with either sign, int64, ascending."""
    if values.device.type != "cpu":
        return (values.abs() == magnitude).nonzero().flatten()
    places, array = [np.zeros(0, np.int64)], values.numpy()
    for start in range(0, len(array), STRETCH):  # many times as fast as torch, or as all at once
        part = array[start : start + STRETCH]
        places.append(start + np.flatnonzero((part == np.float32(magnitude)) | (part == np.float32(-magnitude))))
    return torch.from_numpy(np.concatenate(places))


def tie_hashes(name: str, indices: torch.Tensor) -> torch.Tensor:
    """Hashes that order equal magnitudes, int64, one per element.

    Args:
        name: Name of the tensor.
        indices: Places in the whole flattened tensor, int64, shape ``(n,)``; not many at once.
    """
    model, seed = TIES
    return counter_hash(name, indices, model=model, seed=seed)


def sorted_tie_hashes(name: str, indices: torch.Tensor) -> torch.Tensor:
    """The hashes of :func:`tie_hashes` in ascending order, for any number of places."""
    hashes = torch.empty_like(indices)
    for start in range(0, len(indices), STRETCH):
        hashes[start : start + STRETCH] = tie_hashes(name, indices[start : start + STRETCH])
    return sort(hashes)


def magnitude_keys(values: torch.Tensor, places: torch.Tensor | None, name: str) -> torch.Tensor:
    """Integers in the order in which elements are kept: larger magnitudes and, among equals, smaller hashes first.

    Args:
        values: Some values of a tensor, float32, shape ``(n,)``.
        places: Where they stand in the whole flattened tensor, int64, shape ``(n,)``; None if they are all of it.
        name: Name of the tensor.

    Returns:
        ``bits of |value| << 32 | (2^32 - 1 - hash)``, int64, not negative, shape ``(n,)``.
    """
    keys = values.abs().view(torch.int32).long() << 32  # the bits are ordered like the numbers: none is negative
    for start in range(0, len(keys), STRETCH):
        part = keys[start : start + STRETCH]
        here = (
            torch.arange(start, start + len(part), device=keys.device)
            if places is None
            else places[start:][: len(part)]
        )
        part |= ALL_TIES - tie_hashes(name, here)
    return keys


def key_magnitudes(keys: torch.Tensor) -> torch.Tensor:
    """Magnitudes in keys, float32."""
    return (keys >> 32).to(torch.int32).view(torch.float32)


def key_hashes(keys: torch.Tensor) -> torch.Tensor:
    """Tie hashes in keys, int64."""
    return ALL_TIES - (keys & ALL_TIES)
