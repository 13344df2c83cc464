"""Coefficients divided by their sum."""

from __future__ import annotations

from searcher.errors import CandidateError

SMALLEST_SUM = 1e-8
"""Coefficients whose sum is nearer to zero than this cannot be normalised."""


def normalized(coefficients: tuple[float, ...]) -> tuple[float, ...]:
    """The coefficients over their sum.

    Raises:
        CandidateError: ``ZeroWeightSum`` if the sum is within 1e-8 of zero.
    """
    total = sum(coefficients)
    if abs(total) < SMALLEST_SUM:
        raise CandidateError("ZeroWeightSum", f"Coefficients {coefficients} sum to {total}; they cannot be normalised.")
    return tuple(c / total for c in coefficients)
