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


def stale_pieces(
    layout: Layout, boundaries: NDArray[np.int64], stale: NDArray[np.int64] | None = None
) -> dict[str, list[Piece]]:
    """Tensor name to its pieces inside some intervals; tensors without any are left out.

    Args:
        layout: The parameter line.
        boundaries: Segment borders, shape ``(S + 1,)``.
        stale: Ascending disjoint intervals of the parameter line, shape ``(n, 2)``; None means all of it, with
            tensors without elements too.
    """
    found = pieces_by_tensor(layout, boundaries)
    if stale is None or (len(stale) == 1 and stale[0, 0] == 0 and stale[0, 1] == boundaries[-1]):
        return {entry.name: pieces for entry, pieces in found if pieces or stale is None}
    cut = ((entry, [p for piece in pieces for p in _inside(piece, entry, stale)]) for entry, pieces in found)
    return {entry.name: pieces for entry, pieces in cut if pieces}


def _inside(piece: Piece, entry: TensorEntry, stale: NDArray[np.int64]) -> Iterator[Piece]:
    """The parts of a piece that lie in intervals of shape (n, 2)."""
    start, stop = entry.offset + piece.start, entry.offset + piece.stop
    first = int(np.searchsorted(stale[:, 1], start, side="right"))
    for low, high in stale[first:].tolist():
        if low >= stop:
            return
        yield Piece(piece.segment, max(low, start) - entry.offset, min(high, stop) - entry.offset)
