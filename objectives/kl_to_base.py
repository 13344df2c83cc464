"""How far a candidate's predictions have moved from those of the base."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.errors import ConfigError
from searcher.language.text_encoder import TextEncoder
from searcher.merge.live_model import LiveModel
from searcher.objectives.base import OBJECTIVES
from searcher.objectives.reference_model import ReferenceModel
from searcher.objectives.split_data import DataSettings, LimitSettings
from searcher.objectives.splits import SplitSettings
from searcher.objectives.text_data import Cut
from searcher.objectives.text_objective import EncodedTexts, TextObjective

if TYPE_CHECKING:
    import torch

ROWS = 256  # distributions compared together, to bound the memory of intermediate results


@dataclass(frozen=True, eq=False)
class EncodedWithReference(EncodedTexts):
    """Documents and what the reference model predicts for each of their tokens.

    Args:
        reference: Per window float16 log-probabilities on the host, shape ``(n_tokens, vocabulary)``.
    """

    reference: tuple[torch.Tensor, ...]


@OBJECTIVES.register("kl_to_base")
class KlToBase(TextObjective):
    """Mean Kullback-Leibler divergence from a reference model to the candidate, over all tokens of texts, in nats.

    It is KL(reference || candidate), or KL(candidate || reference) where ``reverse`` is set. The reference runs once,
    over the examples of all splits, at the first evaluation; its full log-probabilities are kept in float16: two
    bytes per token and word of the vocabulary. They are normalised again in float32 when they are compared, so the
    value is the exact divergence of a distribution whose log-probabilities are off by at most 2^-11 of their size
    (0.005 at -10). For a divergence D the error of a token is of the order 0.005 sqrt(D) at most, 1e-6 at D = 0.

    Args:
        data: Text or JSONL file, a folder of them, or one per split such as {search: a.jsonl, held_out: b.jsonl}.
        reference_model: Folder or hub id of the full model to compare with, usually the pool's base; it must have the
            candidates' vocabulary.
        reverse: Whether to take the divergence the other way round.
        memory_mib: Most memory for the reference's log-probabilities, in MiB; more is refused.
    """

    direction: Literal["maximize", "minimize"] = "minimize"
    unit = "nats/token"

    def __init__(
        self,
        name: str,
        *,
        data: DataSettings,
        reference_model: str,
        reverse: bool = False,
        memory_mib: int = 2048,
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
        self._reference = ReferenceModel(reference_model, root=root, where=f"objective {name!r}, reference_model")
        self._reverse, self._memory_mib = reverse, memory_mib
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

    @property
    @override
    def files(self) -> tuple[Path, ...]:
        return (*super().files, *self._reference.files)

    @override
    def encode(self, encoder: TextEncoder, model: LiveModel) -> EncodedWithReference:
        import torch

        texts = super().encode(encoder, model)
        found: list[torch.Tensor] = [torch.empty(0)] * len(texts.prepared)
        n_tokens = int(texts.n_tokens.sum())

        def take(window: int, logits: torch.Tensor) -> None:
            self._check_memory(n_tokens, logits.shape[1])
            found[window] = _as_float16(logits)

        reference = LiveModel(self._reference.load(model), torch.empty(0), model.tokenizer)
        self._runner.visit(reference, texts.prepared, take)
        return EncodedWithReference(texts.prepared, texts.starts, texts.n_tokens, tuple(found))

    @override
    def window_sums(self, model: LiveModel, encoded: EncodedTexts, windows: NDArray[np.int64]) -> NDArray[np.float64]:
        assert isinstance(encoded, EncodedWithReference)  # what encode returns
        sums = np.zeros(len(encoded.prepared))

        def take(window: int, logits: torch.Tensor) -> None:
            reference = encoded.reference[window]
            self._check_vocabulary(reference.shape[1], logits.shape[1])
            sums[window] = divergence_sum(reference, logits, reverse=self._reverse)

        self._runner.visit(model, encoded.prepared, take, windows)
        return sums[windows]

    def _check_memory(self, n_tokens: int, vocabulary: int) -> None:
        """Refuse before the memory is used."""
        limit = self._memory_mib << 20
        if 2 * n_tokens * vocabulary > limit:
            raise ConfigError(
                f"The reference's log-probabilities of {n_tokens:,} tokens need {2 * n_tokens * vocabulary >> 20:,} MiB, "
                f"more than memory_mib: {self._memory_mib:,}.",
                where=f"objective {self.name!r}",
                fix=f"Use at most {limit // (2 * vocabulary):,} tokens (fewer texts, or `limit`), or raise memory_mib.",
            )

    def _check_vocabulary(self, expected: int, found: int) -> None:
        if expected != found:
            raise ConfigError(
                f"The reference model has a vocabulary of {expected:,}, the candidate one of {found:,}.",
                where=f"objective {self.name!r}, reference_model",
                fix="Name a model with the same tokenizer and vocabulary, usually the pool's base.",
            )


def divergence_sum(reference: torch.Tensor, logits: torch.Tensor, *, reverse: bool = False) -> float:
    """Sum over the tokens of KL(reference || logits), or of the reverse, in nats.

    Args:
        reference: Log-probabilities of any floating-point type, shape ``(n_tokens, vocabulary)``.
        logits: Float32, same shape.
        reverse: Whether to take KL(logits || reference).
    """
    import torch

    total = 0.0
    for start in range(0, len(logits), ROWS):
        q = logits[start : start + ROWS].log_softmax(dim=-1)
        p = reference[start : start + ROWS].to(q.device, q.dtype).log_softmax(dim=-1)  # undoes what rounding added
        first, second = (q, p) if reverse else (p, q)
        total += float((first.exp() * (first - second)).sum(dtype=torch.float64))
    return total


def _as_float16(logits: torch.Tensor) -> torch.Tensor:
    """Log-probabilities on the host; those below float16's range are as good as its end."""
    import torch

    lowest = torch.finfo(torch.float16).min
    found = torch.empty(logits.shape, dtype=torch.float16)
    for start in range(0, len(logits), ROWS):
        found[start : start + ROWS] = logits[start : start + ROWS].log_softmax(dim=-1).clamp(min=lowest)
    return found
