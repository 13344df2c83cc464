"""Rows of three models under the numbers of one tokenizer, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from searcher.errors import ConfigError
from searcher.mergekit.configuration import Input, OutputSlice, TokenEmbedding, TokenizerRequest
from searcher.mergekit.merge_model import open_models
from searcher.mergekit.model_reference import ModelReference
from searcher.mergekit.output_tensor import OutputTensor, Part
from searcher.mergekit.vocabulary import Vocabulary
from searcher.yaml_file import parse_yaml
from tests.mergekit.tiny_models import write_model

A, B, C = (ModelReference(name) for name in "abc")
TOKENS = {A: {"x": 0, "y": 1}, B: {"y": 0, "z": 1, "both": 2}, C: {"both": 0, "x": 1}}  # C has one row
VALUES = [
    torch.tensor([[1.0, 10.0], [2.0, 20.0]]),
    torch.tensor([[3.0, 30.0], [4.0, 40.0], [5.0, 50.0]]),
    torch.tensor([[7.0, 70.0]]),
]
NUMBERS = {"x": 0, "y": 1, "z": 2, "both": 4, "new": 3}
DOCUMENT = parse_yaml("tokenizer: {source: union, tokens: {x: {source: c}}}\n", "config.yml")
KEY = ("tokenizer", "tokens", "x", "source")


@pytest.fixture
def output(tmp_path: Path) -> OutputTensor:
    """The embedding of three models, of which none is a base."""
    return embedding(tmp_path, None)


def embedding(root: Path, base: ModelReference | None) -> OutputTensor:
    for reference, value in zip((A, B, C), VALUES, strict=True):
        write_model(root / reference.path, {"embed.weight": value}, {"vocab_size": len(value)}, tokens=None)
    models = open_models(dict.fromkeys((A, B, C), "here"), root)
    inputs = tuple(Input(reference, ("models", k)) for k, reference in enumerate(models))
    parts = tuple(Part(one, models[one.model], "embed.weight", "embed.weight") for one in inputs)
    return OutputTensor("embed.weight", parts, OutputSlice(inputs, ("models",), base), 0.0)


def vocabulary(multiple: int | None = None, **tokens: TokenEmbedding) -> Vocabulary:
    return Vocabulary(NUMBERS, TOKENS, TokenizerRequest("union", ("tokenizer",), tokens, multiple), DOCUMENT)


def first_column(vocabulary: Vocabulary, output: OutputTensor) -> list[list[float]]:
    """Which row each source has for each token; the second column is ten times the first."""
    found = vocabulary.aligned(output, VALUES)
    assert all(torch.equal(value[:, 1], 10 * value[:, 0]) for value in found)
    return [value[:, 0].tolist() for value in found]


def test_own_rows_stay_and_others_are_the_mean_of_who_has_them(output: OutputTensor) -> None:
    """x: only A (C's number is beyond its rows); y: A and B; z: only B; new: nobody; both: B and C."""
    assert first_column(vocabulary(), output) == [
        [1.0, 2.0, 4.0, 0.0, 6.0],
        [1.0, 3.0, 4.0, 0.0, 5.0],
        [1.0, 2.5, 4.0, 0.0, 7.0],
    ]


def test_a_base_lends_its_rows_before_any_mean(tmp_path: Path) -> None:
    a, b, c = first_column(vocabulary(), embedding(tmp_path, B))
    assert (a[4], c[1]) == (5.0, 3.0)  # both and y, of B
    assert (b, c[4]) == ([1.0, 3.0, 4.0, 0.0, 5.0], 7.0)


@pytest.mark.parametrize(("multiple", "rows"), [(None, 5), (1, 5), (5, 5), (4, 8), (64, 64)])
def test_rows_are_filled_up_with_the_mean(multiple: int | None, rows: int, output: OutputTensor) -> None:
    found = vocabulary(multiple)
    assert found.n_rows == rows
    for column in first_column(found, output):
        assert column[5:] == [pytest.approx(sum(column[:5]) / 5)] * (rows - 5)


def test_types_stay_where_no_row_is_filled(output: OutputTensor) -> None:
    """bfloat16 rows that are only moved are not converted."""
    swapped = Vocabulary({"y": 0, "x": 1}, {A: TOKENS[A]}, TokenizerRequest("base", ("tokenizer",)), DOCUMENT)
    alone = OutputTensor("embed.weight", output.parts[:1], output.slice, 0.0)
    [found] = swapped.aligned(alone, [VALUES[0].bfloat16()])
    assert found.dtype == torch.bfloat16
    assert found[:, 0].tolist() == [2.0, 1.0]
    assert {value.dtype for value in vocabulary().aligned(output, [v.bfloat16() for v in VALUES])} == {torch.float32}


def test_a_source_that_is_named_fills_gaps_and_replaces_if_forced(output: OutputTensor) -> None:
    a, b, c = first_column(vocabulary(y=TokenEmbedding(KEY, "model", B)), output)
    assert (a[1], b[1], c[1]) == (2.0, 3.0, 3.0)
    rows = first_column(vocabulary(y=TokenEmbedding(KEY, "model", B, force=True)), output)
    assert [row[1] for row in rows] == [3.0, 3.0, 3.0]
    assert first_column(vocabulary(y=TokenEmbedding(KEY)), output) == first_column(vocabulary(), output)
    rows = first_column(vocabulary(y=TokenEmbedding(KEY, "zero")), output)
    assert [row[1] for row in rows] == [2.0, 3.0, 0.0]
    rows = first_column(vocabulary(new=TokenEmbedding(KEY, "model_token", B, "z")), output)
    assert [row[3] for row in rows] == [4.0, 4.0, 4.0]
    rows = first_column(vocabulary(new=TokenEmbedding(KEY, "model_token", B, 2)), output)
    assert [row[3] for row in rows] == [5.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (TokenEmbedding(KEY, "model", C), "c has no row for token 'x'"),  # beyond its rows
        (TokenEmbedding(KEY, "model_token", A, 2), "a has no row for token 2"),
        (TokenEmbedding(KEY, "model_token", A, "z"), "a has no row for token 'z'"),
        (TokenEmbedding(KEY, "model", ModelReference("d")), r"d is no source of tensor 'embed\.weight'"),
    ],
)
def test_a_row_that_is_not_there_is_told_where_it_is_asked_for(
    wanted: TokenEmbedding, words: str, output: OutputTensor
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        vocabulary(x=wanted).aligned(output, VALUES)
    assert caught.value.where == "config.yml, line 1, key tokenizer.tokens.x.source"
