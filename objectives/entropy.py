"""How sure a language model is of its next token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.merge.live_model import LiveModel
from searcher.objectives.base import OBJECTIVES
from searcher.objectives.split_data import DataSettings, LimitSettings
from searcher.objectives.splits import SplitSettings
from searcher.objectives.text_data import Cut
from searcher.objectives.text_objective import EncodedTexts, TextObjective

if TYPE_CHECKING:
    import torch

ROWS = 256  # distributions looked at together, to bound the memory of intermediate results


@OBJECTIVES.register("entropy")
class Entropy(TextObjective):
    """Mean entropy of the distribution of the next token, over all tokens of texts, in nats.

    It needs no answers, only texts like those of the task (test-time entropy minimisation, Yang et al. 2024,
    AdaMerging). Alone it is a poor guide: a model that always says the same is sure of itself. Use it beside a score.

    Args:
        data: Text or JSONL file, a folder of them, or one per split such as {search: a.jsonl, held_out: b.jsonl}.
        direction: minimize (sure models win) or maximize.
    """

    unit = "nats/token"

    def __init__(
        self,
        name: str,
        *,
        data: DataSettings,
        direction: Literal["maximize", "minimize"] = "minimize",
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
        self.direction = direction
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
        sums = np.zeros(len(encoded.prepared))

        def take(window: int, logits: torch.Tensor) -> None:
            sums[window] = entropy_sum(logits)

        self._runner.visit(model, encoded.prepared, take, windows)
        return sums[windows]


def entropy_sum(logits: torch.Tensor) -> float:
    """Sum over the tokens of the entropy of each distribution, nats; logits of shape ``(n_tokens, vocabulary)``."""
    import torch

    total = 0.0
    for start in range(0, len(logits), ROWS):
        probabilities = logits[start : start + ROWS].softmax(dim=-1)
        total += float(torch.special.entr(probabilities).sum(dtype=torch.float64))
    return total
