"""Scoring one candidate: gates before objectives, failures with a class, splits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import SPLITS, Candidate, Score, Split
from searcher.errors import CandidateError, ConfigError, PoolError
from searcher.evaluator import Evaluator
from searcher.merge.live_model import LiveModel
from searcher.recipe import Recipe

CANDIDATE = Candidate(7, Recipe("linear", ("a",), None, np.array([0, 4]), np.array([[1.0]])))
THREE: dict[Split, slice] = {"search": slice(0, 6), "select": slice(6, 7), "held_out": slice(7, 10)}


class Engine:
    """Builds a model of four weights, or raises."""

    def __init__(self, *weights: float, error: BaseException | None = None, dtype: torch.dtype = torch.float32) -> None:
        self._weights = torch.tensor(weights or (1.0, 2.0, 3.0, 4.0), dtype=dtype)
        self._error = error

    def build(self, recipe: Recipe) -> LiveModel:
        assert recipe == CANDIDATE.recipe
        if self._error is not None:
            raise self._error
        return LiveModel(torch.nn.Identity(), self._weights)


class Objective:
    """Returns a value, or raises; notes how it was called."""

    n_examples = 10
    direction: Literal["maximize", "minimize"] = "maximize"

    def __init__(
        self,
        name: str = "x",
        result: float | BaseException = 0.5,
        splits: Mapping[Split, slice] = THREE,
    ) -> None:
        self.name, self.splits, self._result = name, splits, result
        self.calls: list[tuple[slice | None, int]] = []

    def evaluate(self, model: LiveModel, examples: slice | None, seed: int) -> Score:
        self.calls.append((examples, seed))
        if isinstance(self._result, BaseException):
            raise self._result
        return Score(self._result, 0.1)

    def of_examples(self, example_scores: NDArray[np.float64]) -> Score:
        return Score.from_examples(example_scores)


def test_all_objectives_are_scored_on_the_examples_of_the_split_with_the_same_seed() -> None:
    first, second = Objective("first", 0.25), Objective("second", -3.0)
    found = Evaluator(Engine(), [first, second], seed=11).evaluate(CANDIDATE)
    assert (found.candidate, found.split, found.error, found.message) == (7, "search", None, "")
    assert {name: score.value for name, score in found.scores.items()} == {"first": 0.25, "second": -3.0}
    assert first.calls == second.calls == [(slice(0, 6), 11)]
    assert found.seconds > 0


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_that_are_not_finite_fail_before_any_objective_is_called(broken: float, dtype: torch.dtype) -> None:
    objective = Objective()
    evaluator = Evaluator(Engine(1.0, broken, 2.0, broken, dtype=dtype), [objective], seed=0)
    for split in SPLITS:
        found = evaluator.evaluate(CANDIDATE, split)
        assert found.error == "NonFiniteWeights"
        assert found.message.startswith("2 merged weights")
        assert found.scores == {}
    assert objective.calls == []


class OutOfMemoryError(RuntimeError):
    """Has the name of torch's, which cannot be raised without a device."""


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (CandidateError("ZeroWeightSum", "the coefficients sum to 0"), "ZeroWeightSum", "the coefficients sum to 0"),
        (MemoryError(), "OutOfMemory", "host memory"),
        (MemoryError("4 GiB"), "OutOfMemory", "4 GiB"),
        (OutOfMemoryError("CUDA out of memory"), "OutOfMemory", "CUDA out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "OutOfMemory", "CUDA out of memory"),
        (ValueError("bad"), "ValueError", "bad"),
        (KeyError("x"), "KeyError", "'x'"),
        (RecursionError("deep"), "RecursionError", "deep"),
        (AssertionError(), "AssertionError", ""),
        (StopIteration(), "StopIteration", ""),
    ],
)
@pytest.mark.parametrize("place", ["engine", "objective"])
def test_whatever_goes_wrong_is_a_failure_with_a_class(
    error: BaseException, kind: str, message: str, place: str
) -> None:
    engine = Engine(error=error) if place == "engine" else Engine()
    objectives = [Objective("fine"), Objective("x", error if place == "objective" else 0.5)]
    found = Evaluator(engine, objectives, seed=0).evaluate(CANDIDATE)
    assert (found.error, found.message) == (kind, message)
    assert found.scores == {}  # not even those that were there before the failure


@pytest.mark.parametrize("place", ["engine", "objective"])
@pytest.mark.parametrize(
    "error", [PoolError("gone", where="x", fix="y"), ConfigError("wrong", where="x", fix="y"), KeyboardInterrupt()]
)
def test_faults_that_are_not_the_candidates_stop_the_run(error: BaseException, place: str) -> None:
    engine = Engine(error=error) if place == "engine" else Engine()
    with pytest.raises(type(error)):
        Evaluator(engine, [Objective("x", error)], seed=0).evaluate(CANDIDATE)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_finite_fails_the_candidate(value: float) -> None:
    found = Evaluator(Engine(), [Objective("fine"), Objective("odd", value)], seed=0).evaluate(CANDIDATE)
    assert found.error == "NonFiniteScore"
    assert "'odd'" in found.message
    assert found.scores == {}


def test_an_unknown_standard_error_is_no_failure() -> None:
    class Bare(Objective):
        @override
        def evaluate(self, model: LiveModel, examples: slice | None, seed: int) -> Score:
            return Score(0.5)

    found = Evaluator(Engine(), [Bare()], seed=0).evaluate(CANDIDATE)
    assert found.error is None
    assert math.isnan(found.scores["x"].stderr)


def test_long_messages_are_cut() -> None:
    found = Evaluator(Engine(error=ValueError("x" * 10_000)), [], seed=0).evaluate(CANDIDATE)
    assert found.message == "x" * 2000


def test_each_split_scores_the_objectives_that_have_it() -> None:
    everywhere, search_only = Objective("everywhere"), Objective("search_only", splits={"search": slice(0, 10)})
    without = Objective("without", splits={})
    evaluator = Evaluator(Engine(), [everywhere, search_only, without], seed=0)
    assert evaluator.splits == SPLITS
    scored = {split: set(evaluator.evaluate(CANDIDATE, split).scores) for split in SPLITS}
    assert scored == {
        "search": {"everywhere", "search_only", "without"},
        "select": {"everywhere"},
        "held_out": {"everywhere"},
    }
    assert everywhere.calls == [(examples, 0) for examples in THREE.values()]
    assert without.calls == [(None, 0)]  # once: an objective without examples has nothing to hold out


@pytest.mark.parametrize(
    ("objectives", "splits"),
    [
        ([{}], ("search",)),
        ([{"search": slice(0, 1)}, {"search": slice(0, 1), "held_out": slice(1, 2)}], ("search", "held_out")),
        ([{}, {"search": slice(0, 1), "select": slice(1, 2)}], ("search", "select")),
    ],
)
def test_splits_are_those_of_any_objective_and_always_search(
    objectives: list[dict[Split, slice]], splits: tuple[Split, ...]
) -> None:
    made = [Objective(str(i), splits=cast(Mapping[Split, slice], s)) for i, s in enumerate(objectives)]
    assert Evaluator(Engine(), made, seed=0).splits == splits
