"""How many evaluations quadratic surrogates need, and what to fit if there are fewer."""

from __future__ import annotations

from dataclasses import dataclass

from searcher.quadratic_surrogate.quadratic import Terms, n_unknowns

OVERSAMPLING = 2  # evaluated points per unknown, as in the code of MAP
FIRST = 1 / 3  # of the budget that is spent before the first front is predicted, if that determines the quadratics
MOST = 0.75  # that may be spent on it


@dataclass(frozen=True)
class Need:
    """What surrogates need before they can predict.

    Args:
        terms: What is fitted.
        unknowns: Coefficients of each objective.
        points: Scored points in the box before the first prediction.
        reason: Why it is not twice the unknowns of full quadratics; empty if it is.
    """

    terms: Terms
    unknowns: int
    points: int
    reason: str = ""


def need(dim: int, budget: int | None, terms: Terms | None = None) -> Need:
    """What to fit with a budget, by rule.

    Twice as many points as unknowns, but no more than a third of the budget: what is measured of predicted fronts tells
    more than further even points (docs/map.md). If a third holds fewer than the unknowns of full quadratics,
    quadratics without products of two genes, with as many points as unknowns at least; these even if the budget
    ends before they can be fitted.

    Args:
        dim: Number of genes.
        budget: Evaluations, baselines included; None: no limit.
        terms: What must be fitted; None: to be chosen.
    """
    full = n_unknowns(dim, "full")
    first = OVERSAMPLING * full if budget is None else int(FIRST * budget)
    kind = terms or ("full" if full <= first else "separable")
    unknowns = n_unknowns(dim, kind)
    wanted = OVERSAMPLING * unknowns
    if budget is not None and unknowns > MOST * budget:
        return Need(kind, unknowns, wanted, f"more than the budget of {budget} can hold: points are only spread evenly")
    points = wanted if budget is None else min(wanted, max(unknowns, int(FIRST * budget)))
    reason = f"instead of {wanted}, because the budget is {budget}" if points < wanted else ""
    if kind == "separable" and terms is None:
        reason = f"without products, because full ones have {full} unknowns and the budget is {budget}"
    return Need(kind, unknowns, points, reason)
