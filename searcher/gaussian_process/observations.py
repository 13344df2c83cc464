"""What Gaussian processes are fitted to: genomes, fitness and standard errors, and their standardised form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_VARIANCE = 1e-5  # of standardised noise: duplicates must leave the kernel matrix invertible
TAIL = 3.0  # broken merges score without bound; see winsorized


@dataclass(frozen=True, eq=False)
class Observations:
    """Evaluated genomes, all values of the fitness finite.

    Args:
        genomes: Shape ``(n, dim)``, genes in [0, 1]; rows may repeat.
        fitness: Maximised, shape ``(n, m)``.
        stderr: Standard errors of the fitness, shape ``(n, m)``; nan or 0 where unknown.
    """

    genomes: Floats
    fitness: Floats
    stderr: Floats

    def __len__(self) -> int:
        return len(self.genomes)

    def first(self, n: int) -> Observations:
        """The ``n`` earliest."""
        return Observations(self.genomes[:n], self.fitness[:n], self.stderr[:n])


@dataclass(frozen=True, eq=False)
class Standardized:
    """Fitness of mean 0 and standard deviation 1 per objective, outliers pulled in.

    Args:
        values: ``(fitness - shift) / scale``, shape ``(n, m)``.
        variances: Of the noise in the same units, shape ``(n, m)``; a column of nan where nothing is known of it.
        shift: Shape ``(m,)``.
        scale: Shape ``(m,)``, positive.
    """

    values: Floats
    variances: Floats
    shift: Floats
    scale: Floats


def standardize(observations: Observations) -> Standardized:
    """Standardised outcomes; a constant objective keeps its unit.

    Where an objective's standard error is known for some trials only, the others get the median of the known ones:
    trials of one run are scored on examples of the same kind and number.
    """
    fitness = np.column_stack([winsorized(column) for column in observations.fitness.T])
    shift, scale = fitness.mean(axis=0), fitness.std(axis=0)
    scale = np.where(scale > 1e-12 * np.maximum(1.0, np.abs(shift)), scale, 1.0)
    variances = np.column_stack([_filled(column) for column in observations.stderr.T]) / scale**2
    return Standardized((fitness - shift) / scale, np.maximum(variances, MIN_VARIANCE), shift, scale)


def winsorized(values: Floats) -> Floats:
    """Values, shape ``(n,)``, with the lower tail pulled in.

    What lies further below the tenth percentile than three times the distance from there to the best is raised to
    that bound: the perplexity of a broken merge would otherwise decide the unit in which all good ones look equal.
    """
    low, best = np.quantile(values, 0.1), values.max()
    return values if best <= low else np.maximum(values, low - TAIL * (best - low))


def _filled(stderr: Floats) -> Floats:
    """Noise variances, shape ``(n,)``; all nan if none is known."""
    known = np.isfinite(stderr) & (stderr > 0)
    if not known.any():
        return np.full(len(stderr), np.nan)
    return np.where(known, stderr, np.median(stderr[known])) ** 2
