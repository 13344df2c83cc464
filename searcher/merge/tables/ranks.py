"""Table R: the rank of every element inside its row, for probabilities that grow with magnitude (DELLA).

Two bytes per parameter are too much to keep on disk and little to compute, so this table is a plain function.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

LARGEST = 65535
MIDDLE = 32768  # the scaled rank of an element that is alone in its row
STRETCH = 1 << 18  # elements sorted together, so that their 64-bit keys stay in the processor's cache


def row_ranks(values: torch.Tensor, row_length: int) -> torch.Tensor:
    """Scaled ranks of magnitudes inside their rows, uint16, shape ``(n,)``.

    The smallest magnitude of a row of L has rank 0, the largest ``L - 1``, equal ones are ranked by position. The
    result is ``round(rank * 65535 / (L - 1))``, from which the rank is ``round(result * (L - 1) / 65535)`` if L is
    at most 65536. The only element of a row of one gets 32768, the middle.

    Args:
        values: A flattened tensor, float32, shape ``(n,)``, finite.
        row_length: Length L of its last axis.
    """
    if values.numel() == 0:
        return values.new_empty(0, dtype=torch.uint16)
    scaled = np.full(1, MIDDLE, np.uint16) if row_length == 1 else _scaled(row_length)
    if values.device.type == "cpu":
        return torch.from_numpy(_cpu_ranks(values.numpy().reshape(-1, row_length), scaled))
    return _device_ranks(values.view(-1, row_length), scaled)


def _scaled(row_length: int) -> NDArray[np.uint16]:
    """Scaled ranks of 0 ... L - 1."""
    return np.round(np.arange(row_length) * (LARGEST / (row_length - 1))).astype(np.uint16)


def _cpu_ranks(rows: NDArray[np.float32], scaled: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Scaled ranks of rows of shape ``(R, L)``, flattened.

    Magnitude and position are sorted as one integer: numpy sorts integers with vector instructions, several times as
    fast as it finds a stable order.
    """
    n_rows, length = rows.shape
    ranks = np.empty(n_rows * length, np.uint16)
    step = max(1, STRETCH // length)
    positions = np.arange(length, dtype=np.uint64)
    starts = (np.arange(min(step, n_rows)) * length)[:, None]
    for first in range(0, n_rows, step):
        keys = np.abs(rows[first : first + step]).view(np.uint32).astype(np.uint64)
        keys = (keys << np.uint64(32)) | positions
        keys.sort(axis=1)
        places = (keys & np.uint64(0xFFFFFFFF)).astype(np.int64) + starts[: len(keys)]
        ranks[first * length : (first + len(keys)) * length][places] = scaled
    return ranks


def _device_ranks(rows: torch.Tensor, scaled: NDArray[np.uint16]) -> torch.Tensor:
    """The same by a stable sort, which is fast on a device."""
    order = rows.abs().sort(dim=1, stable=True).indices
    wanted = torch.from_numpy(scaled.astype(np.int32)).to(rows.device).expand_as(order)
    return torch.empty_like(order, dtype=torch.int32).scatter_(1, order, wanted).to(torch.uint16).view(-1)
