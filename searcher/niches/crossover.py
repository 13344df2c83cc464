"""Crossover of two models as two numbers per position: ``child_j = p_j A_j + q_j B_j``.

Reference: Abrantes, Lange and Tang 2025, arXiv:2508.16204, and the authors' code, whose rule is followed where the
two differ: the angle is measured once, between the two whole vectors, and only the position ``t`` changes along the
line. (Angles of the segments would be undefined for tiny ones.)
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Interpolation: TypeAlias = Literal["spherical", "linear"]
"""Along the great circle between two vectors, or along the straight line."""

FLAT = 1e-6  # at or below this sine of the angle, the great circle is taken for a straight line


def split_positions(ratio: float, n_segments: int) -> NDArray[np.float64]:
    """Position ``t`` between A (0) and B (1) in each segment, shape ``(n_segments,)``: w, 1 - w, w, ...

    Args:
        ratio: The mixing ratio w, in [0, 1]: the share of B before the first split point.
        n_segments: Number of split points plus 1.
    """
    behind = np.arange(n_segments) % 2 == 1
    return np.where(behind, 1.0 - ratio, ratio)


def interpolation_weights(
    t: ArrayLike, cos_angle: float, interpolation: Interpolation
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights ``(p, q)`` of A and B at positions ``t``; see :func:`slerp_weights` and :func:`linear_weights`."""
    return slerp_weights(t, cos_angle) if interpolation == "spherical" else linear_weights(t)


def linear_weights(t: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``(1 - t, t)``, in the shape of ``t``."""
    positions = np.asarray(t, dtype=np.float64)
    return 1.0 - positions, positions.copy()


def slerp_weights(t: ArrayLike, cos_angle: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the two vectors, as they are, on the great circle between them.

    ``p = sin((1 - t) Omega) / sin(Omega)`` and ``q = sin(t Omega) / sin(Omega)``; where ``sin(Omega)`` is at most
    1e-6 (equal or opposite directions) they are those of the straight line.

    Args:
        t: Positions, any shape; 0 is A and 1 is B.
        cos_angle: Cosine of the angle Omega; clipped to [-1, 1]. If it is nan (a vector of length 0 has no
            direction) the line is straight.

    Returns:
        ``(p, q)`` in the shape of ``t``.

    Example:
        >>> p, q = slerp_weights(0.5, 0.0)  # a right angle
        >>> float(p.round(4)), float(q.round(4))
        (0.7071, 0.7071)
    """
    positions = np.asarray(t, dtype=np.float64)
    omega, sine = _angle(cos_angle)
    if sine <= FLAT:
        return linear_weights(positions)
    return np.asarray(np.sin((1.0 - positions) * omega) / sine), np.asarray(np.sin(positions * omega) / sine)


def slerp_position(p: float, q: float, cos_angle: float) -> float:
    """The position ``t`` whose weights are ``(p, q)``: ``tan(t Omega) = q sin(Omega) / (p + q cos(Omega))``."""
    omega, sine = _angle(cos_angle)
    return q if sine <= FLAT else math.atan2(q * sine, p + q * math.cos(omega)) / omega


def _angle(cos_angle: float) -> tuple[float, float]:
    """The angle and its sine; 0 if it is undefined."""
    omega = 0.0 if math.isnan(cos_angle) else math.acos(min(1.0, max(-1.0, cos_angle)))
    return omega, math.sin(omega)


def cosine(square_a: float, product: float, square_b: float) -> float:
    """Cosine of the angle from inner products ``<A, A>``, ``<A, B>``, ``<B, B>``; nan if a vector is 0."""
    norms = math.sqrt(max(square_a, 0.0)) * math.sqrt(max(square_b, 0.0))
    return product / norms if norms > 0.0 else math.nan


def mix(
    a: NDArray[np.floating], b: NDArray[np.floating], weights: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """``p A + q B`` in float64; the reference for crossover of weights.

    Args:
        a: Shape ``(n,)``.
        b: Shape ``(n,)``.
        weights: ``(p, q)``, each of shape ``(n,)`` or ``()``.
    """
    mixed: NDArray[np.float64] = weights[0] * a.astype(np.float64) + weights[1] * b.astype(np.float64)
    return mixed
