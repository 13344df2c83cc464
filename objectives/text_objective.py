"""What objectives on running text share: documents in windows, a mean per token."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Score
from searcher.errors import CandidateError, ConfigError
from searcher.language.requests import Continuation
from searcher.language.runner import Prepared
from searcher.language.text_encoder import TextEncoder
from searcher.merge.live_model import LiveModel
from searcher.objectives.language_objective import LanguageObjective
from searcher.objectives.rolling_windows import context_length, rolling_windows
from searcher.objectives.split_data import DataSettings, LimitSettings, read_split_data
from searcher.objectives.splits import SplitSettings
from searcher.objectives.text_data import Cut, Document, read_documents


@dataclass(frozen=True, eq=False)
class EncodedTexts:
    """Documents as the runner takes them.

    Args:
        prepared: Windows of all documents, in order.
        starts: Number of each document's first window and, last, of all windows, shape ``(n_documents + 1,)``.
        n_tokens: Tokens of each document, shape ``(n_documents,)``.
    """

    prepared: Prepared
    starts: NDArray[np.int64]
    n_tokens: NDArray[np.int64]

    def windows(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of all windows of these documents, in order."""
        return np.concatenate([np.arange(self.starts[d], self.starts[d + 1]) for d in documents])


class TextObjective(LanguageObjective[Document, EncodedTexts]):
    """Scores every token of texts once and takes the mean.

    An example is a document: a line of a JSONL file, or a paragraph (between blank lines), a line or the whole of
    any other file. A document longer than the window is scored in several, see ``stride``. The value is the sum over
    all documents divided by their number of tokens (or bytes), so that long documents count more. The score of an
    example is its sum divided by the mean number of tokens of its split: their mean over a split is the value. The
    standard error is that of a ratio by the delta method, documents taken as independent.

    Args:
        text_key: Field of a JSONL line that holds the text.
        cut: What is a document of a text file: file, paragraph or line.
        window: Most tokens that are seen together; the model's context length if absent or above it.
        stride: Tokens scored by each window but the first, which see window - stride + 1 tokens before them; window
            if absent: fast, and as lm-eval does.
    """

    def __init__(
        self,
        name: str,
        *,
        data: DataSettings,
        text_key: str,
        cut: Cut,
        window: int | None,
        stride: int | None,
        split: SplitSettings | None,
        limit: LimitSettings | None,
        runner: str,
        max_tokens: int | None,
        root: Path,
    ) -> None:
        where = f"objective {name!r}"
        if (window is not None and window < 1) or (stride is not None and not 1 <= stride <= (window or stride)):
            raise ConfigError(
                f"Expected a stride from 1 to the window, at least 1, but got stride {stride}, window {window}.",
                where=where,
                fix="Lower the stride or raise the window.",
            )
        self._window, self._stride = window, stride

        def read(path: Path) -> list[Document]:
            return read_documents(path, where, text_key=text_key, cut=cut)

        documents = read_split_data(data, read, split=split, limit=limit, root=root, where=where)
        super().__init__(name, documents, runner=runner, max_tokens=max_tokens)

    @override
    def encode(self, encoder: TextEncoder, model: LiveModel) -> EncodedTexts:
        longest = context_length(model.module)
        window = longest if self._window is None else min(self._window, longest)
        stride = window if self._stride is None else min(self._stride, window)
        texts = [encoder.encode(document.text) for document in self._data.examples]
        windows: list[Continuation] = []
        starts = [0]
        for document, tokens in zip(self._data.examples, texts, strict=True):
            if not tokens:
                place = f"objective {self.name!r}, {document.place}"
                raise ConfigError("The tokenizer makes no token of the text.", where=place, fix="Remove the text.")
            windows += rolling_windows(tokens, encoder.prefix_token, window, stride)
            starts.append(len(windows))
        n_tokens = np.array([len(tokens) for tokens in texts], dtype=np.int64)
        return EncodedTexts(self._runner.prepare(windows), np.array(starts, dtype=np.int64), n_tokens)

    @override
    def score(self, model: LiveModel, encoded: EncodedTexts, examples: NDArray[np.int64]) -> Score:
        windows = encoded.windows(examples)
        sums = np.zeros(len(encoded.prepared))
        sums[windows] = self.window_sums(model, encoded, windows)
        totals = np.add.reduceat(sums, encoded.starts[:-1])[examples]
        units = self.units(encoded).astype(np.float64)
        score = ratio_score(totals, units[examples], totals / self._mean_units(units)[examples])
        return self.checked(score)

    @abstractmethod
    def window_sums(self, model: LiveModel, encoded: EncodedTexts, windows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Sum over the tokens of each of these windows, shape ``(n_windows,)``, in their order."""

    def units(self, encoded: EncodedTexts) -> NDArray[np.int64]:
        """What the sums are divided by: tokens of each document, shape ``(n_documents,)``."""
        return encoded.n_tokens

    def checked(self, score: Score) -> Score:
        """The score, if it is a number.

        Raises:
            CandidateError: ``NonFiniteScore``: finite logits may still be too far apart.
        """
        if not math.isfinite(score.value):
            raise CandidateError("NonFiniteScore", f"Objective {self.name!r}: the value is {score.value}.")
        return score

    def _mean_units(self, units: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean units of the split that each document is in, shape ``(n_documents,)``."""
        means = np.empty_like(units)
        for part in self.splits.values():
            means[part] = units[part].mean()
        return means


def ratio_score(totals: NDArray[np.float64], units: NDArray[np.float64], example_scores: NDArray[np.float64]) -> Score:
    """A ratio of sums, ``sum(totals) / sum(units)``, with its standard error by the delta method.

    With residuals ``e = totals - ratio * units`` it is ``sqrt(n / (n - 1) * sum(e^2)) / sum(units)``; nan for a single
    example and for examples that all agree, which prove nothing.

    Reference: Cochran 1977, Sampling Techniques, eq. 6.13 without the finite-population correction.

    Args:
        totals: Shape ``(n,)``.
        units: Shape ``(n,)``, above 0.
        example_scores: Shape ``(n,)``, kept with the score.
    """
    n, value = totals.size, float(totals.sum() / units.sum())
    residuals = totals - value * units
    stderr = math.nan
    if n > 1 and np.any(np.abs(residuals) > 1e-12 * np.abs(totals)):
        stderr = float(np.sqrt(n / (n - 1) * np.sum(residuals**2)) / units.sum())
    return Score(value, stderr, example_scores)
