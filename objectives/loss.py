"""Cross-entropy of a classifier on labelled examples."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Score
from searcher.objectives.base import OBJECTIVES
from searcher.objectives.classifier_objective import ClassifierObjective


@OBJECTIVES.register("loss")
class Loss(ClassifierObjective):
    """Mean cross-entropy of a torch classifier on labelled examples, in nats.

    The model's float32 logits are normalised in float64, so that finite logits always have a finite loss.
    """

    direction: Literal["maximize", "minimize"] = "minimize"
    unit = "nats"

    @override
    def score(self, logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
        return Score.from_examples(cross_entropy(logits, labels))


def cross_entropy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Negative log-probability of each label, nats, shape ``(n,)``."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    label_logits = np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
    losses: NDArray[np.float64] = np.log(np.exp(shifted).sum(axis=1)) - label_logits
    return losses
