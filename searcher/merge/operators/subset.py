"""What is known about a tensor when some models are left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from searcher.merge.facts import TensorFacts


def taking_part(coefficients: tuple[float, ...]) -> tuple[int, ...]:
    """Indices of the models whose coefficient is not zero."""
    return tuple(k for k, c in enumerate(coefficients) if c != 0.0)


def among(facts: TensorFacts, used: tuple[int, ...]) -> TensorFacts:
    """The facts of some models, in this order; statistics over all models then are over these."""
    if used == tuple(range(len(facts.models))):
        return facts
    return replace(
        facts,
        models=tuple(facts.models[k] for k in used),
        is_delta=tuple(facts.is_delta[k] for k in used),
        read=lambda k: facts.read(used[k] if k >= 0 else k),
    )
