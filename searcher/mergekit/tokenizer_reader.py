"""The ``tokenizer`` section of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from searcher.mergekit.configuration import TokenEmbedding, TokenizerRequest
from searcher.mergekit.keys import Keys
from searcher.yaml_file import KeyPath

MAX_MULTIPLE = 1 << 20


def read_tokenizer(keys: Keys) -> TokenizerRequest | None:
    """The section, or its short form ``tokenizer_source``; None if neither is given.

    Raises:
        ConfigError: If it cannot be used.
    """
    data = keys.document.data
    entry, short = data.get("tokenizer"), data.get("tokenizer_source")
    if entry is None:
        path: KeyPath = ("tokenizer_source",)
        return None if short is None else TokenizerRequest(_source(keys, short, path), path)
    path = ("tokenizer",)
    if short is not None:
        keys.fail(path, "Both tokenizer and tokenizer_source are given.", "Keep `tokenizer`.")
    keys.check(entry, path, ("source", "tokens", "pad_to_multiple_of"))
    multiple = entry.get("pad_to_multiple_of")
    if multiple is not None and (type(multiple) is not int or not 1 <= multiple <= MAX_MULTIPLE):
        keys.fail((*path, "pad_to_multiple_of"), "It is no positive whole number.", "Give one such as 64.")
    source = _source(keys, entry.get("source", "union"), (*path, "source"))
    return TokenizerRequest(source, path, _tokens(keys, entry, (*path, "tokens")), multiple)


def _source(keys: Keys, value: object, path: KeyPath) -> Any:  # noqa: ANN401 - a literal or a reference
    if value in ("union", "base"):
        return value
    return keys.reference(value.removeprefix("model:") if isinstance(value, str) else value, path)


def _tokens(keys: Keys, entry: Mapping[str, Any], path: KeyPath) -> dict[str, TokenEmbedding]:
    tokens = entry.get("tokens") or {}
    if not isinstance(tokens, dict):
        keys.fail(path, "Tokens are a mapping.", "Write `TOKEN: {source: MODEL}`.")
    return {token: _token(keys, value, (*path, token)) for token, value in tokens.items()}


def _token(keys: Keys, value: Any, path: KeyPath) -> TokenEmbedding:  # noqa: ANN401 - YAML is untyped
    """What is asked for one token."""
    keys.check(value, path, ("source", "force"))
    source, force = value.get("source"), value.get("force", False)
    if not isinstance(force, bool):
        keys.fail((*path, "force"), "force is true or false.", "Correct it.")
    if source is None and force:
        keys.fail(path, "A forced token needs a source.", "Add `source:` with a model or {kind: zero}.")
    if source is None:
        return TokenEmbedding(path, force=force)
    path = (*path, "source")
    if not isinstance(source, dict) or "kind" not in source:
        return TokenEmbedding(path, "model", keys.reference(source, path), force=force)
    if source["kind"] == "zero":
        keys.check(source, path, ("kind",))
        return TokenEmbedding(path, "zero", force=force)
    if source["kind"] != "model_token":
        keys.fail((*path, "kind"), f"{source['kind']!r} is no kind of source.", "Use zero or model_token.")
    return TokenEmbedding(path, "model_token", keys.model(source, path), _other_token(keys, source, path), force)


def _other_token(keys: Keys, source: Mapping[str, Any], path: KeyPath) -> str | int:
    """The token whose embedding is taken, by text or number."""
    keys.check(source, path, ("kind", "model", "token", "token_id"))
    token, number = source.get("token"), source.get("token_id")
    if (token is None) == (number is None):
        keys.fail(path, "A model_token names one token.", "Give either `token: TEXT` or `token_id: NUMBER`.")
    if isinstance(token, str):
        return token
    if type(number) is int and number >= 0:
        return number
    keys.fail(path, "The token has the wrong form.", "Give `token: TEXT` or `token_id: NUMBER`.")
