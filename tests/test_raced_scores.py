"""Scoring block by block: the same scores as in one go, estimates for the stopped, what does not race."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Candidate, Evaluation, Score, Split
from searcher.errors import ConfigError
from searcher.evaluator import Evaluator
from searcher.merge.live_model import LiveModel
from searcher.racing.race import RaceSettings, Rival
from searcher.recipe import Recipe

CANDIDATE = Candidate(9, Recipe("linear", ("a",), None, np.array([0, 4]), np.array([[1.0]])))
SETTINGS = RaceSettings(block=10)
RNG = np.random.default_rng(0)
GOOD = (RNG.random(130) < 0.9).astype(np.float64)


class Engine:
    def build(self, recipe: Recipe) -> LiveModel:
        return LiveModel(torch.nn.Identity(), torch.ones(4))


class Objective:
    """Gives known example scores; the search examples are 100, from position 20."""

    direction: Literal["maximize", "minimize"] = "maximize"
    score_range: tuple[float, float] | None = (0.0, 1.0)
    n_examples: int | None = 130

    def __init__(self, name: str, scores: NDArray[np.float64]) -> None:
        self.name, self._scores = name, scores
        self.splits: dict[Split, slice] = {"search": slice(20, 120), "held_out": slice(120, 130)}
        self.asked: list[slice | None] = []

    def evaluate(self, model: LiveModel, examples: slice | None, seed: int) -> Score:
        self.asked.append(examples)
        return self.of_examples(self._scores[slice(None) if examples is None else examples])

    def of_examples(self, example_scores: NDArray[np.float64]) -> Score:
        return Score.from_examples(example_scores)


class Unbounded(Objective):
    direction: Literal["maximize", "minimize"] = "minimize"
    score_range = None


def front(*objectives: Objective) -> list[Rival]:
    """One rival whose scores are these objectives'."""
    model = Engine().build(CANDIDATE.recipe)
    return [Rival(3, {o.name: o.evaluate(model, o.splits.get("search"), 0) for o in objectives})]


def race(objectives: list[Objective], rivals: list[Rival]) -> Evaluation:
    return Evaluator(Engine(), objectives, seed=0).race(CANDIDATE, rivals, SETTINGS)


def test_a_candidate_that_is_not_stopped_has_the_scores_of_a_full_evaluation_bit_for_bit() -> None:
    graded = RNG.random(130)
    objectives = [Objective("x", graded), Objective("y", RNG.random(130))]
    rivals = front(Objective("x", graded * 0.99), Objective("y", RNG.random(130)))
    raced, full = race(objectives, rivals), Evaluator(Engine(), objectives, seed=0).evaluate(CANDIDATE)
    assert raced.stopped is None
    assert list(raced.scores) == list(full.scores)
    for name, score in full.scores.items():
        assert (raced.scores[name].value, raced.scores[name].stderr) == (score.value, score.stderr)
        np.testing.assert_array_equal(raced.scores[name].example_scores, score.example_scores)
    assert objectives[0].asked[:10] == [slice(a, a + 10) for a in range(20, 120, 10)]


def test_a_beaten_candidate_is_stopped_with_estimates() -> None:
    objectives = [Objective("x", np.zeros(130)), Objective("y", GOOD * 0.5)]
    rivals = front(Objective("x", GOOD), Objective("y", GOOD))
    found = race(objectives, rivals)
    assert found.error is None
    assert found.stopped is not None
    assert (found.stopped.reason, found.stopped.rival) == ("race", 3)
    n = found.stopped.scored["x"]
    assert 10 <= n < 60
    examples = found.scores["x"].example_scores
    assert examples is not None
    assert examples.shape == (100,)
    assert np.isnan(examples[n:]).all()
    assert not np.isnan(examples[:n]).any()
    assert found.scores["y"].value == pytest.approx(GOOD[20:120].mean() - 0.5 * GOOD[20 : 20 + n].mean())
    assert sum(s.stop - s.start for o in objectives for s in o.asked if s is not None) == 2 * n


def test_what_has_no_range_is_scored_in_full_first_and_can_open_the_race() -> None:
    rivals = front(Unbounded("loss", np.full(130, 2.0)), Objective("x", GOOD))
    for loss, is_stopped in ((3.0, True), (1.0, False)):
        objectives = [Objective("x", np.zeros(130)), Unbounded("loss", np.full(130, loss))]
        found = race(objectives, rivals)
        assert objectives[1].asked == [slice(20, 120)]
        assert (found.stopped is not None) == is_stopped
        assert list(found.scores) == ["x", "loss"]
        if not is_stopped:
            assert objectives[0].asked == [slice(20, 120)]  # no rival is left: no blocks


def test_without_rivals_or_ranges_there_is_no_race() -> None:
    objective = Objective("x", np.zeros(130))
    assert race([objective], []).stopped is None
    assert objective.asked == [slice(20, 120)]
    unbounded = Unbounded("loss", np.zeros(130))
    assert race([unbounded], front(unbounded)).stopped is None


def test_a_rival_whose_examples_do_not_explain_its_score_takes_no_part() -> None:
    class Weighted(Objective):
        @override
        def evaluate(self, model: LiveModel, examples: slice | None, seed: int) -> Score:
            score = super().evaluate(model, examples, seed)
            return Score(score.value + 1e-9, score.stderr, score.example_scores)

    objective = Weighted("x", np.zeros(130))
    assert race([objective], front(Weighted("x", GOOD))).stopped is None
    assert objective.asked == [slice(20, 120)]
    incomplete = Rival(1, {"x": Score.from_examples(np.full(100, math.nan))})
    assert race([Objective("x", np.zeros(130))], [incomplete]).stopped is None


def test_unscored_examples_end_the_race_and_not_the_scoring() -> None:
    scores = np.zeros(130)
    scores[24] = math.nan
    found = race([Objective("x", scores)], front(Objective("x", GOOD)))
    assert found.stopped is None
    assert found.scores["x"].value == 0.0


@pytest.mark.filterwarnings("ignore:invalid value")
def test_infinite_examples_fail_the_candidate() -> None:
    scores = np.zeros(130)
    scores[24] = math.inf
    assert race([Objective("x", scores)], front(Objective("x", GOOD))).error == "NonFiniteScore"


def test_a_wrong_range_and_missing_example_scores_are_faults_of_the_objective() -> None:
    class Bare(Objective):
        @override
        def evaluate(self, model: LiveModel, examples: slice | None, seed: int) -> Score:
            return Score(0.5)

    rivals = front(Objective("x", GOOD))
    for objective, what in (
        (Objective("x", np.full(130, 2.0)), "outside its range"),
        (Bare("x", GOOD), "no score for each"),
    ):
        with pytest.raises(ConfigError, match=what) as caught:
            race([objective], rivals)
        assert len(str(caught.value).splitlines()) == 3
