"""Accuracy of a classifier on labelled examples."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Score, beta_stderr
from searcher.objectives.base import OBJECTIVES
from searcher.objectives.classifier_objective import ClassifierObjective


@OBJECTIVES.register("accuracy")
class Accuracy(ClassifierObjective):
    """Fraction of labelled examples that a torch classifier gets right.

    An example counts 1 if the logit of its label is above all others, else 0. A tie for the highest logit is no
    decision and counts 0: where argmax picks the first, a model whose logits are all equal would win a task whose
    labels are all 0.

    The standard error is that of the Beta posterior under a uniform prior, for k of n right the square root of
    ``(k + 1) (n - k + 1) / ((n + 2)^2 (n + 3))``: never 0, so that 120 right of 120 does not claim certainty.
    """

    direction: Literal["maximize", "minimize"] = "maximize"
    unit = "fraction"
    score_range = (0.0, 1.0)

    @override
    def score(self, logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
        return self.of_examples(correct(logits, labels))

    @override
    def of_examples(self, example_scores: NDArray[np.float64]) -> Score:
        n_right = int(example_scores.sum())
        return Score(float(np.mean(example_scores)), beta_stderr(n_right, example_scores.size), example_scores)


def correct(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """1.0 where the label's logit is above all others, else 0.0, shape ``(n,)``."""
    label_logits = np.take_along_axis(logits, labels[:, None], axis=1)
    n_as_high = np.count_nonzero(logits >= label_logits, axis=1)  # the label's own logit is one of them
    right: NDArray[np.float64] = (n_as_high == 1).astype(np.float64)
    return right
