"""A recipe's segments cut at tensor borders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from searcher.pool.layout import Layout, TensorEntry


@dataclass(frozen=True)
class Piece:
    """The part of one tensor that lies in one segment.

    Args:
        segment: Index of the segment.
        start: First element inside the tensor.
        stop: End inside the tensor.
    """

    segment: int
    start: int
    stop: int


def pieces_by_tensor(layout: Layout, boundaries: NDArray[np.int64]) -> Iterator[tuple[TensorEntry, list[Piece]]]:
    """Every tensor in layout order with its pieces; tensors without elements have none.

    Args:
        layout: The parameter line.
        boundaries: Segment borders, shape ``(S + 1,)``, from 0 to P.
    """
    borders = boundaries.tolist()
    offsets = np.array([entry.offset for entry in layout.tensors], dtype=np.int64)
    segments = (np.searchsorted(boundaries, offsets, side="right") - 1).tolist()
    for entry, first in zip(layout.tensors, segments, strict=True):
        found = []
        segment, start = first, entry.offset
        while start < entry.stop:
            stop = min(borders[segment + 1], entry.stop)
            found.append(Piece(segment, start - entry.offset, stop - entry.offset))
            segment, start = segment + 1, stop
        yield entry, found
