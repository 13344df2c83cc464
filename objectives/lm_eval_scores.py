"""From what an lm-eval task says of each document to a score: its own aggregation, and an honest standard error.

lm-eval bootstraps the standard errors of corpus-level metrics. Here they come from the sample, by the delta method or
by leaving groups out: no random numbers, no resampling per candidate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Score
from searcher.errors import CandidateError

N_GROUPS = 30  # of documents left out in turn; the standard error is then itself known to about 13 %
Aggregation = Callable[[Sequence[Any]], Any]

UNITS = {
    "bits_per_byte": "bits/byte",
    "bleu": "points",
    "brier_score": "squared error",
    "byte_perplexity": "perplexity per byte",
    "chrf": "points",
    "chrf++": "points",
    "perplexity": "perplexity",
    "ter": "points",
    "word_perplexity": "perplexity per word",
}
_FRACTIONS = ("acc", "exact_match", "f1", "em", "pass@", "likelihood")


def unit_of(metric: str) -> str:
    """Unit of a metric by its name; empty if it is not a known one."""
    return UNITS.get(metric, "fraction" if metric.startswith(_FRACTIONS) else "")


@dataclass(frozen=True, eq=False)
class DocumentScores:
    """Makes scores from the values of a metric for documents.

    ============================== ============================================== ==============================
    aggregation                    score of one document                          standard error
    ============================== ============================================== ==============================
    mean, nanmean                  its value                                      of the mean of the sample
    perplexity                     minus its log-probability, nats                delta method
    weighted_perplexity            its share of the log of the perplexity, nats   delta method for a ratio
    bits_per_byte                  its share, bits                                of a ratio
    brier_score                    its squared error                              of the mean of the sample
    other, of pairs of labels      1 if they agree, else 0                        jackknife over groups
    other, of pairs of texts       the metric of this document alone              jackknife over groups
    other, of numbers              the number                                     jackknife over groups
    ============================== ============================================== ==============================

    A share is such that the mean over all documents of the objective is the (logarithm of the) value: a document's
    log-probability over the mean number of words or bytes of a document. It does not depend on which other documents
    are scored. Documents without a value are nan and left out, as lm-eval does.

    Args:
        aggregation: The task's aggregation of the metric.
        mean_weight: Mean number of words or bytes per document, for weighted aggregations.
    """

    aggregation: Aggregation
    mean_weight: float = 1.0

    def score(self, values: Sequence[object]) -> Score:
        """The score of documents with these values; None for a document without one.

        Raises:
            CandidateError: ``NonFiniteScore`` if the value overflows or is NaN.
        """
        present = [v for v in values if v is not None]
        if not present:
            return Score(math.nan, math.nan, np.full(len(values), math.nan))
        name = aggregation_name(self.aggregation)
        try:
            if name in ("mean", "nanmean"):
                return self._mean(values, may_be_nan=name == "nanmean")
            if name in ("perplexity", "weighted_perplexity", "bits_per_byte"):
                return self._likelihood(name, values, present)
            return self._corpus(values, present)
        except OverflowError:
            raise CandidateError("NonFiniteScore", f"The {name} is too large for a number.") from None

    def _mean(self, values: Sequence[Any], *, may_be_nan: bool) -> Score:
        scores = np.array([math.nan if v is None else float(v) for v in values])
        if not may_be_nan and np.isnan(scores).sum() > sum(v is None for v in values):
            raise CandidateError("NonFiniteScore", "The metric of a document is NaN.")
        return Score.from_examples(scores)

    def _likelihood(self, name: str, values: Sequence[Any], present: Sequence[Any]) -> Score:
        pairs = np.array([(v, 1.0) if name == "perplexity" else v for v in present], dtype=np.float64)
        losses, weights = -pairs[:, 0], pairs[:, 1]  # nats; words, bytes or documents
        per_unit = losses.sum() / weights.sum()
        value, slope = (
            (per_unit / math.log(2), 1 / math.log(2)) if name == "bits_per_byte" else (math.exp(per_unit),) * 2
        )
        scale = self.mean_weight * (math.log(2) if name == "bits_per_byte" else 1.0)
        residual = (losses - per_unit * weights) / weights.mean()
        shares = _spread(losses / scale, values)
        return Score(float(value), float(slope * _stderr_of_mean(residual)), shares)

    def _corpus(self, values: Sequence[Any], present: Sequence[Any]) -> Score:
        value = float(self.aggregation(present))
        scores = _spread(np.array([self._alone(v) for v in present]), values)
        if aggregation_name(self.aggregation) == "brier_score":  # a mean that comes as a corpus-level metric
            return Score(value, Score.from_examples(scores).stderr, scores)
        return Score(value, self._jackknife(present), scores)

    def _alone(self, value: Any) -> float:  # noqa: ANN401 - whatever the task returned
        """The score of one document; nan if the metric of one document means nothing."""
        if isinstance(value, int | float | np.number):
            return float(value)
        if isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int | np.integer) for v in value):
            return float(value[0] == value[1])
        try:
            return float(self.aggregation([value]))
        except Exception:  # noqa: BLE001 - any aggregation may refuse a single document
            return math.nan

    def _jackknife(self, present: Sequence[Any]) -> float:
        """Standard error from the values without each of several groups of documents."""
        n_groups = min(N_GROUPS, len(present))
        if n_groups < 2:
            return math.nan
        try:
            kept = ([v for i, v in enumerate(present) if i % n_groups != g] for g in range(n_groups))
            without = np.array([float(self.aggregation(part)) for part in kept])
        except Exception:  # noqa: BLE001 - the aggregation may refuse fewer documents
            return math.nan
        spread = float(np.sqrt((n_groups - 1) * np.mean((without - without.mean()) ** 2)))
        return spread if math.isfinite(spread) and spread > 0 else math.nan


def aggregation_name(aggregation: Aggregation) -> str:
    """lm-eval's name of an aggregation; empty for a task's own."""
    return aggregation.__name__ if getattr(aggregation, "__module__", "") == "lm_eval.api.metrics" else ""


def _stderr_of_mean(values: NDArray[np.float64]) -> float:
    return float(np.std(values, ddof=1) / math.sqrt(values.size)) if values.size > 1 else math.nan


def _spread(scores: NDArray[np.float64], values: Sequence[object]) -> NDArray[np.float64]:
    """One score per document, nan for those without a value."""
    spread = np.full(len(values), math.nan)
    spread[[v is not None for v in values]] = scores
    return spread
