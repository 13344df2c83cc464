"""Which of several strategies proposes next, and what a proposal has earned it."""

from __future__ import annotations

from bisect import insort
from collections import deque

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Trial
from searcher.multi_objective.hypervolume import improvement
from searcher.strategies.known_front import KnownFront

WINDOW = 20  # results that an addition is compared with
TOP = 10  # values of a single objective whose rise counts
MAX_VOLUME = 5  # objectives; beyond, entering the front is worth 1, because nearly everything enters in part


class DiscountedThompson:
    """Thompson sampling that forgets: draws the mean reward of every arm from its posterior and takes the largest.

    Rewards are between 0 and 1. An arm's posterior is a beta distribution with 1 plus its discounted rewards and 1 plus
    its discounted shortfalls from 1; at every reward all arms are discounted, so that one that has not been tried for
    long becomes uncertain again.

    References: Raj and Kalyani 2017, "Taming non-stationary bandits: a Bayesian approach", arXiv:1707.09727; Agrawal and
    Goyal 2012 for rewards that are fractions.

    Args:
        n_arms: Number of arms.
        discount: In (0, 1]; rewards count about ``1 / (1 - discount)`` results.
        rng: Source of the draws.
    """

    def __init__(self, n_arms: int, discount: float, rng: np.random.Generator) -> None:
        self._discount, self._rng = discount, rng
        self._gains: NDArray[np.float64] = np.zeros(n_arms)
        self._losses: NDArray[np.float64] = np.zeros(n_arms)

    @property
    def means(self) -> NDArray[np.float64]:
        """Posterior mean reward of every arm, shape ``(n_arms,)``."""
        return np.asarray((1.0 + self._gains) / (2.0 + self._gains + self._losses))

    def choose(self) -> int:
        """The number of the arm to try next."""
        return int(np.argmax(self._rng.beta(1.0 + self._gains, 1.0 + self._losses)))

    def reward(self, arm: int, reward: float) -> None:
        """Learn what an arm has earned.

        Args:
            arm: Its number.
            reward: In [0, 1].
        """
        self._gains *= self._discount
        self._losses *= self._discount
        self._gains[arm] += reward
        self._losses[arm] += 1.0 - reward


class ImprovementCredit:
    """What each result adds to the best that is known, by its rank among the latest additions.

    One objective: the rise of the sum of the ten best values, because the best alone rises in one of ten results even
    of a good search, and that is too rare to learn from. Several: the rise of the hypervolume in units of the front's
    range, over a reference point that follows the front. Failed results and those stopped early add nothing. Additions shrink as
    a search converges; their ranks do not (Fialho, Schoenauer and Sebag 2010, comparison-based operator selection).

    Args:
        n_objectives: Length of a fitness vector.
    """

    def __init__(self, n_objectives: int) -> None:
        self._n_objectives = n_objectives
        self._known = KnownFront(n_objectives)
        self._best: list[float] = []  # the highest values of a single objective, ascending
        self._recent: deque[float] = deque(maxlen=WINDOW)

    def of(self, trial: Trial) -> float:
        """The share of the last 20 results that added less than this one; 0 if it added nothing."""
        gain = self._gain(trial)
        credit = sum(earlier < gain for earlier in self._recent) / max(len(self._recent), 1)
        self._recent.append(gain)
        return credit

    def _gain(self, trial: Trial) -> float:
        if trial.fitness is None or trial.is_estimate or not np.isfinite(trial.fitness).all():
            return 0.0
        if self._n_objectives == 1:
            return self._rise(float(trial.fitness[0]))
        before = self._known.fitness
        fitness = np.array(trial.fitness, dtype=np.float64)
        if not self._known.add(trial.genome, fitness) or (before == fitness).all(axis=1).any():
            return 0.0
        if len(before) == 0 or self._n_objectives > MAX_VOLUME:
            return 1.0
        reference, width = self._known.frame()
        unit = np.ones(self._n_objectives)
        return improvement((fitness - reference) / width, (before - reference) / width, 0.0 * unit)

    def _rise(self, value: float) -> float:
        """By how much a value exceeds the worst of the best, which it replaces once there are ten of them."""
        if value in self._best:
            return 0.0
        replaced = self._best[0] if self._best else value
        insort(self._best, value)
        del self._best[:-TOP]
        return max(0.0, value - replaced)
