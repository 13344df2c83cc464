"""What the evolution methods for small networks share: they advance by forward passes and have a best network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np

from searcher.neuroevolution.network import Weights
from searcher.neuroevolution.population import Population


class Evolution(ABC):
    """Search among the weights of small networks; its state is a function of its seed."""

    n_passes: int = 0
    """Networks scored so far, the first ones apart."""

    n_changes: int = 0
    """How often :attr:`best` has changed; scores of it on other examples stay valid until it does."""

    @abstractmethod
    def advance(self) -> None:
        """Score one network more, or one generation."""

    @property
    @abstractmethod
    def best(self) -> Weights:
        """The network to report, shape ``(n,)``; a view that the next call of :meth:`advance` may change."""

    @property
    @abstractmethod
    def best_accuracy(self) -> float:
        """Its accuracy on the examples of the search."""


@dataclass(frozen=True)
class Variation:
    """How a child is made of two parents.

    Args:
        crossover: How parents are crossed: with a random split point, as whole vectors, or not at all (the child is
            the first parent).
        sigma: Standard deviation of the mutation; 0: none.

    Raises:
        ValueError: If ``sigma`` is negative.
    """

    crossover: Literal["split_point", "whole", "none"] = "split_point"
    sigma: float = 0.01

    def __post_init__(self) -> None:
        if not 0.0 <= self.sigma < np.inf:
            raise ValueError(f"Expected sigma to be a finite number of 0 or more, but got {self.sigma}.")

    def breed(self, population: Population, row: int, a: int, b: int, rng: np.random.Generator) -> None:
        """Write the child of rows ``a`` and ``b`` to ``row``; draws the ratio and the split point as needed."""
        if self.crossover == "none":
            population.copy(row, a)
        else:
            n = population.rows.shape[1]
            ratio = float(rng.random())
            split = int(rng.integers(n)) if self.crossover == "split_point" else n
            population.cross(row, a, b, ratio, split)
        if self.sigma:
            population.mutate(row, self.sigma)
