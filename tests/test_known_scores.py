"""Looking scores up: equal to computing them, whichever part of the examples is asked for."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.candidate import Score
from searcher.errors import CandidateError
from searcher.known_scores import KnownScores
from searcher.recipe import Recipe
from searcher.score_cache import Examples, ScoreCache
from searcher.score_key import ScoreKeys


class Objective:
    """One score per example; counts how often it was computed."""

    name = "f"

    def __init__(self, factor: float = 1.0) -> None:
        self.values = np.random.default_rng(0).standard_normal(30)
        self.n_computed, self._factor = 0, factor

    def of_examples(self, example_scores: NDArray[np.float64]) -> Score:
        return Score.from_examples(example_scores)

    def compute(self, examples: Examples | None) -> Score:
        self.n_computed += 1
        found = self.of_examples(self.values[slice(None) if examples is None else examples].copy())
        return Score(found.value * self._factor, found.stderr, found.example_scores)


def recipe(coefficient: float = 1.0) -> Recipe:
    return Recipe("linear", ("low",), None, np.array([0, 4]), np.array([[coefficient]]))


def known_in(folder: Path, identity: dict[str, object] | None = None) -> KnownScores:
    return KnownScores(ScoreCache(folder), ScoreKeys({}, {"low": "1"}, "low", {"f": identity}))


def ask(known: KnownScores, objective: Objective, examples: Examples | None, *, keep: bool = True) -> Score:
    return known.score(recipe(), objective, examples, lambda: objective.compute(examples), keep=keep)


@pytest.mark.parametrize("examples", [slice(0, 20), slice(5, 9), np.array([2, 3, 17]), np.array([4])], ids=str)
def test_a_known_score_serves_every_part_of_its_examples(tmp_path: Path, examples: Examples) -> None:
    known, objective = known_in(tmp_path, {}), Objective()
    ask(known, objective, slice(0, 20))
    found = ask(known, objective, examples)
    assert objective.n_computed == 1
    expected = objective.compute(examples)
    np.testing.assert_array_equal([found.value, found.stderr], [expected.value, expected.stderr])
    np.testing.assert_array_equal(found.example_scores, expected.example_scores)
    assert (known.counts.hits, known.counts.misses, known.counts.rate) == (1, 1, 0.5)


@pytest.mark.parametrize("examples", [slice(0, 21), slice(25, 30), np.array([2, 20])], ids=str)
def test_what_is_not_covered_is_computed_and_then_known(tmp_path: Path, examples: Examples) -> None:
    known, objective = known_in(tmp_path, {}), Objective()
    ask(known, objective, slice(0, 20))
    for _ in range(3):
        ask(known, objective, examples)
    assert objective.n_computed == 2


def test_scores_that_are_not_joined_from_their_examples_serve_only_themselves(tmp_path: Path) -> None:
    known, objective = known_in(tmp_path, {}), Objective(factor=2.0)
    whole = ask(known, objective, slice(0, 20))
    assert ask(known, objective, slice(0, 20)).value == whole.value
    ask(known, objective, slice(0, 10))
    assert objective.n_computed == 2


def test_other_recipes_know_nothing(tmp_path: Path) -> None:
    known, objective = known_in(tmp_path, {}), Objective()
    ask(known, objective, slice(0, 20))
    known.score(recipe(0.5), objective, slice(0, 20), lambda: objective.compute(slice(0, 20)))
    assert objective.n_computed == 2


def test_blocks_are_looked_up_but_not_kept(tmp_path: Path) -> None:
    known, objective = known_in(tmp_path, {}), Objective()
    ask(known, objective, slice(0, 5), keep=False)
    ask(known, objective, slice(0, 5), keep=False)
    assert objective.n_computed == 2
    known.keep(recipe(), objective, slice(0, 10), objective.of_examples(objective.values[:10]))
    for block in (slice(0, 5), slice(5, 10)):
        ask(known, objective, block, keep=False)
    assert objective.n_computed == 2


def test_failures_and_numbers_that_are_none_are_not_kept(tmp_path: Path) -> None:
    known, objective = known_in(tmp_path, {}), Objective()

    def fail() -> Score:
        raise CandidateError("NonFiniteOutput", "broken")

    with pytest.raises(CandidateError):
        known.score(recipe(), objective, None, fail)
    for broken in (Score(math.nan), Score(math.inf), Score(0.5, math.inf)):
        known.score(recipe(), objective, None, lambda broken=broken: broken)  # type: ignore[misc]
    assert not list(tmp_path.rglob("*.all"))
    assert ask(known, objective, None).value == objective.compute(None).value


def test_objectives_that_are_never_kept_do_not_count(tmp_path: Path) -> None:
    known, objective = known_in(tmp_path), Objective()
    ask(known, objective, slice(0, 20))
    ask(known, objective, slice(0, 20))
    known.keep(recipe(), objective, None, Score(0.5))
    assert objective.n_computed == 2
    assert (known.counts.hits, known.counts.misses, known.counts.rate) == (0, 0, 0.0)
    assert list(tmp_path.iterdir()) == []
