"""The search of mergekit-evolve, for comparison and for results that others can relate to.

Reference: mergekit 0.1.5, ``mergekit-evolve``: pycma without bounds on the raw parameters, a weight meaning its
absolute value and a density its absolute value up to 1; everything starts at equal weights and density 1. Because of
that folding many points are the same merge. Give the space the range [0, 1] and densities the range [0, 1]; one gene
per layer group and model is ``layer_granularity``.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Genome, Trial
from searcher.strategies.base import STRATEGIES, Problem
from searcher.strategies.cma_es import CmaEs

SIGMA0 = 1 / 6


@STRATEGIES.register("mergekit_evolve")
class MergekitEvolve(CmaEs):
    """CMA-ES as mergekit-evolve sets it: no bounds, start at equal weights and density 1, a weighted sum of scores.

    Unlike the original it has a seed, resumes, and scores all candidates on the same examples. ``cma_es`` with its
    defaults is the better search.

    Args:
        population: Candidates per generation, at least 4; by default 4 + 3 ln(dim).
        sigma0: First standard deviation, of a weight or density in [0, 1].
        weights: One weight per objective; required with several.
        densities: Operator settings whose genes start at 1 instead of at equal weights.
    """

    is_bounded: ClassVar[bool] = False
    uses_earlier_runs = False

    def __init__(
        self,
        problem: Problem,
        *,
        population: int | None = None,
        sigma0: float = SIGMA0,
        weights: tuple[float, ...] | None = None,
        densities: tuple[str, ...] = ("density",),
    ) -> None:
        super().__init__(
            problem,
            population=population,
            sigma0=sigma0,
            variant="full",
            weights=weights,
            restarts=0,
            final_mean=False,
        )
        heads = [name.split("[")[0] for name in problem.gene_names]
        n_models = max(len(set(heads) - set(densities)), 1)
        self._start = np.array([1.0 if head in densities else 1.0 / n_models for head in heads])
        self._start_name = "equal weights"

    @override
    def genome_of(self, point: NDArray[np.float64]) -> Genome:
        return np.asarray(np.minimum(np.abs(point), 1.0), dtype=np.float64)

    @override
    def _consider_start(self, trial: Trial, value: float) -> None:
        """Known merges are not used."""
