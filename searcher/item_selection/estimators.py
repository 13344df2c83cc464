"""The mean over all items from the answers to a few, with or without a model of the other items."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.item_selection.irt import IrtModel, fit_irt
from searcher.item_selection.samplers import Chosen

Array = NDArray[np.float64]

Estimate: TypeAlias = Callable[[Array], float]
"""From answers to the chosen items, shape ``(m,)``, to the mean over all items."""

Estimator: TypeAlias = Callable[[Array, Chosen, NDArray[np.int64]], Estimate]
"""From responses ``(R, n_items)``, the chosen items and the respondents that are merged, shape ``(K,)``."""

_RIDGE = 1.0  # prior precision of regression weights, in units of answers


def weighted_mean(responses: Array, chosen: Chosen, endpoints: NDArray[np.int64]) -> Estimate:
    """Sum of weight times answer: unbiased for a random choice in each stratum."""
    return lambda answers: float(chosen[1] @ answers)


def p_irt(responses: Array, chosen: Chosen, endpoints: NDArray[np.int64]) -> Estimate:
    """Answers to the chosen items, chances of right answers to the others (tinyBenchmarks, p-IRT)."""
    model = fit_irt(responses)
    return lambda answers: _completed(model, chosen[0], answers, model.ability(chosen[0], answers))


def mp_irt(responses: Array, chosen: Chosen, endpoints: NDArray[np.int64]) -> Estimate:
    """As p-IRT, with the ability of a merge between those of the models merged (MERGE3, mp-IRT)."""
    model = fit_irt(responses, n_dimensions=min(2, len(responses)))
    items = chosen[0]
    return lambda answers: _completed(model, items, answers, model.interpolated_ability(items, answers, endpoints))


def regression(responses: Array, chosen: Chosen, endpoints: NDArray[np.int64]) -> Estimate:
    """The baselines' answers, combined as they best explain the candidate's, as a control variate.

    With ``f_j = c + sum_k beta_k y_kj`` fitted on the chosen items the estimate is ``mean_j f_j`` over all items plus
    the weighted mean of the residuals on the chosen ones: however bad the fit, it errs no more than its residuals.
    The weights beta have a normal prior around 1/R, so that a few answers are not fitted exactly.
    """
    items, weights = chosen
    known = responses[:, items].T  # (m, R)
    centre = weights @ known
    design = known - centre
    precision = _RIDGE * np.eye(len(responses))
    prior = np.full(len(responses), 1 / max(len(responses), 1))
    gram = design.T @ design + precision
    gap = responses.mean(axis=1) - centre  # what the chosen items miss of each respondent's mean

    def estimate(answers: Array) -> float:
        mean = float(weights @ answers)
        beta = np.linalg.solve(gram, design.T @ (answers - mean) + precision @ prior) if len(responses) else prior
        return mean + float(beta @ gap)

    return estimate


def _completed(model: IrtModel, items: NDArray[np.int64], answers: Array, ability: Array) -> float:
    """Mean over all items: the answers where there are any, elsewhere what the model expects."""
    expected = model.probabilities(ability)
    expected[items] = answers
    return float(expected.mean())
