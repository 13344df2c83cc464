"""How well a language model predicts texts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Score
from searcher.merge.live_model import LiveModel
from searcher.objectives.base import OBJECTIVES
from searcher.objectives.split_data import DataSettings, LimitSettings
from searcher.objectives.splits import SplitSettings
from searcher.objectives.text_data import Cut
from searcher.objectives.text_objective import EncodedTexts, TextObjective

Metric = Literal["perplexity", "bits_per_byte", "loss"]
_UNITS: dict[Metric, str] = {"perplexity": "perplexity", "bits_per_byte": "bits/byte", "loss": "nats/token"}


@OBJECTIVES.register("perplexity")
class Perplexity(TextObjective):
    """Perplexity per token, bits per byte or loss per token of texts.

    The scores of examples are losses (nats, for bits_per_byte bits), also where the value is a perplexity: the value
    is then the exponential of their mean over a split. Perplexities and losses per token cannot be compared between
    tokenizers, bits per byte of UTF-8 can.

    Args:
        data: Text or JSONL file, a folder of them, or one per split such as {search: a.jsonl, held_out: b.jsonl}.
        metric: perplexity, bits_per_byte, or loss, which is the logarithm of the perplexity.
    """

    direction: Literal["maximize", "minimize"] = "minimize"

    def __init__(
        self,
        name: str,
        *,
        data: DataSettings,
        metric: Metric = "perplexity",
        text_key: str = "text",
        cut: Cut = "paragraph",
        window: int | None = None,
        stride: int | None = None,
        split: SplitSettings | None = None,
        limit: LimitSettings | None = None,
        runner: str = "huggingface",
        max_tokens: int | None = None,
        root: Path = Path(),
    ) -> None:
        self.unit = _UNITS[metric]
        self._metric = metric
        super().__init__(
            name,
            data=data,
            text_key=text_key,
            cut=cut,
            window=window,
            stride=stride,
            split=split,
            limit=limit,
            runner=runner,
            max_tokens=max_tokens,
            root=root,
        )

    @override
    def window_sums(self, model: LiveModel, encoded: EncodedTexts, windows: NDArray[np.int64]) -> NDArray[np.float64]:
        losses = -self._runner.score(model, encoded.prepared, windows).log_probability
        return losses / math.log(2) if self._metric == "bits_per_byte" else losses

    @override
    def units(self, encoded: EncodedTexts) -> NDArray[np.int64]:
        if self._metric != "bits_per_byte":
            return encoded.n_tokens
        return np.array([len(document.text.encode()) for document in self._data.examples], dtype=np.int64)

    @override
    def of_examples(self, example_scores: NDArray[np.float64]) -> Score:
        return self.checked(super().of_examples(example_scores))

    @override
    def checked(self, score: Score) -> Score:
        if self._metric != "perplexity":
            return super().checked(score)
        value = math.exp(score.value) if score.value < 709 else math.inf  # the largest float is exp(709.8)
        return super().checked(Score(value, value * score.stderr, score.example_scores))  # delta method
