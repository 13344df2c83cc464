"""Whatever a function returns becomes a score or a failed candidate."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from searcher.candidate import Score
from searcher.errors import CandidateError
from searcher.objectives.returned_value import score_of


def read(returned: object, n_examples: int | None = None) -> Score:
    return score_of(returned, objective="size", n_examples=n_examples)


@pytest.mark.parametrize(
    "returned",
    [0.25, np.float32(0.25), np.array(0.25), torch.tensor(0.25), torch.tensor(0.25, dtype=torch.bfloat16)],
)
def test_one_number(returned: object) -> None:
    score = read(returned)
    assert (score.value, score.example_scores) == (0.25, None)
    assert math.isnan(score.stderr)
    assert read(3).value == 3.0


def test_value_with_standard_error() -> None:
    assert (read((0.5, 0.1)).value, read((0.5, 0.1)).stderr) == (0.5, 0.1)
    assert math.isnan(read((1, float("nan"))).stderr)


@pytest.mark.parametrize(
    "returned",
    [
        [0, 1, 1],
        [False, True, True],
        np.array([0, 1, 1]),
        np.array([False, True, True]),
        np.array([0, 1, 1], np.float16),
        torch.tensor([0.0, 1.0, 1.0], requires_grad=True),
        torch.tensor([0, 1, 1]),
        torch.tensor([0, 1, 1], dtype=torch.bfloat16),
        Score(2 / 3, 1 / 3, np.array([0.0, 1.0, 1.0])),
    ],
)
def test_scores_of_examples(returned: object) -> None:
    score = read(returned, 3)
    assert score.value == pytest.approx(2 / 3)
    assert score.stderr == pytest.approx(1 / 3)
    assert score.example_scores is not None
    assert score.example_scores.tolist() == [0.0, 1.0, 1.0]
    assert score.example_scores.dtype == np.float64


def test_the_scores_are_a_copy() -> None:
    mine = np.array([0.0, 1.0])
    score = read(mine, 2)
    mine[:] = 9
    assert score.example_scores is not None
    assert score.example_scores.tolist() == [0.0, 1.0]


def test_a_score_may_leave_examples_out_on_purpose() -> None:
    score = read(Score(1.0, 0.0, np.array([1.0, np.nan])), 2)
    assert score.example_scores is not None
    assert math.isnan(score.example_scores[1])


class Hostile:
    """Raises whenever it is looked at."""

    @property
    def shape(self) -> Any:
        raise RuntimeError("shape")

    @property
    def detach(self) -> Any:
        raise RuntimeError("detach")

    @override
    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __float__(self) -> float:
        raise RuntimeError("float")


BAD: list[tuple[object, int | None, str, str]] = [
    (None, None, "BadReturnValue", "NoneType"),
    ("0.9", None, "BadReturnValue", "'0.9'"),
    (True, None, "BadReturnValue", "bool"),
    (np.bool_(True), None, "BadReturnValue", "bool"),
    ({"accuracy": 0.9}, None, "BadReturnValue", "dict"),
    (1j, None, "BadReturnValue", "complex"),
    (float("nan"), None, "NonFiniteScore", "nan"),
    (float("inf"), None, "NonFiniteScore", "inf"),
    (10**400, None, "NonFiniteScore", "inf"),
    (torch.tensor(float("nan")), None, "NonFiniteScore", "nan"),
    ((0.5,), None, "BadReturnValue", "tuple of 1"),
    ((0.5, 0.1, 0.2), 3, "BadReturnValue", "tuple of 3"),
    ((0.5, -0.1), None, "BadReturnValue", "negative"),
    ((0.5, float("inf")), None, "NonFiniteScore", "standard error"),
    ((float("nan"), 0.1), None, "NonFiniteScore", "value"),
    (("a", 0.1), None, "BadReturnValue", "as the value"),
    ((0.5, None), None, "BadReturnValue", "as the standard error"),
    ([0.0, 1.0], 3, "BadReturnValue", "2 per-example scores for 3"),
    ([0.0, 1.0], None, "BadReturnValue", "declares no examples"),
    ([0.0, float("nan"), 1.0], 3, "NonFiniteScore", "example 1"),
    ([], 3, "BadReturnValue", "list"),
    ([[0.0], [1.0], [1.0]], 3, "BadReturnValue", "list"),
    ([0.0, "1", None], 3, "BadReturnValue", "list"),
    (np.zeros((3, 1)), 3, "BadReturnValue", r"\(3, 1\)"),
    (np.array(["a", "b", "c"]), 3, "BadReturnValue", "<U1"),
    (np.array([None, 1, 2]), 3, "BadReturnValue", "object"),
    (torch.zeros(3, 2), 3, "BadReturnValue", r"\(3, 2\)"),
    (Score(float("nan")), None, "NonFiniteScore", "nan"),
    (Score("high"), None, "BadReturnValue", "'high'"),  # type: ignore[arg-type]
    (Score(0.5, 0.1, np.array([0.5, np.inf])), 2, "NonFiniteScore", "example 1"),
    (Score(0.5, 0.1, np.zeros(4)), 2, "BadReturnValue", "4 per-example scores for 2"),
    (Hostile(), None, "BadReturnValue", "Hostile"),
    ([Hostile()], 1, "BadReturnValue", "list"),
]


@pytest.mark.parametrize(("returned", "n_examples", "error_class", "named"), BAD)
def test_everything_else_fails_the_candidate(
    returned: object, n_examples: int | None, error_class: str, named: str
) -> None:
    with pytest.raises(CandidateError, match=named) as caught:
        read(returned, n_examples)
    assert caught.value.error_class == error_class
    assert "'size'" in str(caught.value)


NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans(), st.complex_numbers())
MAKERS: list[Callable[[Any], object]] = [np.array, np.float32, torch.tensor, tuple, set, iter, Score, str]


def converted(value: Any, maker: Callable[[Any], object]) -> object:
    with suppress(Exception):
        return maker(value)
    return maker


JUNK = st.recursive(
    st.one_of(st.none(), NUMBERS, st.text(max_size=5), st.binary(max_size=5), st.builds(Hostile)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=3), inner, max_size=2),
        st.builds(converted, inner, st.sampled_from(MAKERS)),
        st.builds(Score, inner, inner, inner),
    ),
    max_leaves=5,
)


@settings(max_examples=500)
@given(returned=JUNK, n_examples=st.one_of(st.none(), st.integers(1, 4)))
def test_any_value_is_a_finite_score_or_a_failed_candidate(returned: object, n_examples: int | None) -> None:
    try:
        score = read(returned, n_examples)
    except CandidateError as error:
        assert error.error_class in ("BadReturnValue", "NonFiniteScore")  # noqa: PT017 - both outcomes are right
    else:
        assert math.isfinite(score.value)
        assert math.isnan(score.stderr) or score.stderr >= 0
        assert score.example_scores is None or score.example_scores.shape == (n_examples,)
