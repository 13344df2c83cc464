"""What objectives on labelled examples share: reading the data, splits, logits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Score, Split
from searcher.merge.live_model import LiveModel
from searcher.objectives.base import Objective
from searcher.objectives.classifier_data import read_classifier_data
from searcher.objectives.splits import SplitSettings


class ClassifierObjective(Objective):
    """Scores the logits that a torch classifier gives to the examples of an ``.npz`` file.

    A model with a non-finite logit is not scored at all.

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

    takes_indices = True

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
        return self.score(self._data.logits(model, chosen, self._batch_size), self._data.labels[chosen])

    @abstractmethod
    def score(self, logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Score:
        """Score of finite logits, shape ``(n, n_classes)``, against labels, shape ``(n,)``."""
