"""The ``tokenizer`` section: every form that is read, and where a wrong one is told."""

from __future__ import annotations

from typing import Any

import pytest

from searcher.errors import ConfigError
from searcher.mergekit.configuration import TokenEmbedding, TokenizerRequest
from searcher.mergekit.keys import Keys
from searcher.mergekit.model_reference import ModelReference
from searcher.mergekit.tokenizer_reader import MAX_MULTIPLE, read_tokenizer
from searcher.yaml_file import parse_yaml

KEY = ("tokenizer",)
MODEL = ModelReference("a", "main")


def read(text: str) -> TokenizerRequest | None:
    return read_tokenizer(Keys(parse_yaml(f"merge_method: linear\n{text}", "config.yml")))


def token(source: str) -> TokenEmbedding:
    found = read(f"tokenizer: {{tokens: {{x: {source}}}}}\n")
    assert found is not None
    return found.tokens["x"]


def test_nothing_asks_for_nothing() -> None:
    assert read("") is None
    assert read("tokenizer:\n") is None


@pytest.mark.parametrize(
    ("source", "expected"),
    [("union", "union"), ("base", "base"), ("model:a@main", MODEL), ("a@main", MODEL), ("{model: a@main}", MODEL)],
)
def test_the_short_form_and_the_long_one_name_the_same_source(source: str, expected: Any) -> None:
    short, long = read(f"tokenizer_source: {source}\n"), read(f"tokenizer: {{source: {source}}}\n")
    assert short == TokenizerRequest(expected, ("tokenizer_source",))
    assert long == TokenizerRequest(expected, KEY)


def test_a_section_without_source_is_the_union() -> None:
    assert read(f"tokenizer: {{pad_to_multiple_of: {MAX_MULTIPLE}}}\n") == TokenizerRequest(
        "union", KEY, {}, MAX_MULTIPLE
    )


def test_tokens_are_read_in_every_form() -> None:
    key = ("tokenizer", "tokens", "x")
    source = (*key, "source")
    assert token("{}") == TokenEmbedding(key)
    assert token("{source: a@main}") == TokenEmbedding(source, "model", MODEL)
    assert token("{source: {kind: zero}, force: true}") == TokenEmbedding(source, "zero", force=True)
    for written, read_as in (("token: y", "y"), ("token_id: 0", 0), ("token_id: 7", 7)):
        found = token(f"{{source: {{kind: model_token, model: a@main, {written}}}}}")
        assert found == TokenEmbedding(source, "model_token", MODEL, read_as)


TOKEN_SOURCE = "tokenizer: {tokens: {x: {source: {kind: model_token, model: a, %s}}}}\n"


@pytest.mark.parametrize(
    ("text", "words", "key"),
    [
        ("tokenizer: {tokens: [x]}\n", "Tokens are a mapping", "tokenizer.tokens"),
        ("tokenizer: {tokens: {x: {force: 1}}}\n", "true or false", "tokenizer.tokens.x.force"),
        ("tokenizer: {tokens: {x: {source: {kind: zero, model: a}}}}\n", "'model'", "tokenizer.tokens.x.source.model"),
        (TOKEN_SOURCE % "token: 3", "wrong form", "tokenizer.tokens.x.source"),
        (TOKEN_SOURCE % "token_id: -1", "wrong form", "tokenizer.tokens.x.source"),
        (TOKEN_SOURCE % "token_id: true", "wrong form", "tokenizer.tokens.x.source"),
        (TOKEN_SOURCE % "token: y, token_id: 3", "names one token", "tokenizer.tokens.x.source"),
        (f"tokenizer: {{pad_to_multiple_of: {MAX_MULTIPLE + 1}}}\n", "positive", "tokenizer.pad_to_multiple_of"),
        ("tokenizer_source: 3\n", "cannot be read", "tokenizer_source"),
    ],
)
def test_a_wrong_form_is_told_with_its_line_and_key(text: str, words: str, key: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read(text)
    assert caught.value.where == f"config.yml, line 2, key {key}"
    assert len(str(caught.value).splitlines()) == 3
