"""What every executor keeps, whatever it is: each candidate once, lazily, errors passed on."""

from __future__ import annotations

import pytest

from searcher.candidate import Candidate, Evaluation, Score
from searcher.executor.base import EXECUTORS, Executor
from searcher.storage import MemoryStorage
from searcher.study import Study
from tests.toy import OBJECTIVES, ToyEvaluator, baselines, content, make_space, make_study

NAMES = EXECUTORS.names()


def candidates(n: int) -> list[Candidate]:
    space = make_space()
    [(_, recipe), *_] = baselines()
    assert space.encode(recipe) is not None
    return [Candidate(number, recipe) for number in range(n)]


def score(candidate: Candidate) -> Evaluation:
    return Evaluation(candidate.number, "search", {"x": Score(candidate.number / 2)})


def refuse(candidate: Candidate) -> Evaluation:
    if candidate.number == 1:
        raise RuntimeError("the engine is gone")
    return score(candidate)


def test_there_is_an_executor() -> None:
    assert "serial" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_candidate_is_evaluated_once(name: str) -> None:
    executor = EXECUTORS.get(name)()
    assert isinstance(executor, Executor)
    assert executor.capacity >= 1
    for n in (0, 1, 5 * executor.capacity + 2):
        found = list(executor.map(score, candidates(n)))
        assert sorted((e.candidate, e.scores["x"].value) for e in found) == [(i, i / 2) for i in range(n)]


@pytest.mark.parametrize("name", NAMES)
def test_results_come_as_they_complete(name: str) -> None:
    """The first result is there before the last candidate is begun, so that a stopped run loses little."""
    executor, begun = EXECUTORS.get(name)(), list[int]()

    def noted(candidate: Candidate) -> Evaluation:
        begun.append(candidate.number)
        return score(candidate)

    results = executor.map(noted, candidates(3 * executor.capacity + 3))
    next(iter(results))
    assert len(begun) <= 2 * executor.capacity


@pytest.mark.parametrize("name", NAMES)
def test_what_the_evaluation_raises_reaches_the_caller(name: str) -> None:
    executor = EXECUTORS.get(name)()
    with pytest.raises(RuntimeError, match="the engine is gone"):
        list(executor.map(refuse, candidates(4)))
    assert len(list(executor.map(score, candidates(2)))) == 2  # and it can be used again


@pytest.mark.parametrize("name", NAMES)
def test_a_study_with_it_is_whole_and_replays(name: str) -> None:
    """Whatever the order of completion, the record holds every candidate and replays to itself."""
    storage = MemoryStorage()
    study = make_study(storage, n=30)
    study._executor = EXECUTORS.get(name)()
    assert study.run().n_searched == 30
    before = content(storage)
    evaluator = ToyEvaluator()
    again: Study = make_study(storage, n=30, evaluator=evaluator)
    again.run()
    assert content(storage) == before
    assert evaluator.scored == []
    assert {e.split for e in storage.evaluations()} == set(OBJECTIVES[0].n_examples)
