"""One quadratic per objective, fitted to noisy measurements."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from searcher.quadratic_surrogate.box import Box
from searcher.quadratic_surrogate.link import Link, fitness_of, latent, slope
from searcher.quadratic_surrogate.quadratic import QuadraticFit, Terms, best_fit, fit_quadratic

Floats = NDArray[np.float64]

FADE = 2.0  # weight exp(-FADE d^2) at d sides outside the box
MOST = 100.0  # ratio of the median variance to a point's own, beyond which its weight rises no more
BEYOND = 2.0  # standard errors


@dataclass(frozen=True, eq=False)
class Measured:
    """Evaluated points, all values of the fitness finite.

    Args:
        points: Shape ``(n, dim)``.
        fitness: Maximised, shape ``(n, m)``.
        stderr: Standard errors, shape ``(n, m)``; nan or 0 where unknown.
    """

    points: Floats
    fitness: Floats
    stderr: Floats

    def __len__(self) -> int:
        return len(self.points)

    def rows(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Measured:
        """Some of them."""
        return Measured(self.points[which], self.fitness[which], self.stderr[which])


@dataclass(frozen=True, eq=False)
class Surrogate:
    """The surrogate of one objective.

    Args:
        fit: On the scale of the link.
        link: To the fitness.
        variance: Of the noise at weight 1 on the scale of the fit; from the standard errors, or where there are none
            from the residuals.
    """

    fit: QuadraticFit
    link: Link
    variance: float

    def predict(self, points: Floats) -> Floats:
        """Fitness, shape ``(k,)``."""
        return fitness_of(self.fit.predict(points), self.link)

    def stderr(self, points: Floats) -> Floats:
        """Standard errors of the predictions, shape ``(k,)``, if the objective is quadratic."""
        spread = np.sqrt(self.variance) * self.fit.spread(points)
        return np.asarray(spread * slope(self.fit.predict(points), self.link), dtype=np.float64)

    def noise(self, points: Floats) -> Floats:
        """Standard deviation of a new measurement whose standard error is unknown, shape ``(k,)``."""
        return np.asarray(np.sqrt(self.variance) * slope(self.fit.predict(points), self.link), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Surrogates:
    """The surrogates of all objectives.

    Args:
        each: One per objective.
        scale: Range of the measured fitness, shape ``(m,)``, for tolerances of rounding.
    """

    each: tuple[Surrogate, ...]
    scale: Floats

    @property
    def r2(self) -> Floats:
        """Leave-one-out R2 on the scales of the links, shape ``(m,)``."""
        return np.array([surrogate.fit.r2 for surrogate in self.each])

    def predict(self, points: Floats) -> Floats:
        """Fitness, shape ``(k, m)``."""
        return np.column_stack([surrogate.predict(points) for surrogate in self.each])

    def stderr(self, points: Floats) -> Floats:
        """Standard errors of the predictions, shape ``(k, m)``."""
        return np.column_stack([surrogate.stderr(points) for surrogate in self.each])

    def noise(self, points: Floats) -> Floats:
        """Standard deviations of new measurements, shape ``(k, m)``."""
        return np.column_stack([surrogate.noise(points) for surrogate in self.each])


def fit_surrogates(measured: Measured, box: Box, links: tuple[Link, ...], terms: Terms) -> Surrogates:
    """Weighted ridge fits of all objectives, the ridge of each by its leave-one-out error.

    Weights are one over the variance, and fade for points outside the box.

    Raises:
        ValueError: If the points do not determine a quadratic.
    """
    near = np.exp(-FADE * box.outside(measured.points) ** 2)
    columns = zip(measured.fitness.T, measured.stderr.T, links, strict=True)
    each = tuple(_fit_one(measured.points, *column, near, box, terms) for column in columns)
    return Surrogates(each, np.ptp(measured.fitness, axis=0))


def refitted(surrogates: Surrogates, measured: Measured, kept: NDArray[np.intp]) -> Surrogates:
    """The same weights fitted to some of the points, for a bootstrap; a ridge keeps them determined.

    Args:
        surrogates: Fitted to ``measured``.
        measured: All points.
        kept: Row numbers, at least as many distinct ones as unknowns.
    """
    each = []
    for surrogate, fitness in zip(surrogates.each, measured.fitness.T, strict=True):
        fit = surrogate.fit
        values = latent(fitness[kept], surrogate.link)
        weights = fit.weights[kept]
        again = fit_quadratic(measured.points[kept], values, box=fit.box, weights=weights, ridge=1e-6, terms=fit.terms)
        each.append(replace(surrogate, fit=again))
    return Surrogates(tuple(each), surrogates.scale)


def is_beyond(measured: Floats, predicted: Floats, stderr: Floats, scale: Floats) -> NDArray[np.bool_]:
    """Whether measurements differ from their predictions by more than two standard errors; arrays of one shape.

    Args:
        measured: Fitness.
        predicted: By the surrogates, before it was measured.
        stderr: Of the difference.
        scale: Range of the fitness; a millionth of it is no difference.
    """
    return np.asarray(np.abs(measured - predicted) > np.maximum(BEYOND * stderr, 1e-6 * scale))


def _fit_one(
    points: Floats, fitness: Floats, stderr: Floats, link: Link, near: Floats, box: Box, terms: Terms
) -> Surrogate:
    values = latent(fitness, link)
    known = np.isfinite(stderr) & (stderr > 0)
    variances = np.ones(len(values))
    if known.any():
        filled = np.where(known, stderr, np.median(stderr[known]))
        variances = (filled / slope(values, link)) ** 2
        variances = np.maximum(variances, np.median(variances) / MOST)
    weights = near / variances
    unit = weights.mean()
    fit = best_fit(points, values, box=box, weights=weights / unit, terms=terms)
    residual = fit.noise if np.isfinite(fit.noise) else 0.0
    return Surrogate(fit, link, float(1 / unit) if known.any() else residual)
