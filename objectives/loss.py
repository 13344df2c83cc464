"""Cross-entropy of a classifier on labelled examples."""

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


@OBJECTIVES.register("loss")
class Loss(Objective):
    """Mean cross-entropy of a torch classifier on labelled examples, in nats.

    The model's float32 logits are normalised in float64, so that finite logits always have a finite loss; a model
    with a non-finite logit is not scored at all.

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

    direction: Literal["maximize", "minimize"] = "minimize"
    unit = "nats"

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
        logits = self._data.logits(model, chosen, self._batch_size)
        return Score.from_examples(cross_entropy(logits, self._data.labels[chosen]))


def cross_entropy(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Negative log-probability of each label, nats, shape ``(n,)``."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    label_logits = np.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
    losses: NDArray[np.float64] = np.log(np.exp(shifted).sum(axis=1)) - label_logits
    return losses
