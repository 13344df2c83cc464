"""Accuracy of a classifier on labelled examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Score, Split
from searcher.merge.live_model import LiveModel
from searcher.objectives.base import OBJECTIVES, Objective
from searcher.objectives.classifier_data import read_classifier_data
from searcher.objectives.splits import SplitSettings


@OBJECTIVES.register("accuracy")
class Accuracy(Objective):
    """Fraction of labelled examples that a torch classifier gets right.

    An example counts 1 if the logit of its label is above all others, else 0. A tie for the highest logit is no
    decision and counts 0: where argmax picks the first, a model whose logits are all equal would win a task whose
    labels are all 0. A model with a non-finite logit is not scored at all.

    The standard error is that of the Beta posterior under a uniform prior, for k of n right the square root of
    ``(k + 1) (n - k + 1) / ((n + 2)^2 (n + 3))``: never 0, so that 120 right of 120 does not claim certainty.

    Args:
        data: ``.npz`` file with the examples.
        inputs_key: Its array of inputs, shape (n, ...), passed to the model in batches.
        labels_key: Its array of classes, integers from 0, shape (n,).
        split: Fractions per split, such as {search: 0.6, select: 0.1, held_out: 0.3}, or index files per split;
            search 0.7 and held_out 0.3 if absent.
        batch_size: Examples per forward pass.

    Raises:
        ConfigError: If the data or the split cannot be used.
    """

    direction: Literal["maximize", "minimize"] = "maximize"
    unit = "fraction"

    def __init__(
        self,
        name: str,
        *,
        data: Path,
        inputs_key: str = "inputs",
        labels_key: str = "labels",
        split: SplitSettings | None = None,
        batch_size: int = 1024,
        root: Path = Path(),
    ) -> None:
        self.name = name
        self._batch_size = batch_size
        self._data = read_classifier_data(
            data,
            objective=name,
            inputs_key=inputs_key,
            labels_key=labels_key,
            split=split,
            batch_size=batch_size,
            root=root,
        )

    @property
    @override
    def n_examples(self) -> int:
        return self._data.n_examples

    @property
    @override
    def splits(self) -> Mapping[Split, slice]:
        return self._data.splits

    @property
    @override
    def files(self) -> tuple[Path, ...]:
        return self._data.files

    @override
    def evaluate(self, model: LiveModel, examples: slice | None, seed: int) -> Score:
        chosen = slice(None) if examples is None else examples
        right = correct(self._data.logits(model, chosen, self._batch_size), self._data.labels[chosen])
        return Score(float(np.mean(right)), beta_stderr(int(right.sum()), right.size), right)


def correct(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """1.0 where the label's logit is above all others, else 0.0, shape ``(n,)``."""
    label_logits = np.take_along_axis(logits, labels[:, None], axis=1)
    n_as_high = np.count_nonzero(logits >= label_logits, axis=1)  # the label's own logit is one of them
    right: NDArray[np.float64] = (n_as_high == 1).astype(np.float64)
    return right


def beta_stderr(k: int, n: int) -> float:
    """Standard deviation of the Beta posterior of a success rate after k of n, under a uniform prior."""
    return float(np.sqrt((k + 1) * (n - k + 1) / ((n + 2) ** 2 * (n + 3))))
