"""MAP: amortized Pareto fronts by quadratic surrogates.

Reference: Li et al. 2025, "MAP: low-compute model merging with amortized Pareto fronts via quadratic approximation"
(ICLR 2025, arXiv 2406.07529), and the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Proposal, Trial
from searcher.errors import ConfigError
from searcher.quadratic_surrogate.amortized_front import AmortizedFront, Plan
from searcher.quadratic_surrogate.angular_bins import MAX_GENES
from searcher.quadratic_surrogate.box import Box
from searcher.quadratic_surrogate.budget import Need, need
from searcher.quadratic_surrogate.link import LINKS, Link, is_in_range
from searcher.quadratic_surrogate.nested import NestedFronts, n_nested
from searcher.quadratic_surrogate.quadratic import Terms
from searcher.strategies.base import STRATEGIES, Problem, Strategy
from searcher.strategies.pending import PendingProposals

Variant: TypeAlias = Literal["auto", "plain", "bayesian", "nested"]
VARIANTS = ("auto", "plain", "bayesian", "nested")


@STRATEGIES.register("map")
class Map(Strategy):
    """Amortized Pareto fronts (MAP): quadratics fitted to a few merges predict the whole front.

    For about 2 to 12 genes and any number of objectives. A quadratic of N genes has (N + 1)(N + 2) / 2 unknowns; twice
    as many points are evaluated first if the budget is large, the baselines inside the box among them. Then the
    predicted front is measured a few points at a time, compared and the quadratics are fitted again. If more than a
    quarter of the measurements are more than two standard errors from their prediction, every face of the box moves
    half of its way to the knee of what was measured; where they are right at a face, the box grows again.

    Args:
        variant: ``plain``: points spread evenly; ``bayesian``: only as many as there are unknowns, then more where the
            surrogates err or are unsure (2 to 6 genes); ``nested``: two models at a time, for one gene and one
            objective per model; ``auto``: plain, or nested where the budget is too small for full quadratics.
        box: Lowest and highest gene that is sampled; no merge outside is proposed.
        points: Scored points in the box before the first prediction; by default twice the unknowns, but at most a third
            of the budget if that determines the quadratics.
        terms: ``full`` quadratics, ``separable`` ones without products of two genes (2 N + 1 unknowns), or by default
            full ones unless a third of the budget holds fewer points than their unknowns.
        verify: Points of the predicted front that are measured before the next fit.
        link: Scale on which objectives are quadratic: ``none``, ``sigmoid`` for accuracies, ``softplus`` for losses that
            are minimised; for all objectives, or by objective name.
        weights: One per objective, for ``nested``: which compromise of a pair goes on; by default equal.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        variant: Variant = "auto",
        box: tuple[float, float] = (0.0, 1.0),
        points: int | None = None,
        terms: Literal["auto", "full", "separable"] = "auto",
        verify: int = 5,
        link: Link | Mapping[str, Link] = "none",
        weights: tuple[float, ...] | None = None,
    ) -> None:
        self._problem = problem
        self._need = _need(problem, terms, points)
        self._variant = _variant(problem, variant, self._need)
        self._links = _links(problem, link)
        self._rng = problem.rng()
        self._seed = int(self._rng.integers(2**31))
        if not verify >= 1:
            raise _refused(f"Expected 1 or more points of a front, but got {verify}.", "verify", "Write 5.")
        limits = _box(problem, box)
        plan = Plan(self._need.terms, self._need.points, verify, self._links, self._variant == "bayesian")
        self._pending: PendingProposals[int] = PendingProposals()
        if self._variant == "nested":
            _check_nested(limits, problem, points, terms)
            self._search: AmortizedFront | NestedFronts = NestedFronts(
                limits, plan, self._filling, self._rng, _weights(problem, weights)
            )
        else:
            self._search = AmortizedFront(limits, plan, self._filling, self._rng)
            if weights is not None:
                raise _refused("Only nested MAP has weights.", "weights", "Remove them, or write `variant: nested`.")

    @override
    def ask(self, n: int) -> list[Proposal]:
        return [self._propose() for _ in range(n)]

    @override
    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            self._check(trial)
            if trial.genome is None:
                continue
            number = self._pending.pop(trial.genome)
            fitness, stderr = trial.fitness, trial.stderr
            self._search.add(trial.genome, fitness, stderr, number=number, is_estimate=trial.is_estimate)

    @override
    def describe(self) -> str:
        if isinstance(self._search, NestedFronts):
            return f"MAP (nested): {self._search.describe(self._problem.gene_names)}"
        n, dim = self._need, self._problem.dim
        kind = "quadratics" if n.terms == "full" else "separable quadratics"
        reason = f" ({n.reason})" if n.reason else ""
        text = (
            f"MAP ({self._variant}): {kind} of {dim} genes with {n.unknowns} unknowns per objective; {n.points} scored "
            f"points in the box before the first front{reason}, then {self._search.plan.verify} at a time"
        )
        return text + _progress(self._search, self._problem.objective_names)

    def _propose(self) -> Proposal:
        number, genome = self._search.next()
        self._pending.add(genome, number)
        return Proposal(genome)

    def _filling(self, k: int, dim: int) -> NDArray[np.float64]:
        from searcher.gaussian_process.sobol import sobol_points

        return np.asarray(sobol_points(dim, 1, self._seed, skip=k)[0], dtype=np.float64)

    def _check(self, trial: Trial) -> None:
        """Refuse a link that an objective's values cannot have."""
        if trial.fitness is None:
            return
        for name, value, link in zip(self._problem.objective_names, trial.fitness, self._links, strict=True):
            if np.isfinite(value) and not is_in_range(np.array([value]), link):
                expected = "in [0, 1], maximised" if link == "sigmoid" else "of 0 or more, minimised"
                raise _refused(
                    f"Expected scores {expected} for the link {link}, but candidate {trial.candidate} has a fitness of "
                    f"{value:g} in {name}.",
                    "link",
                    f"Leave {name} out of `link`.",
                )


def _progress(search: AmortizedFront, names: Sequence[str]) -> str:
    """How well the surrogates fit and predict, if there are any yet."""
    if search.surrogates is None:
        return ""
    r2 = ", ".join(f"{name} {value:.2f}" for name, value in zip(names, search.surrogates.r2, strict=True))
    text = f"; leave-one-out R2 {r2}; {search.n_rounds} rounds"
    if search.n_compared:
        text += f", {search.n_beyond} of {search.n_compared} measurements beyond 2 standard errors of their prediction"
    if search.n_shrunk:
        sides = search.box.side / search.limits.side
        text += f"; box shrunk {search.n_shrunk} times, now {sides.min():.2f} to {sides.max():.2f} of its sides"
    return text


def _need(problem: Problem, terms: object, points: int | None) -> Need:
    if terms not in ("auto", "full", "separable"):
        raise _refused(f"Unknown terms {terms!r}.", "terms", "Use auto, full or separable.")
    wished: Terms | None = {"full": "full", "separable": "separable"}.get(str(terms))  # type: ignore[assignment]
    found = need(problem.dim, problem.budget if points is None else None, wished)
    budget = problem.budget
    if wished is not None and points is None and budget is not None and found.points > budget:
        raise _refused(
            f"Expected a budget for {found.unknowns} unknowns, but three quarters of {budget} evaluations are fewer.",
            "terms",
            f"Give at least {-(-4 * found.unknowns // 3)} evaluations, better {found.points} and some to spare; or use a "
            "space with fewer genes.",
        )
    if points is None:
        return found
    if points < found.unknowns or (budget is not None and points > budget):
        raise _refused(
            f"Expected from {found.unknowns} points, the unknowns of one quadratic, to the budget "
            f"({'unlimited' if budget is None else budget}), but got {points}.",
            "points",
            "Leave it out for a choice by budget, raise the budget, or write `terms: separable`.",
        )
    return Need(found.terms, found.unknowns, points)


def _variant(problem: Problem, variant: object, found: Need) -> Variant:
    if variant not in VARIANTS:
        raise _refused(f"Unknown variant {variant!r}.", "variant", f"Use one of: {', '.join(VARIANTS)}.")
    n, m = problem.dim, problem.n_objectives
    is_square = n == m >= 2
    nested = n_nested(n)
    can_nest = is_square and (n == 2 or problem.budget is None or nested <= problem.budget)
    if variant == "auto":
        return "nested" if can_nest and n > 2 and found.terms != "full" else "plain"
    if variant == "bayesian" and not 2 <= n <= MAX_GENES:
        raise _refused(
            f"Expected 2 to {MAX_GENES} genes for bins of directions, but there are {n}.",
            "variant",
            "Write `variant: plain`.",
        )
    if variant == "nested" and not is_square:
        raise _refused(
            f"Nested MAP merges two models at a time, each judged by its own task, so that it needs one gene and one "
            f"objective per model, in the same order; there are {n} genes and {m} objectives.",
            "variant",
            "Use `space: model_wise` with one objective per model, or write `variant: plain`.",
        )
    if variant == "nested" and not can_nest:
        raise _refused(
            f"Nested MAP of {n} models needs up to {nested} evaluations, but the budget is {problem.budget}.",
            "variant",
            f"Give at least {nested} evaluations.",
        )
    return "nested" if variant == "nested" else "bayesian" if variant == "bayesian" else "plain"


def _check_nested(limits: Box, problem: Problem, points: int | None, terms: str) -> None:
    if limits.low.any():
        raise _refused(
            f"Nested MAP leaves out all models but two, so that their genes are 0, but the box begins at {limits.low[0]:g}.",
            "box",
            "Let it begin at 0.",
        )
    if problem.dim > 2 and (points is not None or terms != "auto"):
        raise _refused(
            "Pairs of nested MAP have points and terms of their own.", "points", "Remove `points` and `terms`."
        )


def _box(problem: Problem, box: Sequence[float]) -> Box:
    low, high = float(box[0]), float(box[-1])
    if len(box) != 2 or not 0.0 <= low < high <= 1.0:
        raise _refused(
            f"Expected lowest and highest gene with 0 <= low < high <= 1, but got {list(box)}.",
            "box",
            "Write [0, 0.5].",
        )
    return Box.of(low, high, problem.dim)


def _links(problem: Problem, link: Link | Mapping[str, Link]) -> tuple[Link, ...]:
    names = problem.objective_names
    given = dict.fromkeys(names, link) if isinstance(link, str) else dict(link)
    for name, value in given.items():
        if name not in names or value not in LINKS:
            raise _refused(
                f"Expected a link ({', '.join(LINKS)}) for one of the objectives {', '.join(names)}, but got "
                f"{name}: {value}.",
                "link",
                "Write one link for all, or {OBJECTIVE: LINK}.",
            )
    return tuple(given.get(name, "none") for name in names)


def _weights(problem: Problem, weights: Sequence[float] | None) -> NDArray[np.float64]:
    found = np.ones(problem.n_objectives) if weights is None else np.asarray(weights, dtype=np.float64)
    if found.shape != (problem.n_objectives,) or not np.isfinite(found).all() or not (found > 0).all():
        raise _refused(
            f"Expected {problem.n_objectives} weights above 0, but got {list(weights or ())}.",
            "weights",
            "Give them in the order of the objectives.",
        )
    return found


def _refused(what: str, setting: str, fix: str) -> ConfigError:
    return ConfigError(what, where=f"strategy.{setting}", fix=fix)
