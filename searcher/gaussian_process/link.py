"""The scale on which a Gaussian process models a fitness: fractions as log odds.

An accuracy is flat near 0 and 1 and steep in between, so that one lengthscale does not fit it everywhere; its log odds
are nearer to stationary. What is optimised stays the fraction itself: samples are turned back before they are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MARGIN = 0.01  # beyond 0 and 1, so that both have finite log odds


@dataclass(frozen=True, eq=False)
class Link:
    """Between standardised fitness and what is modelled, objective by objective.

    Args:
        is_fraction: Whose log odds are modelled, shape ``(m,)``.
        shift: Of the log odds, shape ``(m,)``.
        scale: Of the log odds, shape ``(m,)``, positive.
        fitness_shift: Of the fitness, shape ``(m,)``.
        fitness_scale: Of the fitness, shape ``(m,)``, positive.
    """

    is_fraction: NDArray[np.bool_]
    shift: Floats
    scale: Floats
    fitness_shift: Floats
    fitness_scale: Floats

    def fitness(self, modelled: torch.Tensor) -> torch.Tensor:
        """Standardised fitness of values that a Gaussian process models, shape ``(..., m)``; differentiable."""
        if not self.is_fraction.any():
            return modelled
        odds = torch.tensor(self.shift) + torch.tensor(self.scale) * modelled
        fraction = (1.0 + 2 * MARGIN) * odds.sigmoid() - MARGIN
        standardised = (fraction - torch.tensor(self.fitness_shift)) / torch.tensor(self.fitness_scale)
        return torch.where(torch.tensor(self.is_fraction), standardised, modelled)

    def slopes(self, modelled: torch.Tensor) -> torch.Tensor:
        """Derivatives of :meth:`fitness`, shape ``(..., m)``."""
        odds = torch.tensor(self.shift) + torch.tensor(self.scale) * modelled
        share = odds.sigmoid()
        found = (1.0 + 2 * MARGIN) * share * (1.0 - share) * torch.tensor(self.scale / self.fitness_scale)
        return torch.where(torch.tensor(self.is_fraction), found, 1.0)


def are_fractions(fitness: Floats) -> NDArray[np.bool_]:
    """Which columns lie in [0, 1] and are not constant, shape ``(n, m)`` to ``(m,)``."""
    return np.asarray(((fitness >= 0) & (fitness <= 1)).all(axis=0) & (fitness.min(axis=0) < fitness.max(axis=0)))


def log_odds(fractions: Floats) -> Floats:
    """Of fractions in [0, 1], any shape."""
    return np.asarray(np.log((fractions + MARGIN) / (1.0 + MARGIN - fractions)))


def log_odds_stderr(fractions: Floats, stderr: Floats) -> Floats:
    """Standard errors of the log odds, to first order."""
    return np.asarray(stderr * (1.0 / (fractions + MARGIN) + 1.0 / (1.0 + MARGIN - fractions)))
