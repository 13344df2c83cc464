"""The box of genes in which a surrogate is trusted, and how it shrinks and grows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Box:
    """Bounds on points.

    Args:
        low: Shape ``(dim,)``.
        high: Shape ``(dim,)``, above ``low`` everywhere.
    """

    low: Floats
    high: Floats

    @classmethod
    def of(cls, low: float, high: float, dim: int) -> Box:
        """The same bounds for every gene."""
        return cls(np.full(dim, float(low)), np.full(dim, float(high)))

    @property
    def dim(self) -> int:
        """Number of genes."""
        return len(self.low)

    @property
    def side(self) -> Floats:
        """Lengths, shape ``(dim,)``."""
        return self.high - self.low

    @property
    def half(self) -> Floats:
        """Half of the lengths, shape ``(dim,)``."""
        return self.side / 2

    @property
    def centre(self) -> Floats:
        """Shape ``(dim,)``."""
        return (self.low + self.high) / 2

    def scaled(self, points: Floats) -> Floats:
        """Points of shape ``(n, dim)`` in coordinates that go from -1 to 1 over the box."""
        return (points - self.centre) / self.half

    def at(self, unit: Floats) -> Floats:
        """Points of the unit cube, shape ``(n, dim)``, placed in the box."""
        return np.asarray(np.clip(self.low + unit * self.side, self.low, self.high), dtype=np.float64)

    def contains(self, points: Floats) -> NDArray[np.bool_]:
        """Which points of shape ``(n, dim)`` are inside, borders included; shape ``(n,)``."""
        return np.asarray(((points >= self.low) & (points <= self.high)).all(axis=1))

    def outside(self, points: Floats) -> Floats:
        """How far outside points are, in sides of the box, at the gene where it is most; 0 inside; shape ``(n,)``."""
        beyond = np.maximum(self.low - points, points - self.high) / self.side
        return np.asarray(np.maximum(beyond, 0.0).max(axis=1), dtype=np.float64)

    def towards(self, points: Floats, share: float, least: Floats) -> Box:
        """Every face moved by ``share`` of its way to the bounding box of points of shape ``(k, dim)``, k >= 1.

        Points inside stay inside; no side becomes shorter than ``least``, shape ``(dim,)``, or than it is.
        """
        inside = np.clip(points, self.low, self.high)
        low = self.low + share * (inside.min(axis=0) - self.low)
        high = self.high - share * (self.high - inside.max(axis=0))
        missing = np.maximum(np.minimum(least, self.side) - (high - low), 0.0)
        low, high = low - missing / 2, high + missing / 2
        over, under = np.maximum(high - self.high, 0.0), np.maximum(self.low - low, 0.0)
        return Box(np.maximum(low - over, self.low), np.minimum(high + under, self.high))

    def grown(self, factor: float, limits: Box) -> Box:
        """Sides times ``factor`` about the centre, cut at the limits."""
        reach = factor * self.half
        return Box(np.maximum(self.centre - reach, limits.low), np.minimum(self.centre + reach, limits.high))
