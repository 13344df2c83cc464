"""Brute force: a line or a grid of genomes, then finer ones around the best."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
from typing_extensions import override

from searcher.candidate import Genome, Proposal, Trial
from searcher.errors import ConfigError
from searcher.multi_objective.dominance import Front
from searcher.strategies.base import STRATEGIES, Problem, Strategy

FEWEST_LEVELS = 3  # a full grid with fewer values per gene holds corners only
FIRST_SHARE = 3  # with zoom, one in so many evaluations goes to the whole cube ...
FIRST_PER_GENE = 10  # ... or so many per gene if there is no budget
PER_ZOOM = 4  # points per gene of one finer grid
ZOOMS = 8  # after so many halvings the first finer grid comes again, with other points


@STRATEGIES.register("grid")
class Grid(Strategy):
    """Brute force over the cube, then finer and finer grids around what turned out best.

    One gene (the mixing weight of two models): the ends first, then always the middles of the widest gaps, so that the
    line is even whenever it stops. Several genes: a full grid in random order if the budget allows at least three
    values per gene; otherwise, and after it, points that fill the cube evenly (the additive recurrence with the
    generalised golden ratio, Roberts 2018, shifted at random).

    With ``zoom`` the whole cube gets a third of the budget; then come cubes around the best points so far (the members
    of the front in turn), each half as wide as the one before, of four points per gene. Without it no result has any
    influence: that is the brute force that other searches are compared with.

    Args:
        zoom: Whether to lay finer grids around the best points.
    """

    def __init__(self, problem: Problem, *, zoom: bool = True) -> None:
        if not isinstance(zoom, bool):
            raise ConfigError(f"Expected true or false, but got {zoom!r}.", where="strategy.zoom", fix="Write true.")
        self._dim, self._rng, self._zoom = problem.dim, problem.rng(), zoom
        self._n_whole = problem.budget
        if zoom:
            first = FIRST_PER_GENE * problem.dim if problem.budget is None else problem.budget // FIRST_SHARE
            self._n_whole = max(1, first)
        self._even = even_points(problem.dim, self._rng.random(problem.dim))
        self._whole = self._whole_points()
        self._n_asked = 0
        self._front, self._genomes = Front(problem.n_objectives), dict[int, Genome]()
        self._n_told = 0

    @override
    def ask(self, n: int) -> list[Proposal]:
        return [Proposal(self._next()) for _ in range(n)]

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.genome is None or trial.fitness is None:
                continue
            self._n_told += 1
            if self._front.add(self._n_told, trial.fitness):
                self._genomes[self._n_told] = np.array(trial.genome, dtype=np.float64).clip(0.0, 1.0)
                self._genomes = {member: self._genomes[member] for member in self._front.members}

    @override
    def describe(self) -> str:
        what = "evenly spread points"
        if self._dim == 1:
            what = "a line"
        elif self._levels:
            what = f"a full grid of {self._levels} values per gene"
        finer = ", then finer grids around the best" if self._zoom else ""
        return f"brute force over {self._dim} gene{'s' * (self._dim > 1)}: {what}{finer}"

    @property
    def _levels(self) -> int:
        """Values per gene of a full grid within the budget; 0 if they are too few."""
        levels = 0 if self._n_whole is None else int((self._n_whole + 0.5) ** (1.0 / self._dim))
        return levels if levels >= FEWEST_LEVELS else 0

    def _next(self) -> Genome:
        n_finer = self._n_asked - (self._n_whole or 0)
        self._n_asked += 1
        if not self._zoom or n_finer < 0 or not len(self._front):
            return next(self._whole)
        grid, point = divmod(n_finer, PER_ZOOM * self._dim)
        members = self._front.members
        centre = self._genomes[members[point % len(members)]]
        half_width = 0.25 * 0.5 ** (grid % ZOOMS)
        return np.asarray((centre + half_width * (2.0 * next(self._even) - 1.0)).clip(0.0, 1.0))

    def _whole_points(self) -> Iterator[Genome]:
        """Points of the whole cube, without end."""
        if self._dim == 1:
            yield from bisected_line()
        if self._levels:
            values = np.linspace(0.0, 1.0, self._levels)
            for index in self._rng.permutation(self._levels**self._dim).tolist():
                yield values[list(np.unravel_index(index, (self._levels,) * self._dim))]
        while True:
            yield next(self._even)


def bisected_line() -> Iterator[Genome]:
    """0, 1, 1/2, 1/4, 3/4, 1/8 ... as genomes of shape ``(1,)``."""
    yield np.zeros(1)
    yield np.ones(1)
    for level in count(1):
        for odd in range(1, 2**level, 2):
            yield np.array([odd / 2**level])


def even_points(dim: int, shift: Genome) -> Iterator[Genome]:
    """Points that fill the cube evenly at any number of them: ``(shift + n a) mod 1`` with ``a_i = g^-i``.

    ``g`` solves ``g^(dim + 1) = g + 1``; for one dimension it is the golden ratio.

    Args:
        dim: Number of dimensions.
        shift: The point before the first, shape ``(dim,)``.
    """
    ratio = 2.0
    for _ in range(64):  # a contraction
        ratio = (1.0 + ratio) ** (1.0 / (dim + 1))
    steps = ratio ** -np.arange(1.0, dim + 1.0)
    for n in count(1):
        yield (shift + n * steps) % 1.0
