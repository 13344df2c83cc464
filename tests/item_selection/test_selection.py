"""What an evaluator does with chosen examples: estimates behind the front, full scores on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.candidate import Candidate, EarlyStop, Evaluation, Origin, Score, Split
from searcher.errors import ConfigError
from searcher.evaluator import observe_recorded
from searcher.item_selection.selection import Examples, ItemSelection, estimated_score
from searcher.item_selection.subset import select_items
from searcher.recipe import Recipe
from tests.item_selection.test_subset import skills

Array = NDArray[np.float64]
N, OFFSET = 200, 10  # search examples, and how many come before them


class Objective:
    """A name, a direction and where the search examples lie."""

    def __init__(self, name: str, direction: Literal["maximize", "minimize"] = "maximize", n: int | None = N) -> None:
        self.name, self.direction = name, direction
        self.splits: Mapping[Split, slice] = {} if n is None else {"search": slice(OFFSET, OFFSET + n)}


def candidate(number: int, origin: Origin = "baseline", name: str = "") -> Candidate:
    return Candidate(
        number, Recipe("linear", ("a", "b"), None, np.array([0, 4]), np.ones((1, 2))), None, (), origin, name
    )


class Model:
    """Answers of a candidate, and a record of what was scored."""

    def __init__(self, answers: Mapping[str, Array], **other: float) -> None:
        self._answers, self._other = answers, other
        self.calls: list[tuple[str, Any]] = []

    def score(self, objective: Any, examples: Examples | None) -> Score:
        self.calls.append((objective.name, examples))
        if examples is None:
            return Score(self._other[objective.name], 0.1)
        padded = np.concatenate([np.full(OFFSET, 7.0), self._answers[objective.name]])  # 7: not of the search split
        return Score.from_examples(padded[examples])


def observed(
    objectives: list[Objective], n_baselines: int = 8, method: str = "anchors", **other: float
) -> ItemSelection:
    """A selection that has seen baselines with middling scores."""
    selection = ItemSelection(objectives, examples=40, method=method, seed=0)
    for number in range(n_baselines):
        scored = {o.name: Score.from_examples(answers(number)) for o in objectives if o.splits}
        scored |= {name: Score(value) for name, value in other.items()}
        selection.observe(candidate(number, name="ab"[number] if number < 2 else ""), scored)
    return selection


def answers(number: int) -> Array:
    return np.asarray(skills(20, N, 0)[number])


BAD, GOOD = np.zeros(N), np.ones(N)


def test_a_candidate_far_behind_the_front_is_scored_on_the_chosen_examples_only() -> None:
    objective = Objective("x")
    selection, model = observed([objective]), Model({"x": BAD})
    found, stopped = selection.scores([objective], model.score)
    score = found["x"]
    scored = np.concatenate([np.arange(N + OFFSET)[part] for _, part in model.calls])
    subset = selection.subset("x")
    assert subset is not None
    np.testing.assert_array_equal(scored, subset.indices + OFFSET)
    assert scored.size == 40
    assert score.example_scores is not None
    np.testing.assert_array_equal(np.flatnonzero(~np.isnan(score.example_scores)), subset.indices)
    assert score.value < 0.05
    assert 0 < score.stderr < 0.1
    assert stopped is not None
    assert (stopped.reason, stopped.scored) == ("items", {"x": 40})
    assert 0 <= stopped.rival < 8


def test_a_candidate_that_could_be_on_the_front_is_scored_in_full() -> None:
    objective = Objective("x")
    selection, model = observed([objective]), Model({"x": GOOD})
    found, stopped = selection.scores([objective], model.score)
    score = found["x"]
    assert stopped is None
    assert model.calls[-1] == ("x", slice(OFFSET, OFFSET + N))
    assert score.value == 1.0
    np.testing.assert_array_equal(score.example_scores, GOOD)


def test_what_is_minimised_is_good_when_it_is_small() -> None:
    objective = Objective("x", "minimize")
    selection = observed([objective])
    small, large = (selection.scores([objective], Model({"x": x}).score) for x in (BAD, GOOD))
    assert (small[0]["x"].value, small[1]) == (0.0, None)
    assert large[0]["x"].value > 0.9
    assert large[1] is not None


def test_one_good_objective_is_enough_for_a_full_score_of_all() -> None:
    both = [Objective("x"), Objective("y")]
    selection, model = observed(both), Model({"x": BAD, "y": GOOD})
    found, stopped = selection.scores(both, model.score)
    assert stopped is None
    assert [found[name].value for name in "xy"] == [0.0, 1.0]
    assert model.calls[-2:] == [("x", slice(OFFSET, OFFSET + N)), ("y", slice(OFFSET, OFFSET + N))]


def test_what_was_scored_in_full_raises_the_bar() -> None:
    objective = Objective("x")
    selection = observed([objective])
    selection.observe(candidate(99, "strategy"), {"x": Score.from_examples(GOOD)})
    _, stopped = selection.scores([objective], Model({"x": answers(0)}).score)
    assert stopped is not None
    assert stopped.rival in range(100)


def test_estimates_do_not_raise_the_bar_nor_choose() -> None:
    objective = Objective("x")
    selection = observed([objective])
    partial = np.where(np.arange(N) < 100, 1.0, np.nan)
    selection.observe(candidate(99), {"x": Score(1.0, 0.01, partial)})
    assert selection.scores([objective], Model({"x": GOOD}).score)[1] is None


def test_the_choice_depends_on_the_baselines_alone_and_is_made_once() -> None:
    objective = Objective("x")
    first, second = observed([objective]), observed([objective])
    second.observe(candidate(50, "strategy"), {"x": Score.from_examples(GOOD)})
    chosen, again = first.subset("x"), second.subset("x")
    assert chosen is not None
    assert again is not None
    np.testing.assert_array_equal(chosen.indices, again.indices)
    first.observe(candidate(51), {"x": Score.from_examples(GOOD)})
    assert first.subset("x") is chosen


def test_restored_from_a_record_it_chooses_and_judges_alike() -> None:
    objective = Objective("x")
    live = observed([objective])
    live.observe(candidate(8, "strategy"), {"x": Score.from_examples(answers(8))})
    candidates = [candidate(i, "baseline" if i < 8 else "strategy", "ab"[i] if i < 2 else "") for i in range(12)]
    scored = {i: Score.from_examples(answers(i)) for i in range(9)}
    record = [Evaluation(i, "search", {"x": Score(s.value, s.stderr)}) for i, s in scored.items()]
    record += [
        Evaluation(0, "held_out", {"x": Score(1.0)}),
        Evaluation(9, "search", error="NonFiniteWeights"),
        Evaluation(10, "search", {"x": Score(1.0)}, copied_from=3),
        Evaluation(11, "search", {"x": Score(1.0)}, stopped=EarlyStop("items", {"x": 40}, 0)),
    ]
    stored = {i: {"x": s.example_scores} for i, s in scored.items()} | {
        11: {"x": np.where(np.arange(N) < 9, 1, np.nan)}
    }
    restored = ItemSelection([objective], examples=40, method="anchors", seed=0)
    observe_recorded(restored, candidates, record, lambda number: stored[number])  # type: ignore[arg-type,return-value]
    for number in range(9, 20):
        (found, stopped), (again, stopped_again) = (
            s.scores([objective], Model({"x": answers(number)}).score) for s in (live, restored)
        )
        assert stopped == stopped_again
        a, b = found["x"], again["x"]
        assert (a.value, a.stderr) == (b.value, b.stderr)
        np.testing.assert_array_equal(a.example_scores, b.example_scores)


def test_objectives_that_cannot_be_estimated_are_scored_in_full() -> None:
    objectives = [Objective("small", n=40), Objective("none", n=None), Objective("ratio"), Objective("x")]
    selection = ItemSelection(objectives, examples=40, method="anchors", seed=0)
    for number in range(6):
        values = answers(number)
        selection.observe(
            candidate(number),
            {
                "small": Score.from_examples(values[:40]),
                "none": Score(3.0),
                "ratio": Score(math.exp(values.mean()), 0.1, values),  # no mean of its examples
                "x": Score.from_examples(values),
            },
        )
    assert [selection.subset(o.name) is None for o in objectives] == [True, True, True, False]
    model = Model({"small": BAD[:40], "ratio": BAD, "x": BAD}, none=1.0)
    found, stopped = selection.scores(objectives, model.score)
    assert stopped is not None
    assert stopped.scored == {"small": 40, "ratio": N, "x": 40}
    assert [call for call in model.calls if call[0] != "x"] == [
        ("small", slice(OFFSET, OFFSET + 40)),
        ("none", None),
        ("ratio", slice(OFFSET, OFFSET + N)),
    ]
    assert found["none"].value == 1.0


def test_an_objective_that_takes_indices_is_called_once() -> None:
    objective = Objective("x")
    objective.takes_indices = True  # type: ignore[attr-defined]
    selection, model = observed([objective]), Model({"x": BAD})
    selection.scores([objective], model.score)
    [(_, examples)] = model.calls
    subset = selection.subset("x")
    assert subset is not None
    np.testing.assert_array_equal(examples, subset.indices + OFFSET)


def test_an_example_without_a_score_makes_a_full_score() -> None:
    objective = Objective("x")
    selection = observed([objective])
    subset = selection.subset("x")
    assert subset is not None
    holed = BAD.copy()
    holed[subset.indices[3]] = np.nan
    model = Model({"x": holed})
    selection.scores([objective], model.score)
    assert model.calls[-1] == ("x", slice(OFFSET, OFFSET + N))


def test_without_baselines_examples_are_drawn_at_random_and_all_is_promising() -> None:
    objective = Objective("x")
    selection = ItemSelection([objective], examples=40, method="irt", seed=0)
    found, stopped = selection.scores([objective], Model({"x": BAD}).score)
    assert (found["x"].value, stopped) == (0.0, None)


def test_item_response_theory_needs_answers_between_0_and_1() -> None:
    objective = Objective("x")
    selection = ItemSelection([objective], examples=40, method="irt", seed=0)
    selection.observe(candidate(0), {"x": Score.from_examples(np.linspace(-1, 3, N))})
    with pytest.raises(ConfigError, match="go from -1 to 3"):
        selection.subset("x")


def test_per_example_scores_are_needed() -> None:
    objective = Objective("x")
    selection = observed([objective])
    with pytest.raises(ConfigError, match="no per-example scores"):
        selection.scores([objective], lambda o, e: Score(0.5))


def test_an_estimated_score_joins_both_errors() -> None:
    responses = skills(9, 100, 0)
    subset = select_items(responses[:8], 25)
    found = responses[8][subset.indices]
    score = estimated_score(subset, found)
    value, error = subset.estimate(found)
    assert score.value == pytest.approx(value)
    assert error < score.stderr < math.hypot(error, 0.06)
    graded = estimated_score(subset, found + 0.5)
    assert graded.value == pytest.approx(value + 0.5)
    assert graded.stderr > subset.estimate(found + 0.5)[1]


def test_an_estimated_fraction_stays_one() -> None:
    subset = select_items(skills(8, 100, 0), 25)
    for found in (np.zeros(25), np.ones(25)):
        assert 0 <= estimated_score(subset, found).value <= 1
