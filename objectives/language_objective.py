"""What objectives on texts share: examples of each split, tokens made once per run, a runner."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Score, Split
from searcher.language.runner import make_runner
from searcher.language.text_encoder import TextEncoder
from searcher.merge.live_model import LiveModel
from searcher.objectives.base import Objective
from searcher.objectives.split_data import SplitData

Example = TypeVar("Example")
Encoded = TypeVar("Encoded")


class LanguageObjective(Objective, Generic[Example, Encoded]):
    """Scores a language model on texts.

    The tokenizer comes with the live model, so the texts become tokens at the first evaluation; from the second on
    no text is looked at again.

    Args:
        data: One file for all splits, or a file per split such as {search: a.jsonl, held_out: b.jsonl}.
        split: Fractions per split, such as {search: 0.6, select: 0.1, held_out: 0.3}, or index files per split;
            search 0.7 and held_out 0.3 if absent. Only where data is one path.
        limit: The most examples of every split, or per split, such as {search: 60}; the first ones are used.
        runner: What runs the model: huggingface or vllm.
        max_tokens: Tokens that go through the model at once; chosen by the device if absent.

    Raises:
        ConfigError: If the data or a setting cannot be used.
    """

    takes_indices = True

    def __init__(self, name: str, data: SplitData[Example], *, runner: str, max_tokens: int | None) -> None:
        self.name = name
        self._data = data
        self._runner = make_runner(runner, max_tokens=max_tokens)
        self._tokenizer: Any = None
        self._encoded: Encoded | None = None

    @property
    @override
    def n_examples(self) -> int:
        return len(self._data.examples)

    @property
    @override
    def splits(self) -> Mapping[Split, slice]:
        return self._data.slices

    @property
    @override
    def files(self) -> tuple[Path, ...]:
        return self._data.files

    @override
    def evaluate(self, model: LiveModel, examples: slice | None, seed: int) -> Score:
        if self._encoded is None or model.tokenizer is not self._tokenizer:
            self._encoded = self.encode(TextEncoder.of(model), model)
            self._tokenizer = model.tokenizer
        chosen = np.arange(self.n_examples)[slice(None) if examples is None else examples]
        return self.score(model, self._encoded, chosen)

    @abstractmethod
    def encode(self, encoder: TextEncoder, model: LiveModel) -> Encoded:
        """All examples as the runner takes them; depends on the tokenizer and the architecture, not on weights."""

    @abstractmethod
    def score(self, model: LiveModel, encoded: Encoded, examples: NDArray[np.int64]) -> Score:
        """Score of these examples, whose numbers count in the fixed order, shape ``(n,)``."""
