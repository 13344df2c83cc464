"""Embedding rows of several models under the token numbers of one tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from searcher.errors import ConfigError
from searcher.mergekit.configuration import TokenEmbedding, TokenizerRequest
from searcher.mergekit.model_reference import ModelReference
from searcher.mergekit.output_tensor import OutputTensor
from searcher.yaml_file import YamlDocument

ZERO, AVERAGE = -1, -2  # instead of the index of a model


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens of the result.

    Args:
        numbers: Token to its number in the result.
        tokens_of: Model to its own tokens and their numbers.
        request: What the configuration asks for.
        document: The configuration, for messages.
    """

    numbers: Mapping[str, int]
    tokens_of: Mapping[ModelReference, Mapping[str, int]]
    request: TokenizerRequest
    document: YamlDocument

    @property
    def n_rows(self) -> int:
        """Number of embedding rows, padding included."""
        rows = max(self.numbers.values(), default=-1) + 1
        multiple = self.request.pad_to_multiple_of or 1
        return -(-rows // multiple) * multiple

    def aligned(self, output: OutputTensor, values: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The sources of one tensor with one row per token of the result.

        A model keeps its own row of a token. A token that a model lacks gets the row that the configuration names;
        otherwise that of the only model that has it, else of the base, else the mean of the models that have
        it, else zeros. Rows beyond the tokens are the mean of all rows.

        Args:
            output: The tensor.
            values: One per source, shape ``(rows, ...)``.

        Returns:
            One per source, shape ``(n_rows, ...)``; float32 where rows had to be filled.

        Raises:
            ConfigError: If a row is asked for that a model does not have.
        """
        rows = np.stack(
            [self._rows(part.input.model, value.shape[0]) for part, value in zip(output.parts, values, strict=True)]
        )
        filler = _Filler(self, output, values, rows)
        return [filler.filled(k) for k in range(len(values))]

    def _rows(self, model: ModelReference, n: int) -> NDArray[np.int64]:
        """Row in a model of every token of the result, -1 where it has none, shape ``(n_tokens,)``."""
        own = self.tokens_of[model]
        found = np.array([own.get(token, -1) for token in self.numbers], dtype=np.int64)
        found[found >= n] = -1
        return found


class _Filler:
    """Aligns the sources of one tensor.

    Args:
        vocabulary: The tokens.
        output: The tensor.
        values: One per source, shape ``(rows, ...)``.
        rows: Row of every token in every source, or -1, shape ``(n_sources, n_tokens)``.
    """

    def __init__(
        self, vocabulary: Vocabulary, output: OutputTensor, values: Sequence[torch.Tensor], rows: NDArray[np.int64]
    ) -> None:
        self._vocabulary, self._output, self._values, self._rows = vocabulary, output, values, rows
        self._ids = np.fromiter(vocabulary.numbers.values(), np.int64, len(vocabulary.numbers))
        self._forced = np.zeros(rows.shape[1], dtype=bool)
        self._donor, self._donor_row = self._automatic()
        self._apply_request()
        lacking = (rows < 0).any(axis=0) | self._forced
        self._lacking = np.flatnonzero(lacking)
        self._filler_rows = self._fill() if self._lacking.size else None

    def filled(self, k: int) -> torch.Tensor:
        """Source ``k`` with the rows of the result."""
        value, n = self._values[k], self._vocabulary.n_rows
        own = np.flatnonzero((self._rows[k] >= 0) & ~self._forced)
        plain = self._filler_rows is None and len(self._ids) == n
        out = torch.zeros((n, *value.shape[1:]), dtype=value.dtype if plain else torch.float32)
        out[torch.from_numpy(self._ids[own])] = value[torch.from_numpy(self._rows[k][own])].to(out.dtype)
        if self._filler_rows is not None:
            taken = (self._rows[k][self._lacking] < 0) | self._forced[self._lacking]
            out[torch.from_numpy(self._ids[self._lacking[taken]])] = self._filler_rows[torch.from_numpy(taken)]
        rest = np.setdiff1d(np.arange(n), self._ids)
        if rest.size:
            out[torch.from_numpy(rest)] = out[torch.from_numpy(np.sort(self._ids))].mean(dim=0)
        return out

    def _automatic(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which source fills a token, by the rules alone, and from which row."""
        has = self._rows >= 0
        count = has.sum(axis=0)
        donor = np.where(count == 1, has.argmax(axis=0), np.where(count == 0, ZERO, AVERAGE))
        base = self._output.slice.base
        k = next((k for k, part in enumerate(self._output.parts) if part.input.model == base), None)
        if k is not None:
            donor = np.where((count > 1) & has[k], k, donor)
        return donor, np.take_along_axis(self._rows, np.maximum(donor, 0)[None], axis=0)[0]

    def _apply_request(self) -> None:
        """Tokens for which the configuration names a source."""
        place = {token: index for index, token in enumerate(self._vocabulary.numbers)}
        for token, wanted in self._vocabulary.request.tokens.items():
            index = place[token]
            self._forced[index] = wanted.force
            if wanted.kind == "zero":
                self._donor[index] = ZERO
            elif wanted.model is not None and (wanted.force or (self._rows[:, index] < 0).any()):
                self._donor[index] = k = self._source(wanted, wanted.model)
                self._donor_row[index] = self._row(wanted, wanted.model, token, k)

    def _source(self, wanted: TokenEmbedding, model: ModelReference) -> int:
        found = next((k for k, part in enumerate(self._output.parts) if part.input.model == model), None)
        if found is None:
            what = f"{model.text} is no source of tensor {self._output.name!r}, so it has no row for a token."
            raise self._refused(wanted, what, "Name a model that is merged there.")
        return found

    def _row(self, wanted: TokenEmbedding, model: ModelReference, token: str, k: int) -> int:
        """Row of the named token."""
        name = token if wanted.token is None else wanted.token
        row = name if isinstance(name, int) else self._vocabulary.tokens_of[model].get(name, -1)
        if not 0 <= row < self._values[k].shape[0]:
            raise self._refused(wanted, f"{model.text} has no row for token {name!r}.", "Name a token that it has.")
        return row

    def _fill(self) -> torch.Tensor:
        """The rows for tokens that a source lacks, float32, shape ``(n_lacking, ...)``."""
        donor, row = self._donor[self._lacking], self._donor_row[self._lacking]
        out = torch.zeros((donor.size, *self._values[0].shape[1:]))
        for k, value in enumerate(self._values):
            chosen = np.flatnonzero(donor == k)
            out[torch.from_numpy(chosen)] = value[torch.from_numpy(row[chosen])].float()
        averaged = np.flatnonzero(donor == AVERAGE)
        counts = (self._rows[:, self._lacking[averaged]] >= 0).sum(axis=0)
        for k, value in enumerate(self._values):
            rows = self._rows[k][self._lacking[averaged]]
            having = np.flatnonzero(rows >= 0)
            out[torch.from_numpy(averaged[having])] += value[torch.from_numpy(rows[having])].float()
        shape = (-1, *[1] * (out.dim() - 1))
        out[torch.from_numpy(averaged)] /= torch.from_numpy(counts).float().view(shape)
        return out

    def _refused(self, wanted: TokenEmbedding, what: str, fix: str) -> ConfigError:
        return ConfigError(what, where=self._vocabulary.document.where(wanted.key), fix=fix)
