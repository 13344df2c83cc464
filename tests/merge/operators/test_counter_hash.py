from __future__ import annotations

import torch

from searcher.merge.operators.counter_hash import counter_hash

MASK = (1 << 64) - 1


def splitmix_finaliser(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def test_equals_the_published_finaliser() -> None:
    import hashlib

    seed = int.from_bytes(hashlib.blake2b(b"block.weight", digest_size=8).digest(), "little")
    indices = [0, 1, 2, 1000, 2**31, 2**40]
    found = counter_hash("block.weight", torch.tensor(indices))
    assert [value & MASK for value in found.tolist()] == [splitmix_finaliser((seed + i) & MASK) for i in indices]


def test_no_two_elements_collide() -> None:
    assert len(set(counter_hash("t", torch.arange(100_000)).tolist())) == 100_000


def test_bits_are_balanced() -> None:
    values = counter_hash("t", torch.arange(10_000))
    for bit in range(64):
        assert 0.47 < float(((values >> bit) & 1).double().mean()) < 0.53
