"""What the evolution methods for small networks share: they advance by forward passes and have a best network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from typing_extensions import override

from searcher.neuroevolution.network import Scorer, Weights
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


class BestSoFar(Evolution):
    """Keeps the best network of all time.

    Args:
        first: What :attr:`best` is before anything was scored, shape ``(n,)``.
    """

    def __init__(self, first: Weights) -> None:
        self._best: Weights = first.copy()
        self._best_accuracy = -1.0

    def _offer(self, network: Weights, accuracy: float) -> bool:
        """Keep a scored network, shape ``(n,)``, if it is better; returns whether it is."""
        if accuracy <= self._best_accuracy:
            return False
        self._best, self._best_accuracy = network.copy(), accuracy
        self.n_changes += 1
        return True

    @property
    @override
    def best(self) -> Weights:
        return self._best

    @property
    @override
    def best_accuracy(self) -> float:
        return self._best_accuracy


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


def checked_networks(first: Weights, scorer: Scorer) -> Weights:
    """The first networks as float32.

    Raises:
        ValueError: If their shape is not ``(K, n_parameters)`` with K at least 1, or a weight is not finite.
    """
    networks = np.ascontiguousarray(first, dtype=np.float32)
    if networks.ndim != 2 or len(networks) == 0 or networks.shape[1] != scorer.network.n_parameters:
        expected = f"(K, {scorer.network.n_parameters}), K at least 1"
        raise ValueError(f"Expected first networks of shape {expected}, but got {networks.shape}.")
    if not np.isfinite(networks).all():
        raise ValueError("Expected the weights of the first networks to be finite, but they are not.")
    return networks
