"""What Gaussian processes are fitted to: genomes, fitness and standard errors, and their standardised form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searcher.gaussian_process.link import Link, are_fractions, log_odds, log_odds_stderr

Floats = NDArray[np.float64]

MIN_VARIANCE = 1e-5  # of standardised noise: duplicates must leave the kernel matrix invertible
SPREAD = 1e-6  # standard deviation over largest value; below, standardised values would be rounding errors in part
TAIL = 3.0  # broken merges score without bound; see winsorized


@dataclass(frozen=True, eq=False)
class Observations:
    """Evaluated genomes, all values of the fitness finite.

    Args:
        genomes: Shape ``(n, dim)``, genes in [0, 1]; rows may repeat.
        fitness: Maximised, shape ``(n, m)``.
        stderr: Standard errors of the fitness, shape ``(n, m)``; nan or 0 where unknown.
        links: Whether objectives whose values all lie in [0, 1] are modelled as log odds.
        levels: Genes that coarser searches tie together, whose means the kernels see too.
    """

    genomes: Floats
    fitness: Floats
    stderr: Floats
    links: bool = False
    levels: tuple[tuple[int, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.genomes)

    def first(self, n: int) -> Observations:
        """The ``n`` earliest."""
        return Observations(self.genomes[:n], self.fitness[:n], self.stderr[:n], self.links, self.levels)


@dataclass(frozen=True, eq=False)
class Standardized:
    """What Gaussian processes model, of mean 0 and standard deviation 1 per objective, outliers pulled in.

    Args:
        values: Shape ``(n, m)``: ``(fitness - shift) / scale``, or the standardised log odds.
        variances: Of the noise in the same units, shape ``(n, m)``; a column of nan where nothing is known of it.
        shift: Of the fitness, shape ``(m,)``.
        scale: Of the fitness, shape ``(m,)``, positive.
        link: From ``values`` to standardised fitness.
    """

    values: Floats
    variances: Floats
    shift: Floats
    scale: Floats
    link: Link


def standardize(observations: Observations) -> Standardized:
    """Standardised outcomes; a constant objective keeps its unit.

    Where an objective's standard error is known for some trials only, the others get the median of the known ones:
    trials of one run are scored on examples of the same kind and number.
    """
    is_fraction = are_fractions(observations.fitness) & observations.links
    fitness = np.column_stack([winsorized(column) for column in observations.fitness.T])
    shift, scale = _moments(fitness)
    values = fitness.copy()
    stderr = np.column_stack([_filled(column) for column in observations.stderr.T])
    fractions = observations.fitness[:, is_fraction]
    values[:, is_fraction] = log_odds(fractions)
    stderr[:, is_fraction] = log_odds_stderr(fractions, stderr[:, is_fraction])
    value_shift, value_scale = _moments(values)
    variances = np.maximum((stderr / value_scale) ** 2, MIN_VARIANCE)
    link = Link(is_fraction, value_shift, value_scale, shift, scale)
    return Standardized((values - value_shift) / value_scale, variances, shift, scale, link)


def _moments(values: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each column; 1 where that is 0 but for rounding."""
    shift, scale = values.mean(axis=0), values.std(axis=0)
    return shift, np.where(scale > np.maximum(1e-12, SPREAD * np.abs(values).max(axis=0)), scale, 1.0)


def winsorized(values: Floats) -> Floats:
    """Values, shape ``(n,)``, with the lower tail pulled in.

    What lies further below the tenth percentile than three times the distance from there to the best is raised to
    that bound: the perplexity of a broken merge would otherwise decide the unit in which all good ones look equal.
    """
    low, best = np.quantile(values, 0.1), values.max()
    return values if best <= low else np.maximum(values, low - TAIL * (best - low))


def _filled(stderr: Floats) -> Floats:
    """Standard errors, shape ``(n,)``; all nan if none is known."""
    known = np.isfinite(stderr) & (stderr > 0)
    if not known.any():
        return np.full(len(stderr), np.nan)
    return np.where(known, stderr, np.median(stderr[known]))
