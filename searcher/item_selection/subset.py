"""Choosing items from the baselines' responses, and estimating a candidate's full score with an honest error.

How good the estimates are is measured on the baselines: each in turn is left out, items are chosen from the others'
responses, and its score is estimated as a candidate's would be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searcher.item_selection import estimators, samplers
from searcher.item_selection.estimators import Estimate, Estimator
from searcher.item_selection.samplers import Chosen, Sampler

Array = NDArray[np.float64]

_PRIOR_RESPONDENTS = 2.0  # baselines' worth of belief that neighbours' differences explain the errors


@dataclass(frozen=True)
class Method:
    """A way to choose items and to estimate from them.

    Args:
        sample: Chooses.
        model: Estimates with the help of a model; None estimates by the weighted mean of the answers alone.
        share: Of the weighted mean in the estimate; None weighs the two by their errors on the baselines, as
            tinyBenchmarks' gp-IRT and MERGE3's gmp-IRT do with a bias that they take from other models.
    """

    sample: Sampler
    model: Estimator | None = None
    share: float | None = None


METHODS: Mapping[str, Method] = {
    "anchors": Method(samplers.anchor_items, estimators.regression),
    "irt": Method(samplers.irt_items, estimators.mp_irt),
    "stratified": Method(samplers.stratified_items),
    # to compare with; not offered in configs
    "random": Method(samplers.random_items),
    "balanced": Method(samplers.balanced_items),
    "anchors, mean": Method(samplers.anchor_items),
    "medoids": Method(samplers.medoid_items),
    "IRT medoids": Method(samplers.irt_medoid_items),
    "p-IRT": Method(samplers.irt_medoid_items, estimators.p_irt, share=0.0),
    "gp-IRT": Method(samplers.irt_medoid_items, estimators.p_irt),
    "mp-IRT": Method(samplers.random_items, estimators.mp_irt, share=0.0),
    "gmp-IRT": Method(samplers.random_items, estimators.mp_irt, share=0.5),
}


@dataclass(frozen=True, eq=False)
class ItemSubset:
    """Chosen items and how the mean over all is estimated from them.

    Args:
        indices: The items, ascending, int64, shape ``(m,)``.
        weights: What they stand for, shape ``(m,)``; the sum is 1.
        n_items: Number of all items.
        model: A second estimate of the mean, or None.
        share: Of the weighted mean in the estimate, in [0, 1].
        neighbours: For each of the chosen the position of another one that the baselines answer most alike, shape
            ``(m,)``.
        error_ratio: Error on the baselines over the error that neighbours' differences explain; 1 if not known.
    """

    indices: NDArray[np.int64]
    weights: Array
    n_items: int
    neighbours: NDArray[np.int64]
    model: Estimate | None = None
    share: float = 1.0
    error_ratio: float = 1.0

    def estimate(self, answers: Array) -> tuple[float, float]:
        """The mean over all items and the standard error of estimating it, from answers of shape ``(m,)``.

        The error is that of leaving items out: 0 if there are none left out. It does not include that all items are
        themselves a sample.

        Raises:
            ValueError: If the shape differs or an answer is not finite.
        """
        found = np.asarray(answers, dtype=np.float64)
        if found.shape != self.indices.shape or not np.isfinite(found).all():
            raise ValueError(f"Expected finite answers of shape {self.indices.shape}, but got shape {found.shape}.")
        if found.size == self.n_items:
            return float(found.mean()), 0.0
        value = float(self.weights @ found)
        if self.model is not None and self.share < 1:
            value = self.share * value + (1 - self.share) * self.model(found)
        return value, self.error_ratio * _sampling_error(found, self.weights, self.neighbours, self.n_items)


def select_items(
    responses: Array, m: int, method: str = "anchors", seed: int = 0, endpoints: NDArray[np.int64] | None = None
) -> ItemSubset:
    """Choose m items that stand for all.

    Args:
        responses: Of R respondents (the baselines) to all items, finite, shape ``(R, n_items)``; R may be 0.
        m: Number of items; all of them if there are not more.
        method: A key of :data:`METHODS`. Those with item-response theory need responses in [0, 1].
        seed: Decides ties and random choices.
        endpoints: Respondents that are the models merged, shape ``(K,)``; all if None.

    Raises:
        ValueError: If a response is not finite, m is below 1, or the responses do not suit the method.
        KeyError: If there is no such method.
    """
    known = np.asarray(responses, dtype=np.float64)
    if known.ndim != 2 or known.shape[1] == 0 or m < 1 or not np.isfinite(known).all():
        raise ValueError(f"Expected finite responses of shape (R, n_items) and m >= 1, but got {known.shape}, {m}.")
    n = known.shape[1]
    if m >= n:
        return ItemSubset(np.arange(n), np.full(n, 1 / n), n, np.arange(n))
    chosen_method = METHODS[method] if len(known) else METHODS["random"]
    ends = np.arange(len(known)) if endpoints is None else np.asarray(endpoints, dtype=np.int64)
    errors = _left_out_errors(chosen_method, known, m, seed, ends)
    rng = np.random.default_rng(seed)
    indices, weights = chosen = chosen_method.sample(known, m, rng)
    model = None if chosen_method.model is None else chosen_method.model(known, chosen, ends)
    share = errors.share(chosen_method)
    neighbours = samplers.nearest_neighbours(known, indices, rng)
    return ItemSubset(indices, weights, n, neighbours, model, share, errors.ratio(share))


def estimate(subset: ItemSubset, responses_of_candidate: Array) -> tuple[float, float]:
    """See :meth:`ItemSubset.estimate`."""
    return subset.estimate(responses_of_candidate)


@dataclass(frozen=True, eq=False)
class _Errors:
    """Of estimating each baseline from the others, all of shape ``(n_left_out,)``.

    Args:
        mean: Of the weighted mean.
        model: Of the model's estimate; equal to ``mean`` if there is no model.
        expected: Standard errors that neighbours' differences explain.
    """

    mean: Array
    model: Array
    expected: Array

    def share(self, method: Method) -> float:
        """Weight of the weighted mean against the model, each in inverse proportion to its squared error."""
        if method.model is None or self.mean.size == 0:
            return 1.0
        if method.share is not None:
            return method.share
        by_mean, by_model = float(np.mean(self.mean**2)), float(np.mean(self.model**2))
        return by_model / (by_mean + by_model) if by_mean + by_model > 0 else 0.5

    def ratio(self, share: float) -> float:
        """Root mean square of error over expected error, drawn towards 1 by a prior worth two baselines; 1 at least.

        The baselines are more alike than the candidates of a search, so that small errors on them prove little.
        """
        errors = share * self.mean + (1 - share) * self.model
        ratios = np.divide(errors, self.expected, out=np.zeros_like(errors), where=self.expected > 0)
        total = float((ratios**2).sum()) + _PRIOR_RESPONDENTS
        return max(float(np.sqrt(total / (ratios.size + _PRIOR_RESPONDENTS))), 1.0)


def _left_out_errors(method: Method, responses: Array, m: int, seed: int, endpoints: NDArray[np.int64]) -> _Errors:
    found = []
    for left_out in range(len(responses) if len(responses) > 1 else 0):
        others = np.delete(responses, left_out, axis=0)
        ends = endpoints[endpoints != left_out]
        ends = np.where(ends > left_out, ends - 1, ends) if ends.size else np.arange(len(others))
        rng = np.random.default_rng([seed, left_out])
        chosen = method.sample(others, m, rng)
        estimate = None if method.model is None else method.model(others, chosen, ends)
        neighbours = samplers.nearest_neighbours(others, chosen[0], rng)
        found.append(_errors_of(estimate, chosen, neighbours, responses[left_out]))
    columns = np.array(found).reshape(-1, 3).T
    return _Errors(columns[0], columns[1], columns[2])


def _errors_of(
    model: Estimate | None, chosen: Chosen, neighbours: NDArray[np.int64], truth: Array
) -> tuple[float, float, float]:
    answers, mean = truth[chosen[0]], float(truth.mean())
    by_mean = float(chosen[1] @ answers) - mean
    by_model = by_mean if model is None else model(answers) - mean
    return by_mean, by_model, _sampling_error(answers, chosen[1], neighbours, truth.size)


def _sampling_error(answers: Array, weights: Array, neighbours: NDArray[np.int64], n_items: int) -> float:
    """Standard error of the weighted mean of items spread evenly over what the baselines can tell apart.

    Neighbours of such a sample stand for the same items, so that half their mean squared difference is the variance
    within (the local variance of spatially balanced sampling, Grafstrom and Schelin 2014). It grows where a candidate
    behaves unlike all baselines, up to that of items drawn at random. For right and wrong answers the number of pairs
    that differ has a Beta prior, so that no difference seen does not claim certainty. 0 if no item is left out.
    """
    differences = (answers - answers[neighbours]) ** 2
    is_binary = bool(((answers == 0) | (answers == 1)).all())
    if answers.size == 1 and n_items > 1 and not is_binary:
        return float("nan")
    variance = 0.5 * (differences.sum() + 1) / (answers.size + 2) if is_binary else 0.5 * differences.mean()
    return float(np.sqrt(variance * max(float(weights @ weights) - 1 / n_items, 0.0)))
