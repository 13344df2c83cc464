"""An archive of models that compete for examples, and are attracted by what the other solves (M2N2).

Reference: Abrantes, Lange and Tang 2025, "Competition and Attraction Improve Model Fusion", arXiv:2508.16204, and
the authors' code. With scores ``S`` (n, N), crowding ``z_j = sum_i S_ij`` and capacity ``c_j``:

* shared fitness ``f_i = sum_j S_ij c_j / z_j^alpha``: an example's reward is divided among those that solve it;
* attraction ``g(A, B) = sum_j c_j / z_j^alpha max(S_Bj - S_Aj, 0)``: what B solves and A does not. The paper
  divides by ``z_j`` here, the code by ``z_j^alpha``; they agree at ``alpha`` 1, and this follows the code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]

EXACT = 2.0**53  # sums of whole numbers below this have no rounding error


class NicheArchive:
    """At most ``capacity`` members and their scores on ``n_examples`` examples.

    A full archive adds a newcomer by the authors' rule: shared fitness is computed with the newcomer as one more
    row, and the row with the least (the first, if several have it) goes, be it the newcomer. The authors fill the
    empty archive with rows of zeros; a member that scores 0 everywhere is equivalent to such a row, so here there is
    room instead.

    Crowding is kept up to date by adding and subtracting rows while scores are whole numbers, which has no rounding
    error, and summed anew otherwise; equal rows have equal fitness to the last bit, wherever they stand. Memory is
    ``8 (capacity + 1) n_examples`` bytes; adding costs one pass over it.

    Args:
        capacity: Largest number of members P, at least 1.
        n_examples: Number of examples N, at least 1.
        alpha: Strength of competition, at least 0; 0 means none: fitness is the sum of scores.
        graded: Whether the capacity of an example is the best score of any member (for scores between 0 and 1)
            instead of 1.
        weights: Factor of each example's capacity, shape ``(N,)``, not negative; None: 1. (Scores that were multiplied
            by weights would lose them again in the division by ``z_j``.)
        subtract_worst: Whether the worst score of any member on an example counts as 0 there, so that an objective on
            which all are nearly equal discriminates (the paper's diffusion experiment).
        rescale: Examples on which the worst score of any member counts as 0 and the best as 1, shape ``(N,)``, for
            numbers in units of their own; None: none.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(
        self,
        capacity: int,
        n_examples: int,
        *,
        alpha: float = 1.0,
        graded: bool = False,
        weights: Scores | None = None,
        subtract_worst: bool = False,
        rescale: NDArray[np.bool_] | None = None,
    ) -> None:
        if capacity < 1 or n_examples < 1:
            raise ValueError(f"Expected a capacity and examples of at least 1, but got {capacity} and {n_examples}.")
        if not (np.isfinite(alpha) and alpha >= 0):
            raise ValueError(f"Expected alpha to be a finite number of 0 or more, but got {alpha}.")
        self._alpha, self._graded = float(alpha), graded
        self._rescaled = np.zeros(n_examples, dtype=bool) if rescale is None else np.asarray(rescale, dtype=bool)
        self._subtracted = (self._rescaled | subtract_worst).astype(np.float64)
        self._subtracts = bool(self._subtracted.any())
        self._weights = None if weights is None else _checked(weights, n_examples, "weights")
        self._rows: Scores = np.zeros((capacity + 1, n_examples))  # one more for the newcomer
        self._work: Scores = np.empty_like(self._rows)
        self._members: list[int] = []
        self._crowding: Scores = np.zeros(n_examples)
        self._is_whole = True  # every score so far was a whole number ...
        self._is_binary = True  # ... and 0 or 1

    def __len__(self) -> int:
        return len(self._members)

    @property
    def capacity(self) -> int:
        """Largest number of members."""
        return len(self._rows) - 1

    @property
    def members(self) -> tuple[int, ...]:
        """The members' numbers in slot order."""
        return tuple(self._members)

    @property
    def scores(self) -> Scores:
        """Scores of the members in slot order, shape ``(n, N)``; a view that cannot be written to."""
        view = self._rows[: len(self)].view()
        view.setflags(write=False)
        return view

    def totals(self) -> Scores:
        """Mean score of every member, shape ``(n,)``: what it is worth alone."""
        mean: Scores = self._rows[: len(self)].mean(axis=1)
        return mean

    def fitness(self) -> Scores:
        """Shared fitness of every member, shape ``(n,)``; not negative."""
        return self._fitness(len(self))

    def attraction(self, slot: int) -> Scores:
        """How much every member offers to the one in ``slot``, shape ``(n,)``; 0 for itself and for its clones."""
        rows, shares = self._shares(len(self))
        if self._counts_solved:
            return _dot(rows, shares * (1.0 - rows[slot]))
        more = np.subtract(rows, rows[slot], out=self._work[: len(self)])
        np.maximum(more, 0.0, out=more)
        return _dot(more, shares)

    def add(self, member: int, scores: Scores) -> int | None:
        """Add a newcomer, and remove whoever has the least shared fitness if there is no room.

        Args:
            member: Its number; it should not be in the archive yet.
            scores: Shape ``(N,)``, finite, not negative.

        Returns:
            The number of the member that went; ``member`` if the newcomer was rejected; None if there was room.

        Raises:
            ValueError: If scores have the wrong shape, or are negative or not finite.
        """
        n, newcomer = len(self), _checked(scores, self._rows.shape[1], "scores")
        self._rows[n] = newcomer
        self._look(newcomer)
        self._crowd(n + 1, newcomer)
        if n < self.capacity:
            self._members.append(member)
            return None
        worst = int(np.argmin(self._fitness(n + 1)))
        leaving = self._rows[worst].copy()
        removed = member
        if worst < n:
            removed, self._members[worst] = self._members[worst], member
            self._rows[worst] = newcomer
        self._crowd(n, -leaving)
        return removed

    def pick_parents(self, rng: np.random.Generator, *, matchmaker: bool = True) -> tuple[int, int]:
        """Slots of two parents; uses two uniform numbers of the generator.

        The first is drawn in proportion to fitness. With a matchmaker the second is drawn in proportion to the
        first's attraction; if nobody attracts it (it solves what anybody solves; the authors' code divides 0 by 0
        there), in proportion to fitness among the others. Without, both are drawn alike and may be the same.
        Where all weights are 0, the draw is uniform. The only member is both parents.

        Raises:
            ValueError: If the archive is empty.
        """
        if not self._members:
            raise ValueError("Expected an archive with members, but it is empty.")
        fitness = self.fitness()
        first_draw, second_draw = rng.random(2)
        first = _draw(fitness, first_draw)
        if not matchmaker:
            return first, _draw(fitness, second_draw)
        if len(self) == 1:
            return first, first
        attraction = self.attraction(first)
        if attraction.any():
            return first, _draw(attraction, second_draw)
        others = np.delete(np.arange(len(self)), first)
        return first, int(others[_draw(fitness[others], second_draw)])

    def raise_scores(self, by: Scores) -> None:
        """Add to all scores, for scores whose lowest value is not known beforehand.

        Args:
            by: What is added on each example, shape ``(N,)``, not negative.

        Raises:
            ValueError: If the shape is wrong, or a number is negative or not finite.
        """
        n, added = len(self), _checked(by, self._rows.shape[1], "what is added")
        self._rows[:n] += added
        self._is_whole = self._is_binary = False
        self._crowd(n, added)

    @property
    def _counts_solved(self) -> bool:
        """Whether every score says whether an example is solved."""
        return self._is_binary and not self._subtracts

    def _fitness(self, n: int) -> Scores:
        """Shared fitness of the first n rows."""
        return _dot(*self._shares(n))

    def _shares(self, n: int) -> tuple[Scores, Scores]:
        """Scores of the first n rows as they count, (n, N), and the reward of one point on each example, (N,)."""
        rows, crowding = self._rows[:n], self._crowding
        if self._subtracts and n:
            rows = rows - rows.min(axis=0) * self._subtracted
            best = rows.max(axis=0)
            rows /= np.where(self._rescaled & (best > 0.0), best, 1.0)
            crowding = rows.sum(axis=0)
        shares = np.where(crowding == 0.0, 1.0, crowding)  # nobody solves it: nothing is shared, whatever the number
        np.power(shares, -self._alpha, out=shares) if self._alpha != 1.0 else np.reciprocal(shares, out=shares)
        if self._graded and n and not self._counts_solved:  # else it is 1 wherever somebody solves it
            shares *= rows.max(axis=0)
        if self._weights is not None:
            shares *= self._weights
        return rows, shares

    def _look(self, newcomer: Scores) -> None:
        """Notice the first score that is not 0 or 1, or whose sums may have a rounding error."""
        self._is_binary = self._is_binary and not (newcomer * (1.0 - newcomer)).any()
        if self._is_whole and not self._is_binary:
            is_small = float(newcomer.max()) * len(self._rows) < EXACT
            self._is_whole = is_small and bool((np.rint(newcomer) == newcomer).all())

    def _crowd(self, n: int, change: Scores) -> None:
        """Bring the column sums up to date; ``change`` is what the first n rows hold more than before."""
        if self._is_whole:
            self._crowding += change
        else:
            self._crowding = self._rows[:n].sum(axis=0)


def _dot(rows: Scores, weights: Scores) -> Scores:
    """Product of every row with the weights, shape ``(n,)``.

    One dot product per row, whose rounding does not depend on the row's place, as that of ``rows @ weights`` does.
    """
    product: Scores = np.matmul(rows[:, None, :], weights[:, None])[:, 0, 0]
    return product


def _draw(weights: Scores, uniform: float) -> int:
    """An index in proportion to weights that are not negative; uniform if all are 0.

    Args:
        weights: Shape ``(n,)``, n at least 1.
        uniform: Where to cut, in [0, 1).
    """
    sums = np.cumsum(weights)
    if not sums[-1] > 0.0:
        return int(uniform * len(sums))
    index = int(np.searchsorted(sums, uniform * sums[-1], side="right"))
    return min(index, int(np.flatnonzero(weights)[-1]))  # a product rounded up to the end


def _checked(values: Scores, n: int, name: str) -> Scores:
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (n,):
        raise ValueError(f"Expected {name} of shape ({n},), one per example, but got {array.shape}.")
    if not array.min() >= 0.0 or not array.max() < np.inf:
        raise ValueError(f"Expected {name} to be finite and not negative, but they are not.")
    return array
