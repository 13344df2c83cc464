"""The tokenizer of a merge: that of the base, of a model, or one with the tokens of all models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from searcher.errors import PoolError
from searcher.mergekit.configuration import Configuration, TokenizerRequest
from searcher.mergekit.merge_model import MergeModel
from searcher.mergekit.model_reference import ModelReference
from searcher.mergekit.vocabulary import Vocabulary
from searcher.pool.loader import make_loader


def build_tokenizer(
    configuration: Configuration,
    request: TokenizerRequest,
    models: Mapping[ModelReference, MergeModel],
    donor: MergeModel,
    tokenizer_model: MergeModel | None,
) -> tuple[Any, Vocabulary]:
    """The transformers tokenizer of the result, and its tokens.

    Args:
        configuration: The configuration.
        request: What it asks for.
        models: The models that are merged.
        donor: The base, or else the first model; models without tokenizer files have its tokenizer.
        tokenizer_model: The model whose tokenizer is asked for, if it is a model's.

    Raises:
        PoolError: If a tokenizer is missing or cannot be read or changed.
    """
    own = _load(donor)
    if own is None:
        fix = "Add its tokenizer files, or remove `tokenizer` and `tokenizer_source`."
        raise PoolError("The base has no tokenizer.", where=f"model {donor.name}, {donor.source.path}", fix=fix)
    loaded = {reference: own if model is donor else _load(model) or own for reference, model in models.items()}
    if tokenizer_model is not None:
        result = _load(tokenizer_model)
        if result is None:
            fix = "Name a model that has tokenizer files."
            raise PoolError("The model has no tokenizer.", where=configuration.document.where(request.key), fix=fix)
    else:
        result = _without_surplus(_load(donor), donor)
        if request.source == "union":
            _add_tokens(result, models, loaded, donor)
    for token in request.tokens:
        if token not in result.get_vocab():
            result.add_tokens(token)
    tokens_of = {reference: tokenizer.get_vocab() for reference, tokenizer in loaded.items()}
    numbers = dict(sorted(result.get_vocab().items(), key=lambda item: item[1]))
    return result, Vocabulary(numbers, tokens_of, request, configuration.document)


def _load(model: MergeModel) -> Any:  # noqa: ANN401 - transformers is untyped
    return make_loader("transformers", trust_remote_code=False, root=model.source.path).tokenizer(model.source)


def _add_tokens(
    result: Any,  # noqa: ANN401
    models: Mapping[ModelReference, MergeModel],
    loaded: Mapping[ModelReference, Any],
    donor: MergeModel,
) -> None:
    """Add what other tokenizers have, ordinary tokens first, in the order of the models and their numbers."""
    ordered = sorted(models.items(), key=lambda item: item[1] is not donor)
    special: dict[str, Any] = {}
    known = set(result.get_vocab())
    for reference, model in ordered:
        tokenizer, rows = loaded[reference], model.vocabulary_size
        added = {number: token for number, token in tokenizer.added_tokens_decoder.items() if _has_row(number, rows)}
        for token in added.values():
            special.setdefault(token.content, token)
        special_texts = {token.content for token in tokenizer.added_tokens_decoder.values()}
        for text, number in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
            if text not in known and text not in special_texts and _has_row(number, rows):
                result.add_tokens(text)
                known.add(text)
    for token in special.values():
        result.add_tokens(token)


def _has_row(number: int, rows: int | None) -> bool:
    return rows is None or number < rows


def _without_surplus(tokenizer: Any, model: MergeModel) -> Any:  # noqa: ANN401
    """The tokenizer without tokens that have no row in the model's embedding."""
    rows = model.vocabulary_size
    surplus = {text for text, number in tokenizer.get_vocab().items() if not _has_row(number, rows)}
    if not surplus:
        return tokenizer
    backend = getattr(tokenizer, "_tokenizer", None)
    content: dict[str, Any] = {} if backend is None else json.loads(backend.to_str())
    if content.get("model", {}).get("type") != "BPE":
        raise PoolError(
            f"The tokenizer has {len(surplus)} tokens without a row in the embedding, such as {min(surplus)!r}.",
            where=f"model {model.name}, {model.source.path}",
            fix="Remove them from the tokenizer, or resize the model's embedding.",
        )
    import tokenizers

    part = content["model"]
    part["vocab"] = {text: number for text, number in part["vocab"].items() if text not in surplus}
    part["merges"] = [pair for pair in part["merges"] if surplus.isdisjoint(_pair(pair))]
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] not in surplus]
    tokenizer._tokenizer = tokenizers.Tokenizer.from_str(json.dumps(content))
    return tokenizer


def _pair(merge: str | list[str]) -> list[str]:
    """The two tokens of a merge, and what they make."""
    first, second = merge.split(" ", 1) if isinstance(merge, str) else merge
    return [first, second, first + second]
