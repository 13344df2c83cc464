"""Points on the unit sphere as combinations of the models' directions, known by inner products alone.

A point ``sum_k a_k u_k`` is its coefficients ``a``, shape (K,). Lengths and angles follow from the cosines of the
directions, so that logarithm, exponential and mean cost microseconds for tensors of any size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.merge.operators.normalization import normalized

Float64: TypeAlias = NDArray[np.float64]

SHORTEST_MEAN = 1e-7  # directions whose mean is shorter cancel; inner products know a length to 1e-8
NEARLY_OPPOSITE = 1e-6  # radians from pi within which there is no one shortest way; from 0, where angle / sine is 1


def lengths(gram: Float64) -> Float64:
    """Lengths of vectors, shape (..., K), from their inner products, shape (..., K, K)."""
    squares = gram.diagonal(axis1=-2, axis2=-1)
    return np.sqrt(np.maximum(squares, 0.0))  # those of weights are differences, which rounding may take below 0


@dataclass(frozen=True, eq=False)
class Directions:
    """Unit vectors ``u_k`` of K models with weights.

    Args:
        norms: Lengths of the vectors, shape (K,).
        cosines: Of the angles between them, 0 for a vector without a direction, shape (K, K).
        weights: They sum to 1 over the vectors that have a direction and are 0 elsewhere; all 0 if none has one.
    """

    norms: Float64
    cosines: Float64
    weights: Float64

    @classmethod
    def of(cls, gram: Float64, weights: Float64) -> Directions:
        """Directions of vectors.

        Args:
            gram: Their inner products, shape (K, K).
            weights: Shape (K,), of any sum but zero.

        Raises:
            CandidateError: ``ZeroWeightSum`` if the weights of vectors that have a direction sum to zero.
        """
        norms = lengths(gram)
        has_direction = norms > 0.0
        inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=has_direction)
        kept = np.where(has_direction, weights, 0.0)
        return cls(
            norms,
            gram * inverse[:, None] * inverse,
            np.array(normalized(tuple(kept.tolist()))) if kept.any() else kept,
        )

    def length(self, vector: Float64) -> float:
        """Length of ``sum_k a_k u_k``."""
        return math.sqrt(max(0.0, float(vector @ self.cosines @ vector)))

    def mean(self) -> Float64 | None:
        """The weighted mean of the directions, put on the sphere; None if they cancel."""
        length = self.length(self.weights)
        return self.weights / length if length > SHORTEST_MEAN else None

    def logarithm(self, point: Float64) -> Float64:
        """``sum_k w_k log_p(u_k)``, a tangent at ``p``: where the mean lies as seen from there.

        Its length is in radians. A direction opposite to the point adds nothing.
        """
        cosines = np.minimum(np.maximum(self.cosines @ point, -1.0), 1.0)
        angles = np.arccos(cosines)
        sines = np.sin(angles)
        per_sine = np.divide(angles, sines, out=np.ones_like(angles), where=sines > NEARLY_OPPOSITE)
        per_sine[angles > np.pi - NEARLY_OPPOSITE] = 0.0
        pulls = self.weights * per_sine
        tangent: Float64 = pulls - float(pulls @ cosines) * point
        return tangent

    def exponential(self, point: Float64, tangent: Float64) -> Float64:
        """The point reached from ``p`` along a tangent, after the tangent's length in radians."""
        angle = self.length(tangent)
        if angle == 0.0:
            return point
        return math.cos(angle) * point + (math.sin(angle) / angle) * tangent

    def scales(self, point: Float64, length: float) -> Float64:
        """Scales of the K vectors themselves that give a point times a length."""
        return np.divide(length * point, self.norms, out=np.zeros_like(point), where=self.norms > 0.0)
