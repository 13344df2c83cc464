"""A hash of (seed, tensor, model, element index): random numbers without state or order.

The random number of an element depends on nothing else: not on the device, not on how a tensor is cut, not on
which other candidates were built. Masks drawn with a larger density therefore contain those of a smaller one.

All arithmetic is on 32-bit unsigned integers and wraps around. One multiplicative round per element is shared by
all models; a second one, with an offset and an odd multiplier of its own, is done per model. Both rounds
are bijections of the index, so elements of one tensor never collide (up to 2^32 of them).
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

GOLDEN = 0x9E3779B9  # 2^32 over the golden ratio
HIGH = 0x85EBCA6B  # for the part of an index beyond 32 bits
SHARED = 0x21F0AAAD  # multiplier of the shared round
MASK = 0xFFFFFFFF
TIES = ("", 0)
"""Model name and seed of the order among equal magnitudes, which all models share."""


@lru_cache(maxsize=65536)
def tensor_key(tensor: str, seed: int) -> int:
    """The 32-bit key of a tensor under a seed."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{tensor}".encode(), digest_size=8).digest()[:4], "little")


@lru_cache(maxsize=4096)
def model_key(model: str) -> tuple[int, int]:
    """Offset and odd multiplier of a model, 32 bits each; multipliers with few or many ones mix badly."""
    for salt in count():
        digest = hashlib.blake2b(f"model\0{salt}\0{model}".encode(), digest_size=8).digest()
        offset, multiplier = int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little") | 1
        if 10 <= multiplier.bit_count() <= 22:
            return offset, multiplier
    raise AssertionError  # pragma: no cover - count() does not end


def bound(fraction: float) -> int:
    """The number below which that fraction of all hashes lies, in [0, 2^32]."""
    return min(1 << 32, max(0, round(fraction * (1 << 32))))


def counter_hash(tensor: str, indices: torch.Tensor, *, model: str = "", seed: int = 0) -> torch.Tensor:
    """Pseudo-random numbers in 0 ... 2^32 - 1, int64, one per element.

    Args:
        tensor: Name of the tensor.
        indices: Element indices inside the whole flattened tensor, int64, any shape.
        model: Name of the model. The empty name stands for the shared round alone, which orders ties.
        seed: Any integer.
    """
    if not model:
        return shared_round(tensor, indices, seed)
    offset, multiplier = model_key(model)
    y = (shared_round(tensor, indices, seed) + offset) & MASK
    return ((y ^ (y >> 16)) * multiplier) & MASK


def shared_round(tensor: str, indices: torch.Tensor, seed: int) -> torch.Tensor:
    """What all models have in common."""
    x = (indices & MASK) * GOLDEN + (indices >> 32) * HIGH + tensor_key(tensor, seed)
    x = x & MASK
    return ((x ^ (x >> 16)) * SHARED) & MASK  # products wrap in 64 bits, which leaves the low 32 right
