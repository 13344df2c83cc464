"""The search distribution of CMA-ES, held by pycma, without its side effects.

pycma draws from numpy's global generator, reads a signals file in the working directory, writes logs and warns
by default; here it draws from the generator it is given and does none of the rest.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Genome

SMALLEST_DEVIATION = 1e-12  # in genes; recipes are rounded to 12 decimals, so smaller steps repeat themselves
LARGEST_DEVIATION = 1e12


def default_population(dim: int) -> int:
    """Hansen 2016, table 1: 4 + floor(3 ln(dim)); never below 6, the value for two dimensions."""
    return 4 + int(3 * math.log(max(dim, 2)))


class Distribution:
    """A normal distribution on the unit cube and its update rule.

    Args:
        start: First mean, shape ``(dim,)``, in [0, 1].
        sigma0: First standard deviation.
        population: Samples per generation.
        rng: Source of all random numbers.
        is_bounded: Whether samples stay in the cube; if not, the caller folds them into it.
    """

    def __init__(
        self, start: Genome, sigma0: float, population: int, rng: np.random.Generator, *, is_bounded: bool = True
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import cma

            self._es: Any = cma.CMAEvolutionStrategy(mean.tolist(), sigma0, options)

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

    def _ask(self, number: int | None) -> list[NDArray[np.float64]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [np.asarray(point, dtype=np.float64) for point in self._es.ask(number)]
