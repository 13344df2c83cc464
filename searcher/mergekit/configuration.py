"""A mergekit configuration as checked data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from searcher.mergekit.methods import Method
from searcher.mergekit.model_reference import ModelReference
from searcher.mergekit.setting import Setting
from searcher.yaml_file import KeyPath, YamlDocument

Settings: TypeAlias = Mapping[str, Setting]


@dataclass(frozen=True)
class Input:
    """A model that takes part, or the stretch of its layers that does.

    Args:
        model: Which model.
        key: Where it stands in the configuration.
        layers: First layer and the one after the last; None means all.
        parameters: Settings for this input alone.
    """

    model: ModelReference
    key: KeyPath
    layers: tuple[int, int] | None = None
    parameters: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class OutputSlice:
    """Consecutive layers of the result and the inputs that they are merged from.

    Args:
        inputs: At least one; all with equally many layers.
        key: Where it stands in the configuration.
        base: The base of this slice, or None.
        parameters: Settings for all inputs of this slice.
    """

    inputs: tuple[Input, ...]
    key: KeyPath
    base: ModelReference | None = None
    parameters: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class TokenEmbedding:
    """Where a token's embedding comes from.

    Args:
        key: Where it stands in the configuration.
        kind: ``zero``, ``model`` (the same token of a model), ``model_token`` (another token) or ``auto``.
        model: The model, for the two kinds that name one.
        token: Text or number of the other token.
        force: Whether models that know the token take it too.
    """

    key: KeyPath
    kind: Literal["zero", "model", "model_token", "auto"] = "auto"
    model: ModelReference | None = None
    token: str | int | None = None
    force: bool = False


@dataclass(frozen=True)
class TokenizerRequest:
    """The tokenizer of the result.

    Args:
        source: ``union``, ``base`` or a model.
        key: Where it stands in the configuration.
        tokens: Tokens with embeddings of their own choice; those that no tokenizer has are added.
        pad_to_multiple_of: Rows of the embedding are filled up to a multiple of this.
    """

    source: Literal["union", "base"] | ModelReference
    key: KeyPath
    tokens: Mapping[str, TokenEmbedding] = field(default_factory=dict)
    pad_to_multiple_of: int | None = None


@dataclass(frozen=True)
class Configuration:
    """What to merge, and how.

    Args:
        document: The file's content, with line numbers.
        text: The file as it is.
        method: The merge method.
        slices: The output by depth; one slice of all layers if the configuration lists ``models``.
        has_slices: Whether the configuration lists ``slices``.
        base: The base model, or None.
        parameters: Settings for everything.
        dtype: Type of the arithmetic in mergekit; here of the result, unless ``out_dtype`` says otherwise.
        out_dtype: Type of the result.
        tokenizer: What tokenizer the result gets; None copies that of the base or the first model.
        chat_template: A template, the name of one, or ``auto``.
        warnings: What was read and has no effect.
    """

    document: YamlDocument
    text: str
    method: Method
    slices: tuple[OutputSlice, ...]
    has_slices: bool
    base: ModelReference | None = None
    parameters: Settings = field(default_factory=dict)
    dtype: str | None = None
    out_dtype: str | None = None
    tokenizer: TokenizerRequest | None = None
    chat_template: str | None = None
    warnings: tuple[str, ...] = ()

    def models(self) -> dict[ModelReference, KeyPath]:
        """Every model that is merged and where it is first named; the base first, then in the order of the file."""
        found: dict[ModelReference, KeyPath] = {}
        for model, key in self._named():
            found.setdefault(model, key)
        return found

    def _named(self) -> Iterator[tuple[ModelReference, KeyPath]]:
        if self.base is not None:
            yield self.base, ("base_model",)
        for output_slice in self.slices:
            if output_slice.base is not None:
                yield output_slice.base, (*output_slice.key, "base_model")
            for one in output_slice.inputs:
                yield one.model, one.key
