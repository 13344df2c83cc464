"""Greedy exact match against plain transformers, and the real pool's reference figures."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher.candidate import beta_stderr
from searcher.errors import ConfigError
from searcher.language.text_encoder import TextEncoder
from searcher.merge.live_model import LiveModel
from searcher.objectives.exact_match import ExactMatch
from tests.language.tiny_llama import live_llama
from tests.objectives.plain_language import PlainModel, encode, questions, write_jsonl

N = 16


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LiveModel:
    return live_llama(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def records(model: LiveModel) -> list[dict[str, str]]:
    return questions(model, N)


@pytest.fixture
def data(tmp_path: Path, records: list[dict[str, str]]) -> Path:
    return write_jsonl(tmp_path / "qa.jsonl", records)


def whole(data: Path, **settings: Any) -> ExactMatch:
    """Over one split, in the order of the file."""
    return ExactMatch("mine", data={"search": data}, root=data.parent, **settings)


def tokens(objective: ExactMatch, model: LiveModel) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    prepared = objective.encode(TextEncoder.of(model), model)
    return [(r.context, r.continuation) for r in prepared.requests]


def test_right_where_plain_greedy_decoding_is(model: LiveModel, data: Path, records: list[dict[str, str]]) -> None:
    plain = PlainModel(model)
    expected = []
    for r in records:
        prompt, answer = encode(model, f"Question: {r['question']}\nAnswer:"), encode(model, f" {r['answer']}")
        expected.append(plain.written(prompt, len(answer), end=-1) == answer)
    score = whole(data, end_token=False).evaluate(model, None, 0)
    assert score.example_scores is not None
    np.testing.assert_array_equal(score.example_scores, expected)
    assert 0 < sum(expected) < N
    assert score.value == np.mean(expected)
    assert score.stderr == pytest.approx(beta_stderr(sum(expected), N))
    joined = whole(data).of_examples(score.example_scores)
    assert (joined.value, joined.stderr) == (score.value, score.stderr)


def test_what_must_follow_the_answer(model: LiveModel, data: Path) -> None:
    bare, ended, told = (tokens(whole(data, end_token=end), model) for end in (False, True, "\n"))
    end = model.tokenizer.eos_token_id
    assert ended == [(context, (*answer, end)) for context, answer in bare]
    assert told == [(context, (*answer, *encode(model, "\n"))) for context, answer in bare]


def test_an_answer_that_only_begins_right_fails_with_an_end_token(model: LiveModel, data: Path) -> None:
    plain = PlainModel(model)
    for end in (True, "\n"):
        score = whole(data, end_token=end).evaluate(model, None, 0)
        assert score.example_scores is not None
        expected = [plain.is_greedy(*request) for request in tokens(whole(data, end_token=end), model)]
        np.testing.assert_array_equal(score.example_scores, expected)


def test_keys_and_templates(model: LiveModel, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "qa.jsonl", [{"q": "two", "a": 4, "hint": "even"}])
    made = whole(data, question_key="q", answer_key="a", prompt="{question} ({hint}) =", end_token=False)
    [(context, answer)] = tokens(made, model)
    assert model.tokenizer.decode(context) == "two (even) ="
    assert model.tokenizer.decode(answer) == " 4"


def test_chat_and_worked_examples(model: LiveModel, tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "qa.jsonl", [{"question": "two", "answer": "4"}])
    shots = write_jsonl(tmp_path / "shots.jsonl", [{"question": "one", "answer": "1"}])
    plain = whole(data, few_shot=Path("shots.jsonl"), end_token=False)
    assert model.tokenizer.decode(tokens(plain, model)[0][0]) == "Question: one\nAnswer: 1\n\nQuestion: two\nAnswer:"
    assert plain.files == (data, shots)
    chat = whole(data, few_shot=Path("shots.jsonl"), chat=True, system="Be brief.", end_token=False)
    [(context, answer)] = tokens(chat, model)
    shown = model.tokenizer.decode(context) + model.tokenizer.decode(answer)
    assert (
        "<|im_start|>user\none<|im_end|>\n<|im_start|>assistant\n1<|im_end|>\n<|im_start|>user\ntwo<|im_end|>" in shown
    )
    assert shown.endswith("<|im_start|>assistant\n4")


def test_a_file_per_split_and_a_limit(model: LiveModel, data: Path, records: list[dict[str, str]]) -> None:
    held_out = write_jsonl(data.parent / "held_out.jsonl", records[:5])
    made = ExactMatch("mine", data={"search": data, "held_out": held_out}, limit={"search": 7}, end_token=False)
    assert made.n_examples == 12
    assert made.splits == {"search": slice(0, 7), "held_out": slice(7, 12)}
    first, second = (made.evaluate(model, part, 0).example_scores for part in made.splits.values())
    assert first is not None
    np.testing.assert_array_equal(first[:5], second)


BAD: list[tuple[str, dict[str, object], dict[str, Any]]] = [
    ("no field 'answer'", {"question": "x"}, {}),
    ("no text in 'question'", {"question": None, "answer": "x"}, {}),
    ("answer is empty", {"question": "x", "answer": " "}, {}),
]


@pytest.mark.parametrize(("problem", "record", "settings"), BAD)
def test_a_bad_line_is_named(tmp_path: Path, problem: str, record: dict[str, object], settings: dict[str, Any]) -> None:
    data = write_jsonl(tmp_path / "qa.jsonl", [{"question": "x", "answer": "y"}, record])
    with pytest.raises(ConfigError, match=problem) as caught:
        whole(data, **settings)
    assert caught.value.where.startswith("objective 'mine'")
    assert caught.value.where.endswith(f"{data}, line 2")


def test_a_tokenizer_without_an_end_is_refused(model: LiveModel, data: Path) -> None:
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.eos_token = None
    with pytest.raises(ConfigError, match="no end-of-text token"):
        whole(data, end_token=True).evaluate(replace(model, tokenizer=tokenizer), None, 0)
