"""Inner products in float64 whose bits do not depend on threads or memory alignment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BLOCK = 1 << 14  # elements summed by one thread in one go
STRETCH = 1 << 22  # elements converted to float64 at once, 32 MiB per operand


def inner_product(a: torch.Tensor, b: torch.Tensor) -> float:
    """``sum_i a_i b_i`` with float64 products.

    Sums of fixed blocks are added exactly, so that the number of threads does not change the result; a BLAS
    dot product gives other bits for other alignments.

    Args:
        a: Shape ``(n,)``; ``n`` may be 0.
        b: Shape ``(n,)``.
    """
    sums: list[float] = []
    for start in range(0, a.numel(), STRETCH):
        products = a[start : start + STRETCH].double() * b[start : start + STRETCH].double()
        whole = products.numel() - products.numel() % BLOCK
        sums.extend(products[:whole].view(-1, BLOCK).sum(dim=1).tolist())
        sums.append(float(products[whole:].sum()))
    return math.fsum(sums)
