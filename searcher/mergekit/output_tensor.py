"""One tensor of the result and the tensors that it is merged from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from searcher.errors import PoolError
from searcher.mergekit.configuration import Input, OutputSlice
from searcher.mergekit.merge_model import MergeModel
from searcher.pool.layout import block_key, kind_of
from searcher.pool.safetensors_file import FLOAT_BY_DTYPE, StoredTensor

ALIGN = "Align the vocabularies: add `tokenizer: {source: base}` or `tokenizer: {source: union}`."
_NOT_TOKENS = re.compile(r"position|token_type|wpe")


@dataclass(frozen=True)
class Part:
    """One source of an output tensor.

    Args:
        input: The input of the slice.
        model: Its model.
        name: What the tensor is called there.
        tensor: The stored tensor with its values; another name if the model ties the two.
    """

    input: Input
    model: MergeModel
    name: str
    tensor: str

    @property
    def stored(self) -> StoredTensor:
        """What the file says of the tensor."""
        return self.model.stored[self.tensor]


@dataclass(frozen=True)
class OutputTensor:
    """One tensor of the result.

    Args:
        name: Its name.
        parts: Its sources, in the order of the slice's inputs.
        slice: The slice whose settings hold.
        t: Depth in the slice, 0 to 1, for gradients.
    """

    name: str
    parts: tuple[Part, ...]
    slice: OutputSlice
    t: float

    @property
    def is_float(self) -> bool:
        """Whether it is merged; other tensors must be equal in all sources."""
        return all(part.stored.is_float for part in self.parts)

    @property
    def is_vocabulary(self) -> bool:
        """Whether its rows are tokens in every source."""
        return all(_has_token_rows(part) for part in self.parts)

    @property
    def dtype(self) -> torch.dtype:
        """The narrowest floating-point type that holds the values of all sources."""
        dtypes = [getattr(torch, FLOAT_BY_DTYPE[part.stored.dtype]) for part in self.parts]
        found: torch.dtype = dtypes[0]
        for dtype in dtypes[1:]:
            found = torch.promote_types(found, dtype)
        return found


def check_vocabularies(outputs: Sequence[OutputTensor]) -> None:
    """Refuse an embedding and a head, from different slices, with different numbers of tokens.

    Raises:
        PoolError: If they differ.
    """
    first: OutputTensor | None = None
    for output in outputs:
        if not output.is_float or not output.is_vocabulary:
            continue
        first = first or output
        ours, theirs = first.parts[0], output.parts[0]
        if ours.stored.shape[0] != theirs.stored.shape[0]:
            raise PoolError(
                f"{first.name!r} has {ours.stored.shape[0]} tokens, {output.name!r} has {theirs.stored.shape[0]}.",
                where=f"models {ours.model.reference.text} and {theirs.model.reference.text}",
                fix=ALIGN,
            )


def check_shapes(output: OutputTensor, *, align: bool) -> None:
    """Refuse sources of different shapes; those with rows for tokens may differ in rows if tokenizers are aligned."""
    first, *others = output.parts
    for other in others:
        ours, theirs = first.stored.shape, other.stored.shape
        if ours == theirs or (align and output.is_vocabulary and ours[1:] == theirs[1:]):
            continue
        is_tokens = output.is_vocabulary and ours[1:] == theirs[1:]
        raise PoolError(
            f"Tensor {output.name!r} has shape {list(ours)} in {first.input.model.text} "
            f"and {list(theirs)} in {other.input.model.text}.",
            where=f"tensors {first.tensor} and {other.tensor}",
            fix=ALIGN if is_tokens else "Merge models of one architecture and size.",
        )


def _has_token_rows(part: Part) -> bool:
    """Whether a tensor has one row per token of its model."""
    rows, name = part.stored.shape[:1], part.tensor
    outside = block_key(name) is None and kind_of(name) in ("embedding", "head") and _NOT_TOKENS.search(name) is None
    return outside and rows == (part.model.vocabulary_size,)
