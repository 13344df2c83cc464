"""MAP: measure a design, fit quadratics, measure the front that they predict, compare, fit again.

Reference: Li et al. 2025, "MAP: low-compute model merging with amortized Pareto fronts via quadratic approximation".
The paper stops at the predicted front; here it is measured and the box follows what was found. A quadratic that fits
a large box well is mostly fitted to merges that nobody wants, and its optimum may be poor (see docs/map.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.multi_objective.dominance import non_dominated
from searcher.multi_objective.knee import knee
from searcher.quadratic_surrogate.angular_bins import adaptive_points
from searcher.quadratic_surrogate.box import Box
from searcher.quadratic_surrogate.front import predicted_front, thinned
from searcher.quadratic_surrogate.link import Link
from searcher.quadratic_surrogate.quadratic import Terms, n_unknowns
from searcher.quadratic_surrogate.surrogates import Measured, Surrogates, fit_surrogates, is_beyond

Floats: TypeAlias = NDArray[np.float64]
Filling: TypeAlias = Callable[[int, int], Floats]
"""From ``k`` and ``dim`` to the k-th point of an even sequence in the unit cube, shape ``(dim,)``."""

TOO_MANY = 0.25  # share of measurements beyond two standard errors, of which right surrogates have a twentieth
POOR = 0.5  # leave-one-out R2 below which half of a round improves the fit instead
SHRINK, GROW = 0.5, 1.5
LEAST_SIDE = 0.02  # of the sampled box
SPACING = 1e-3  # of the present box: nearer points are not told apart
LINE = (0.25, 0.5, 0.75)  # of the diagonal


@dataclass(frozen=True)
class Plan:
    """How a search goes.

    Args:
        terms: Of the quadratics.
        points: Scored points in the box before the first prediction.
        verify: Points of a predicted front that are measured at a time.
        links: One per objective.
        is_adaptive: Whether points beyond those that determine the quadratics are sampled by angular bins.
    """

    terms: Terms
    points: int
    verify: int
    links: tuple[Link, ...]
    is_adaptive: bool = False


@dataclass(frozen=True, eq=False)
class Proposed:
    """A point under evaluation.

    Args:
        point: Shape ``(dim,)``.
        predicted: Fitness, shape ``(m,)``; None if it was not proposed for what is predicted.
        stderr: Of the prediction, shape ``(m,)``.
        noise: Standard deviation of its measurement where that has no standard error, shape ``(m,)``.
    """

    point: Floats
    predicted: Floats | None = None
    stderr: Floats | None = None
    noise: Floats | None = None


class AmortizedFront:
    """Proposes points of a box and learns from their fitness; a function of its seed and of the calls.

    Args:
        limits: The box; no point outside it is proposed.
        plan: How the search goes.
        filling: Points wherever no better reason is known.
        rng: Source of all random numbers.
    """

    def __init__(self, limits: Box, plan: Plan, filling: Filling, rng: np.random.Generator) -> None:
        self.limits, self.box, self.plan = limits, limits, plan
        self.n_rounds = self.n_compared = self.n_beyond = self.n_shrunk = 0
        self.surrogates: Surrogates | None = None
        self._filling, self._rng, self._n_filled = filling, rng, 0
        self._queue: deque[Proposed] | None = None
        self._out: dict[int, Proposed] = {}
        self._n_out = self._n_inside = 0
        self._rows: list[tuple[Floats, Floats, Floats]] = []
        self._is_whole: list[bool] = []
        self._failed: list[Floats] = []
        self._round: list[tuple[int, int, bool]] = []  # compared, beyond, at a face of the box that may move

    @property
    def n_inside(self) -> int:
        """Scored points in the box."""
        return self._n_inside

    def next(self) -> tuple[int, Floats]:
        """Number and point, shape ``(dim,)``, of what should be measured next."""
        if self._queue is None:
            self._queue = deque(() if self._n_inside else map(Proposed, _corners_and_line(self.limits)))
        if not self._queue:
            self._queue.extend(self._more())
        proposed = self._queue.popleft()
        self._out[self._n_out] = proposed
        self._n_out += 1
        return self._n_out - 1, proposed.point.copy()

    def add(
        self,
        point: Floats,
        fitness: Floats | None,
        stderr: Floats | None = None,
        *,
        number: int | None = None,
        is_estimate: bool = False,
    ) -> None:
        """Learn of a measured point.

        Args:
            point: Shape ``(dim,)``; outside the box it counts less the further it is.
            fitness: Shape ``(m,)``; None or not finite if it failed.
            stderr: Shape ``(m,)``, nan where unknown.
            number: Under which it was proposed; None if it was not.
            is_estimate: Whether it only seems to have this fitness; it then does not direct the box.
        """
        proposed = None if number is None else self._out.pop(number)
        if fitness is None or not np.isfinite(fitness).all():
            self._failed.append(np.array(point, dtype=np.float64))
            return
        known = np.full(fitness.shape, np.nan) if stderr is None else np.array(stderr, dtype=np.float64)
        self._rows.append((np.array(point, dtype=np.float64), np.array(fitness, dtype=np.float64), known))
        self._is_whole.append(not is_estimate)
        self._n_inside += int(self.limits.contains(point[None])[0])
        if proposed is not None and proposed.predicted is not None and self.surrogates is not None:
            self._compare(proposed, fitness, known, self.surrogates.scale)

    def measured(self) -> Measured:
        """All scored points, in the order told; at least one."""
        points, fitness, stderr = (np.array(column) for column in zip(*self._rows, strict=True))
        return Measured(points, fitness, stderr)

    def fit(self) -> Surrogates | None:
        """Surrogates of all that is known in the present box; None if it does not determine them."""
        if self._n_inside < n_unknowns(self.limits.dim, self.plan.terms):
            return None
        try:
            return fit_surrogates(self.measured(), self.box, self.plan.links, self.plan.terms)
        except ValueError:
            return None

    def predicted(self, surrogates: Surrogates) -> tuple[Floats, Floats]:
        """The front that surrogates predict in the present box, shapes ``(k, dim)`` and ``(k, m)``."""
        return predicted_front(surrogates, self.box, self._best(), self._rng)

    def _more(self) -> list[Proposed]:
        """The next points, at least one."""
        missing = self.plan.points - self._n_inside - len(self._out)
        surrogates = self.fit()
        if surrogates is None or (missing > 0 and not self.plan.is_adaptive):
            return [self._fill()]
        if missing > 0:
            n = min(missing, self.plan.verify)
            return [Proposed(p) for p in adaptive_points(surrogates, self.measured(), self.box, n, self._rng)]
        return self._verification(surrogates)

    def _verification(self, surrogates: Surrogates) -> list[Proposed]:
        """Points of the predicted front; some even ones where the fit is poor or the box is new."""
        has_shrunk = self._moved_box()
        surrogates = (self.fit() or surrogates) if self._round else surrogates
        self._round.clear()
        self.surrogates, n = surrogates, self.plan.verify
        is_poor = bool(np.nanmin(np.append(surrogates.r2, 1.0)) < POOR)
        n_even = n // 2 if is_poor else n // 3 if has_shrunk else 0
        points, fitness = self.predicted(surrogates)
        is_new = self._gaps(points) > SPACING
        points, fitness = points[is_new], fitness[is_new]
        beside = surrogates.predict(self._best())
        points = points[thinned(fitness, n - n_even, beside)]
        self.n_rounds += 1
        if not len(points):  # nothing new is predicted: look closer
            self.box = self._shrunk()
            n_even = max(n_even, n // 3, 1)
        parts = zip(
            points, surrogates.predict(points), surrogates.stderr(points), surrogates.noise(points), strict=True
        )
        return [*(Proposed(*part) for part in parts), *(self._fill() for _ in range(n_even))]

    def _compare(self, proposed: Proposed, fitness: Floats, stderr: Floats, scale: Floats) -> None:
        assert proposed.predicted is not None
        assert proposed.stderr is not None
        assert proposed.noise is not None
        noise = np.where(np.isfinite(stderr) & (stderr > 0), stderr, proposed.noise)
        n_beyond = int(is_beyond(fitness, proposed.predicted, np.hypot(noise, proposed.stderr), scale).sum())
        self.n_compared += fitness.size
        self.n_beyond += n_beyond
        at_face = (proposed.point == self.box.low) & (self.box.low > self.limits.low)
        at_face |= (proposed.point == self.box.high) & (self.box.high < self.limits.high)
        self._round.append((fitness.size, n_beyond, bool(at_face.any())))

    def _moved_box(self) -> bool:
        """Shrink the box if the last round's predictions were wrong, grow it if they were right; whether it shrank."""
        if not self._round:
            return False
        n_compared, n_beyond, n_at_face = (sum(column) for column in zip(*self._round, strict=True))
        if n_beyond > TOO_MANY * n_compared:
            self.box = self._shrunk()
            return True
        if n_at_face:
            self.box = self.box.grown(GROW, self.limits)
        return False

    def _shrunk(self) -> Box:
        """Every face half of its way to the knee of the measured front.

        Not to the whole front: its ends are the single models, in corners of the box, and between them lies what was
        predicted wrongly.
        """
        self.n_shrunk += 1
        measured = self._reliable()
        compromise = measured.points[[knee(measured.fitness)]]
        return self.box.towards(compromise, SHRINK, LEAST_SIDE * self.limits.side)

    def _best(self) -> Floats:
        """Non-dominated measured points, shape ``(k, dim)``, k >= 1."""
        measured = self._reliable()
        return measured.points[non_dominated(measured.fitness)]

    def _reliable(self) -> Measured:
        """What was measured in full within the limits, or all if there is nothing of the kind."""
        measured = self.measured()
        whole = np.array(self._is_whole) & self.limits.contains(measured.points)
        return measured.rows(whole) if whole.any() else measured

    def _gaps(self, points: Floats) -> Floats:
        """Distance to the nearest known or pending point in sides of the box, shape ``(n,)``."""
        known = [row[0] for row in self._rows] + self._failed + [p.point for p in self._out.values()]
        apart = np.abs(points[:, None] - np.array(known)) / self.box.side
        return np.asarray(apart.max(axis=2).min(axis=1), dtype=np.float64)

    def _fill(self) -> Proposed:
        self._n_filled += 1
        return Proposed(self.box.at(self._filling(self._n_filled - 1, self.box.dim)))


def _corners_and_line(box: Box) -> Floats:
    """The lowest corner, the corners that differ from it in one gene, and points of the diagonal."""
    dim = box.dim
    corners = np.concatenate([np.zeros((1, dim)), np.eye(dim)])
    line = np.repeat(np.array(LINE)[:, None], dim, axis=1)
    return box.at(np.unique(np.concatenate([corners, line]), axis=0))
