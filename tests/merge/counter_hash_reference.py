"""The counter hash once more, in numpy and straight from its definition: what goldens and tests compare with.

All arithmetic is uint32 and wraps around. Shares no code with ``searcher.merge.counter_hash``.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import count
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Words: TypeAlias = NDArray[np.uint32]


def tensor_key(tensor: str, seed: int) -> int:
    """First four bytes of the digest of seed and name."""
    return int.from_bytes(blake2b(f"{seed}\0{tensor}".encode(), digest_size=8).digest()[:4], "little")


def model_key(model: str) -> tuple[int, int]:
    """Offset and odd multiplier; salted until the multiplier has 10 to 22 ones."""
    for salt in count():
        digest = blake2b(f"model\0{salt}\0{model}".encode(), digest_size=8).digest()
        offset, multiplier = int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little") | 1
        if 10 <= multiplier.bit_count() <= 22:
            return offset, multiplier
    raise AssertionError


def random_words(tensor: str, model: str, indices: NDArray[np.uint64], seed: int = 0) -> Words:
    """The random uint32 of each element index, in the indices' shape."""
    offset, multiplier = model_key(model)
    low, high = indices.astype(np.uint32), (indices >> np.uint64(32)).astype(np.uint32)
    x = low * np.uint32(0x9E3779B9) + np.uint32(tensor_key(tensor, seed)) + high * np.uint32(0x85EBCA6B)
    y = _mixed(x) * np.uint32(0x21F0AAAD) + np.uint32(offset)
    return _mixed(y) * np.uint32(multiplier)


def kept(tensor: str, model: str, probability: NDArray[np.float64], seed: int = 0) -> NDArray[np.bool_]:
    """Which elements of a tensor stay, given the probability of each in C order; NaN is refused."""
    if not np.all((probability >= 0.0) & (probability <= 1.0)):
        raise ValueError(f"Expected probabilities in [0, 1], but got {probability}.")
    indices = np.arange(probability.size, dtype=np.uint64).reshape(probability.shape)
    words = random_words(tensor, model, indices, seed).astype(np.uint64)
    return words < np.round(probability * 2.0**32).astype(np.uint64)


def _mixed(x: Words) -> Words:
    return x ^ (x >> np.uint32(16))
