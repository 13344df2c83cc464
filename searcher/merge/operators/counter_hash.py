"""A hash of (tensor name, element index): random order without stored state."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def counter_hash(tensor: str, indices: torch.Tensor) -> torch.Tensor:
    """Pseudo-random int64 per element, equal on every device and for every cut of the tensor.

    The finaliser of SplitMix64 (Steele, Lea and Flood 2014) is a bijection on 64 bits, so different indices of
    one tensor never collide.

    Args:
        tensor: Name of the tensor.
        indices: Element indices inside the whole tensor, int64, any shape.
    """
    x = indices + _seed(tensor)
    x = (x ^ _shifted(x, 30)) * _signed(0xBF58476D1CE4E5B9)
    x = (x ^ _shifted(x, 27)) * _signed(0x94D049BB133111EB)
    return x ^ _shifted(x, 31)


def _shifted(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical right shift; torch's own keeps the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    """The int64 with the same bits as a uint64."""
    return value - (1 << 64) if value >= 1 << 63 else value


@lru_cache(maxsize=65536)
def _seed(tensor: str) -> int:
    digest = hashlib.blake2b(tensor.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
