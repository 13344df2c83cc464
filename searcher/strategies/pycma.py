"""The search distribution of CMA-ES, held by pycma, without its side effects.

pycma draws from numpy's global generator, reads a signals file in the working directory, writes logs and warns
by default; here it draws from the generator it is given and does none of the rest.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Genome

SMALLEST_DEVIATION = 1e-12  # in genes; recipes are rounded to 12 decimals, so smaller steps repeat themselves
LARGEST_DEVIATION = 1e12

Variant: TypeAlias = Literal["full", "separable", "vkd"]
"""Which covariances the distribution may have: any, diagonal ones, or D (I + V V^T) D with few columns in V."""


def default_population(dim: int) -> int:
    """Hansen 2016, table 1: 4 + floor(3 ln(dim)); never below 6, the value for two dimensions."""
    return 4 + int(3 * math.log(max(dim, 2)))


class Distribution:
    """A normal distribution on the unit cube and its update rule.

    ``full`` and ``separable`` learn from bad samples as well (active update, the default of pycma; Jastrebski and
    Arnold 2006); VkD has no active update in pycma.
    References: Ros and Hansen 2008 for ``separable``; Akimoto and Hansen 2016, "Projection-based restricted covariance
    matrix adaptation for high dimension", for ``vkd``.

    Args:
        start: First mean, shape ``(dim,)``, in [0, 1].
        sigma0: First standard deviation.
        population: Samples per generation.
        rng: Source of all random numbers.
        is_bounded: Whether samples stay in the cube; if not, the caller folds them into it.
        variant: Which covariances are learned.
        covariance: First covariance, shape ``(dim, dim)``, positive definite, in units of sigma0 squared; the identity
            by default. All variants but ``full`` take its diagonal only.
    """

    def __init__(
        self,
        start: Genome,
        sigma0: float,
        population: int,
        rng: np.random.Generator,
        *,
        is_bounded: bool = True,
        variant: Variant = "full",
        covariance: NDArray[np.float64] | None = None,
    ) -> None:
        # pycma does not support one dimension; a second gene that nobody reads makes two.
        mean = np.append(start, 0.5) if start.size == 1 else start
        options: dict[str, Any] = {
            "bounds": [0.0, 1.0] if is_bounded else [None, None],
            "popsize": population,
            "randn": lambda *shape: rng.standard_normal(shape),
            "seed": math.nan,  # leave the global generator alone
            "signals_filename": None,
            "verb_disp": 0,
            "verb_log": 0,
            "verbose": -9,
        }
        self._dim = start.size
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import cma

            options |= _variant_options(variant, options["randn"])
            if covariance is not None:
                options["CMA_teststds" if variant == "vkd" else "CMA_stds"] = _deviations(covariance, mean.size)
            self._es: Any = cma.CMAEvolutionStrategy(mean.tolist(), sigma0, options)
        if covariance is not None and variant == "full" and start.size > 1:
            self._correlate(covariance)

    @property
    def mean(self) -> Genome:
        """The mean, shape ``(dim,)``, in [0, 1] if bounded: usually better than the best sample under noise."""
        return np.asarray(self._es.result.xfavorite, dtype=np.float64)[: self._dim]

    def generation(self) -> list[NDArray[np.float64]]:
        """The samples of one generation, each of shape ``(dim,)`` (``(2,)`` in one dimension)."""
        return self._ask(None)

    def extra(self) -> list[NDArray[np.float64]]:
        """One more sample of the same distribution."""
        return self._ask(1)

    def update(self, points: Sequence[NDArray[np.float64]], losses: Sequence[float], late: Sequence[int]) -> bool:
        """Learn from finite losses (minimised).

        Args:
            points: Arrays that :meth:`generation` or :meth:`extra` returned, unchanged.
            losses: One per point.
            late: Positions of points drawn from an earlier distribution; their steps are shortened to the
                usual length.

        Returns:
            Whether a stopping rule holds.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._es.tell(list(points), list(losses), check_points=list(late) or None)
            return bool(self._es.stop())

    def is_sound(self) -> bool:
        """Whether the mean is finite and the standard deviations are of a size that still makes new samples."""
        deviations = self._es.sigma * np.sqrt(np.asarray(self._es.dC, dtype=np.float64))
        is_in_range = SMALLEST_DEVIATION < float(deviations.max()) < LARGEST_DEVIATION  # False for nan
        return bool(np.isfinite(self._es.mean).all()) and is_in_range

    def point_of(self, genome: Genome) -> NDArray[np.float64]:
        """A genome from elsewhere as :meth:`update` takes it, shape ``(dim,)`` (``(2,)`` in one dimension)."""
        point = np.clip(np.asarray(genome, dtype=np.float64), 0.0, 1.0)
        return np.append(point, 0.5) if point.size == 1 else point

    def _correlate(self, covariance: NDArray[np.float64]) -> None:
        """Begin with the correlations of a covariance whose deviations pycma has been given already."""
        deviations = np.sqrt(np.diag(covariance))
        self._es.sm.C = covariance / np.outer(deviations, deviations)
        self._es.sm.update_now(-1)
        self._es._updateBDfromSM()

    def _ask(self, number: int | None) -> list[NDArray[np.float64]]:
        sampler = self._es.sm
        mirrors = getattr(sampler, "flg_injection", False)
        if number is not None and mirrors:
            sampler.flg_injection = False  # VkD begins each generation with two mirrored samples; an extra is none
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            points = [np.asarray(point, dtype=np.float64) for point in self._es.ask(number)]
        if mirrors:
            sampler.flg_injection = True
        return points


def _variant_options(variant: Variant, randn: Callable[..., NDArray[np.float64]]) -> dict[str, Any]:
    if variant == "separable":
        return {"CMA_diagonal": True}
    if variant == "full":
        return {}
    from cma.restricted_gaussian_sampler import GaussVkDSampler

    options: dict[str, Any] = GaussVkDSampler.extend_cma_options()
    return {**options, "CMA_sampler_options": {"randn": randn}}  # its default is the global generator


def _deviations(covariance: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """Standard deviations, shape ``(dim,)``; a gene that nobody reads has 1."""
    found = np.ones(dim)
    found[: len(covariance)] = np.sqrt(np.diag(covariance))
    return found
