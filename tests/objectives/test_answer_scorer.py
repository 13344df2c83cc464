"""Functions and regular expressions that score a text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher.errors import CandidateError, ConfigError
from searcher.objectives.answer_scorer import AnswerScorer, FunctionScorer, make_scorer
from searcher.objectives.text_data import Record

CODE = """
def length(text, fields):
    return len(text) - fields["n"]

def one(text):
    return 0
"""


def record(**fields: object) -> Record:
    return Record(fields, "a.jsonl, line 3")


def regex(pattern: str, **settings: Any) -> AnswerScorer:
    chosen = {"function": None, "reference_key": "answer", "take": "first", "root": Path(), **settings}
    return make_scorer(regex=pattern, objective="mine", **chosen)


def function(f: Callable[..., object]) -> AnswerScorer:
    return FunctionScorer(f, objective="mine", root=Path())


def test_a_function_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CODE, encoding="utf-8")
    scorer = FunctionScorer("code.py:length", objective="mine", root=tmp_path)
    assert scorer.score("four", record(n=1)) == 3.0
    assert scorer.files == (tmp_path / "code.py",)
    with pytest.raises(CandidateError, match="line 3: the function raised KeyError") as caught:
        scorer.score("four", record())
    assert caught.value.error_class == "ObjectiveError:KeyError"
    with pytest.raises(ConfigError, match="cannot be called with a text and the fields"):
        FunctionScorer("code.py:one", objective="mine", root=tmp_path)


def test_a_function_cannot_change_the_data() -> None:
    line = record(n=1)
    function(lambda text, fields: fields.pop("n")).score("", line)
    assert line.fields == {"n": 1}


@pytest.mark.parametrize(("returned", "score"), [(True, 1.0), (False, 0.0), (2, 2.0), (np.float32(0.5), 0.5)])
def test_numbers_and_booleans_count(returned: object, score: float) -> None:
    assert function(lambda text, fields: returned).score("", record()) == score


@pytest.mark.parametrize("returned", [None, "1", [1.0], float("nan"), float("inf")])
def test_anything_else_fails_the_candidate(returned: object) -> None:
    with pytest.raises(CandidateError):
        function(lambda text, fields: returned).score("", record())


CASES = [
    (r"answer is (-?\d+)", "first", "The answer is 4. The answer is 5.", "4", 1.0),
    (r"answer is (-?\d+)", "last", "The answer is 4. The answer is 5.", "4", 0.0),
    (r"-?\d+", "last", "1 or 2", 2, 1.0),
    (r"answer is(.*)", "first", "answer is  yes \n", " yes", 1.0),
    (r"\d", "first", "none", "4", 0.0),
    (r"(\d)?none", "first", "none", "", 0.0),
]


@pytest.mark.parametrize(("pattern", "take", "text", "answer", "score"), CASES)
def test_a_pattern_finds_the_answer(pattern: str, take: str, text: str, answer: object, score: float) -> None:
    assert regex(pattern, take=take).score(text, record(answer=answer)) == score


def test_a_line_without_reference_is_refused_beforehand() -> None:
    with pytest.raises(ConfigError, match="no field 'answer'") as caught:
        regex(r"\d").check(record(question="?"))
    assert "line 3" in caught.value.where


@pytest.mark.parametrize(("pattern", "problem"), [("(", "not a regular expression"), (r"(\d)(\d)", "2 groups")])
def test_malformed_patterns(pattern: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        regex(pattern)


@pytest.mark.parametrize(("pattern", "f", "given"), [(None, None, "neither"), (r"\d", len, "both")])
def test_exactly_one_scorer(pattern: str | None, f: Any, given: str) -> None:
    with pytest.raises(ConfigError, match=given):
        make_scorer(function=f, regex=pattern, reference_key="a", take="first", objective="mine", root=Path())
