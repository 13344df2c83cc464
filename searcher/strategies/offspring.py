"""Children of two candidates: by the space where it combines recipes, else by the same crossover of genomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Genome, Proposal
from searcher.errors import ConfigError
from searcher.niches.crossover import linear_weights, split_positions
from searcher.niches.genes import ENDS, RATIO, crosses_recipes, is_split
from searcher.strategies.base import Problem


@dataclass(frozen=True)
class Parent:
    """A candidate that can have children.

    Args:
        number: Its number in the run.
        genome: Shape ``(dim,)``, or None for a baseline outside the space.
    """

    number: int
    genome: Genome | None


class Offspring:
    """Makes proposals from pairs of parents.

    In a space that crosses recipes (``niche_boundary``) a proposal names its parents, and its genes are the split
    points and the ratio, drawn uniformly; genes of operator settings are crossed as below, without a split. In any
    other space the genomes are crossed: with ``t`` the ratio before a split between genes and 1 - ratio behind it,
    a child's genes are ``(1 - t) A + t B``, to which noise is added.

    Args:
        problem: Names of the genes.
        rng: The strategy's generator.
        crossover: False: the child is the first parent with noise.
        split_point: False: one ratio everywhere.
        mutation: Standard deviation of normal noise on genes, clipped to the cube; split points and ratio have none.

    Raises:
        ConfigError: If children could not differ from their parents, or the mutation is no standard deviation.
    """

    def __init__(
        self, problem: Problem, rng: np.random.Generator, *, crossover: bool, split_point: bool, mutation: float
    ) -> None:
        names = problem.gene_names
        self._dim, self._rng = problem.dim, rng
        self._crosses, self._splits, self._mutation = crossover, split_point, mutation
        self.names_parents = crosses_recipes(names)
        self._split_genes = np.array([is_split(name) for name in names]) & self.names_parents
        self._ratio_gene = np.array([name == RATIO for name in names]) & self.names_parents
        self._end_genes = np.array([name in ENDS for name in names]) & self.names_parents
        self._free = ~(self._split_genes | self._ratio_gene | self._end_genes)
        if not (np.isfinite(mutation) and mutation >= 0):
            raise _refused(f"Expected a standard deviation of 0 or more, but got {mutation}.", "mutation", "Give 0.1.")
        if not crossover and (self.names_parents or mutation == 0):
            raise _refused(
                "Without crossover children could not differ from their parents.",
                "crossover",
                "Use another space than niche_boundary, and a mutation above 0.",
            )

    def random(self) -> Proposal:
        """A uniform sample of the space, without parents."""
        return Proposal(self._rng.random(self._dim))

    def can_be_parent(self, genome: Genome | None) -> bool:
        """Whether a candidate can be crossed: with a genome always, without one only where recipes are."""
        return self.names_parents or genome is not None

    def child(self, first: Parent, second: Parent) -> Proposal:
        """A child of two parents."""
        if not self.names_parents:
            return Proposal(self._mutated(self._crossed(first, second)))
        genome = np.zeros(self._dim)
        genome[self._split_genes] = self._uniform(self._split_genes) if self._splits else 0.0
        ratio = float(self._rng.random())
        genome[self._ratio_gene] = ratio
        if self._free.any():
            genome[self._free] = self._mutated(self._free_genes(first, second, ratio))
        return Proposal(genome, (first.number, second.number))

    def _crossed(self, first: Parent, second: Parent) -> Genome:
        assert first.genome is not None
        assert second.genome is not None
        if not self._crosses:
            return first.genome.copy()
        ratio = float(self._rng.random())
        split = int(self._rng.integers(self._dim)) if self._splits else 0
        t = split_positions(ratio, 2)[(np.arange(self._dim) >= split).astype(int)]
        p, q = linear_weights(t)
        return np.asarray(p * first.genome + q * second.genome, dtype=np.float64)

    def _free_genes(self, first: Parent, second: Parent, ratio: float) -> NDArray[np.float64]:
        """Genes of operator settings; a parent outside the space has none, and any will do."""
        a, b = (
            self._uniform(self._free) if parent.genome is None else parent.genome[self._free]
            for parent in (first, second)
        )
        return np.asarray((1.0 - ratio) * a + ratio * b)

    def _mutated(self, genes: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._mutation > 0:
            genes = genes + self._mutation * self._rng.standard_normal(genes.shape)
        return np.asarray(genes.clip(0.0, 1.0), dtype=np.float64)

    def _uniform(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        return self._rng.random(int(mask.sum()))


def _refused(what: str, setting: str, fix: str) -> ConfigError:
    return ConfigError(what, where=f"strategy.{setting}", fix=fix)
