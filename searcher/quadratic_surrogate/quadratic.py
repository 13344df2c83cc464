"""Weighted ridge least squares of a quadratic, with its leave-one-out errors and standard errors in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.quadratic_surrogate.box import Box

Floats: TypeAlias = NDArray[np.float64]

Terms: TypeAlias = Literal["full", "separable"]
"""``full``: 1, c_i and c_i c_j; ``separable``: without the products of two genes."""

RIDGES = (0.0, 1e-4, 1e-2, 1e-1, 1.0)  # of weights with mean 1 and genes from -1 to 1 in the box
CERTAIN = 1e-9  # 1 - leverage below which a point decides its own prediction


def n_unknowns(dim: int, terms: Terms) -> int:
    """Coefficients of one quadratic: ``(N + 1)(N + 2) / 2``, or ``2 N + 1`` without products."""
    return (dim + 1) * (dim + 2) // 2 if terms == "full" else 2 * dim + 1


def features(points: Floats, terms: Terms = "full") -> Floats:
    """The monomials ``1, c_i, c_i^2`` and, if full, ``c_i c_j`` for i < j.

    Args:
        points: Shape ``(n, dim)``.
        terms: Which monomials.

    Returns:
        Shape ``(n, n_unknowns(dim, terms))``.
    """
    parts = [np.ones((len(points), 1)), points, points**2]
    if terms == "full":
        first, second = np.triu_indices(points.shape[1], k=1)
        parts.append(points[:, first] * points[:, second])
    return np.concatenate(parts, axis=1)


@dataclass(frozen=True, eq=False)
class QuadraticFit:
    """A fitted quadratic.

    Args:
        box: Its genes were scaled to [-1, 1] over this box for the fit.
        terms: Which monomials it has.
        coefficients: Of the scaled monomials, shape ``(p,)``.
        root: Upper triangular, shape ``(p, p)``; its Gram matrix is the information matrix, ridge included.
        loo: Leave-one-out residuals, measured minus predicted without the point, shape ``(n,)``; nan for a point that
            alone decides its own prediction.
        weights: Of the points, shape ``(n,)``.
        noise: Variance of a point of weight 1, estimated from the residuals; nan if no degree of freedom is left.
        r2: Share of the weighted variance that is predicted by leave-one-out; nan if it is unknown or the values
            are constant.
    """

    box: Box
    terms: Terms
    coefficients: Floats
    root: Floats
    loo: Floats
    weights: Floats
    noise: float
    r2: float

    def predict(self, points: Floats) -> Floats:
        """Values at points of shape ``(k, dim)``, shape ``(k,)``."""
        return np.asarray(features(self.box.scaled(points), self.terms) @ self.coefficients, dtype=np.float64)

    def spread(self, points: Floats) -> Floats:
        """Standard error of the prediction where a point of weight 1 has noise of variance 1, shape ``(k,)``."""
        rows = features(self.box.scaled(points), self.terms)
        return np.asarray(np.linalg.norm(np.linalg.solve(self.root.T, rows.T), axis=0), dtype=np.float64)

    def expansion(self) -> tuple[float, Floats, Floats]:
        """Constant ``e``, slopes ``b`` of shape ``(dim,)`` and symmetric ``A``: ``e + b c + c A c / 2`` in genes."""
        dim, half = self.box.dim, self.box.half
        slopes, curvature = self.coefficients[1 : dim + 1] / half, np.diag(self.coefficients[dim + 1 : 2 * dim + 1])
        if self.terms == "full":
            first, second = np.triu_indices(dim, k=1)
            curvature[first, second] = self.coefficients[2 * dim + 1 :] / 2
            curvature[second, first] = curvature[first, second]
        a = 2 * curvature / np.outer(half, half)
        centre = self.box.centre
        constant = self.coefficients[0] - slopes @ centre + centre @ a @ centre / 2
        return float(constant), slopes - a @ centre, a


def fit_quadratic(
    points: Floats,
    values: Floats,
    *,
    box: Box,
    weights: Floats | None = None,
    ridge: float = 0.0,
    terms: Terms = "full",
) -> QuadraticFit:
    """Minimise the weighted squared residuals plus ``ridge`` times the squared coefficients (the constant's is free).

    The residual without a point is its residual divided by one minus its leverage, exact for a fixed ridge and fixed
    weights (Allen 1974, "The relationship between variable selection and data augmentation").

    Args:
        points: Shape ``(n, dim)``.
        values: Finite, shape ``(n,)``.
        box: Its sides become [-1, 1], which only matters to the ridge and to rounding.
        weights: Positive, shape ``(n,)``; None: equal.
        ridge: 0 or more.
        terms: Which monomials.

    Raises:
        ValueError: If the points do not determine the quadratic (fewer than its unknowns, or not in general position).
    """
    rows = _checked(points, box, terms)
    return _solved(rows, values, box, np.ones(len(rows)) if weights is None else weights, ridge, terms)


def best_fit(
    points: Floats,
    values: Floats,
    *,
    box: Box,
    weights: Floats | None = None,
    terms: Terms = "full",
    ridges: Sequence[float] = RIDGES,
) -> QuadraticFit:
    """The fit whose ridge has the smallest weighted leave-one-out error; of equal ones the smallest ridge.

    Raises:
        ValueError: As :func:`fit_quadratic`.
    """
    rows = _checked(points, box, terms)
    weights = np.ones(len(rows)) if weights is None else weights
    fits = [_solved(rows, values, box, weights, ridge, terms) for ridge in ridges]
    errors = [float(fit.weights @ fit.loo**2) for fit in fits]  # nan where a point decides its own prediction
    return fits[int(np.argmin(np.where(np.isfinite(errors), errors, np.inf)))]


def _checked(points: Floats, box: Box, terms: Terms) -> Floats:
    """The scaled monomials, shape ``(n, p)``, if they have rank p."""
    rows = features(box.scaled(points), terms)
    n, p = rows.shape
    if n < p or np.linalg.matrix_rank(rows) < p:
        raise ValueError(f"Expected {p} or more points in general position, as many as unknowns, but got {n}.")
    return rows


def _solved(rows: Floats, values: Floats, box: Box, weights: Floats, ridge: float, terms: Terms) -> QuadraticFit:
    """The ridge fit to monomials of shape ``(n, p)`` by a QR decomposition of the rows and the penalty below them."""
    n, p = rows.shape
    roots = np.sqrt(weights)
    penalty = np.sqrt(ridge) * np.eye(p)[1:]
    q, r = np.linalg.qr(np.concatenate([roots[:, None] * rows, penalty]))
    top = q[:n]
    coefficients = np.linalg.solve(r, top.T @ (roots * values))
    leverage = (top**2).sum(axis=1)
    residuals = values - rows @ coefficients
    is_free = 1 - leverage > CERTAIN
    loo = np.where(is_free, residuals / np.where(is_free, 1 - leverage, 1.0), np.nan)
    freedom = n - leverage.sum()
    noise = float(weights @ residuals**2 / freedom) if freedom > CERTAIN * n else np.nan
    return QuadraticFit(box, terms, coefficients, r, loo, weights, noise, _r2(values, loo, weights))


def _r2(values: Floats, loo: Floats, weights: Floats) -> float:
    around = values - weights @ values / weights.sum()
    total = float(weights @ around**2)
    is_constant = total <= 1e-24 * weights.sum() * max(1.0, float(np.abs(values).max())) ** 2
    return float("nan") if is_constant else 1.0 - float(weights @ loo**2) / total
