"""How many evaluations quadratic surrogates need, and what to fit if there are fewer."""

from __future__ import annotations

from dataclasses import dataclass

from searcher.quadratic_surrogate.quadratic import Terms, n_unknowns

OVERSAMPLING = 2  # evaluated points per unknown, as in the code of MAP
SHARE = 0.75  # of the budget that may be spent before the first front is predicted


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

    Twice as many points as unknowns; if that is more than three quarters of the budget, three quarters of it, as long
    as there are as many as unknowns; else quadratics without products of two genes by the same rule; else
    these too, although the budget ends before they can be fitted.

    Args:
        dim: Number of genes.
        budget: Evaluations, baselines included; None: no limit.
        terms: What must be fitted; None: to be chosen.
    """
    kinds: tuple[Terms, ...] = ("full", "separable") if terms is None else (terms,)
    for kind in kinds:
        unknowns = n_unknowns(dim, kind)
        wanted = OVERSAMPLING * unknowns
        room = wanted if budget is None else int(SHARE * budget)
        if room >= unknowns:
            few = f"instead of {wanted}, because the budget is {budget}" if room < wanted else ""
            cut = f"without products, because full ones have {n_unknowns(dim, 'full')} unknowns and the budget is {budget}"
            return Need(kind, unknowns, min(wanted, room), few if kind == kinds[0] else cut)
    return Need(kind, unknowns, wanted, f"more than the budget of {budget} can hold: points are only spread evenly")
