"""What is known of a run: front, reference point, hypervolume, what is reported, what strategies are told."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.candidate import Candidate, Evaluation, Score
from searcher.history import History, ObjectiveInfo
from searcher.multi_objective.dominance import dominates
from searcher.multi_objective.hypervolume import hypervolume
from tests.records import ACCURACY, COST, ERROR, GAIN, Row, candidate, evaluation, make_history, recipe

BOTH = (GAIN, COST)
COARSE = st.integers(0, 4).map(float)  # few values, so that ties are common
ROWS = st.lists(st.none() | st.tuples(COARSE, COARSE), min_size=1, max_size=25)


@pytest.mark.parametrize(
    ("objective", "baselines", "reference"),
    [
        (ACCURACY, [0.2, 0.9], 0.0),  # a fraction is bounded by 0 ...
        (ERROR, [0.2, 0.9], 1.0),  # ... or by 1 where less is better
        (GAIN, [2.0, 7.0], 1.5),  # a tenth of the range below the worst
        (GAIN, [-7.0, -2.0], -7.5),
        (COST, [2.0, 7.0], 7.5),
        (GAIN, [4.0, 4.0], 3.6),  # no range: a tenth of the value
        (COST, [4.0, 4.0], 4.4),
        (GAIN, [0.0, 0.0], -0.1),  # no range and no value
        (GAIN, [5.0], 4.5),
        (replace(ACCURACY, reference=0.3), [0.2, 0.9], 0.3),  # named in the config
        (replace(COST, reference=60.0), [2.0, 7.0], 60.0),
    ],
)
def test_the_reference_point_follows_from_the_baselines(
    objective: ObjectiveInfo, baselines: list[float], reference: float
) -> None:
    history = make_history([objective], [[b] for b in baselines], n_baselines=len(baselines))
    assert objective.sign * history.reference[0] == pytest.approx(reference, abs=1e-12)


def test_the_reference_point_is_fixed_once_all_baselines_are_scored() -> None:
    history = make_history([GAIN], [[2.0], [7.0], [-100.0], [100.0]], n_baselines=2)
    np.testing.assert_array_equal(history.reference, [1.5])


def test_failed_baselines_do_not_count_for_the_reference_point() -> None:
    history = make_history([GAIN], [[2.0], None, [7.0]], n_baselines=3)
    np.testing.assert_array_equal(history.reference, [1.5])


def test_there_is_no_front_before_all_baselines_have_been_tried() -> None:
    history = History(BOTH)
    for i in range(3):
        history.add_candidate(candidate(i, 3))
    assert not history.add_evaluation(evaluation(0, BOTH, (1.0, 1.0)))
    assert not history.add_evaluation(evaluation(1, BOTH, (2.0, 2.0)))
    assert not history.front
    assert history.hypervolume == 0.0
    np.testing.assert_array_equal(history.reference, [0.0, 0.0])
    assert history.add_evaluation(evaluation(2, BOTH, (0.0, 0.0)))
    assert history.front == (0, 1, 2)


def test_without_baselines_the_first_score_gives_the_reference_point() -> None:
    history = make_history([GAIN], [None, [2.0], [3.0]], n_baselines=0)
    np.testing.assert_allclose(history.reference, [1.8])
    assert history.front == (2,)
    assert history.hypervolume == pytest.approx(1.2)


def test_less_is_better_where_an_objective_says_so() -> None:
    history = make_history([COST], [[5.0], [3.0], [4.0], [2.0]])
    assert history.front == (3,)
    np.testing.assert_array_equal(history.fitness(3), [-2.0])
    assert history.hypervolume == pytest.approx(5.5 - 2.0)


def test_of_equal_candidates_the_earliest_stands_on_the_front() -> None:
    history = make_history(BOTH, [(1.0, 1.0), (2.0, 1.0), (2.0, 1.0), (3.0, 2.0), (3.0, 2.0)])
    assert history.front == (1, 3)


def test_what_changes_the_front_is_said() -> None:
    history = make_history(BOTH, [(1.0, 1.0)])
    rows: list[tuple[Row, bool]] = [((1.0, 1.0), False), ((2.0, 2.0), True), (None, False), ((2.0, 3.0), False)]
    for number, (row, changes) in enumerate(rows, start=1):
        history.add_candidate(candidate(number, 1))
        assert history.add_evaluation(evaluation(number, BOTH, row)) is changes
    assert not history.add_evaluation(evaluation(2, BOTH, (9.0, 0.0), "held_out"))
    assert history.front == (0, 2)
    assert history.n_searched == 5
    assert history.seconds == 3.0


def test_a_point_beyond_the_reference_is_on_the_front_but_adds_no_volume() -> None:
    history = make_history(BOTH, [(2.0, 2.0), (3.0, 99.0)])
    assert history.front == (0, 1)
    assert [n for n, _ in history.hypervolumes] == [1]


@given(ROWS, st.integers(0, 4))
def test_front_and_hypervolume_are_those_of_the_definition(rows: list[Row], n_baselines: int) -> None:
    n_baselines = min(n_baselines, len(rows))
    history = make_history(BOTH, rows, n_baselines=n_baselines)
    scored = {i: (row[0], -row[1]) for i, row in enumerate(rows) if row is not None}
    if not any(i >= n_baselines - 1 for i in scored):
        return  # the front begins with the first score once all baselines have been tried
    maxima = {f for f in scored.values() if not any(dominates(g, f) for g in scored.values())}
    assert history.front == tuple(sorted(min(i for i, f in scored.items() if f == g) for g in maxima))
    volume = hypervolume(np.array(sorted(maxima)), history.reference)
    assert history.hypervolume == pytest.approx(volume, rel=1e-12)
    volumes = [v for _, v in history.hypervolumes]
    assert volumes == sorted(volumes)
    assert all(history.evaluations[i, "search"].error is None for i in history.front)


@given(ROWS, st.integers(0, 4))
def test_records_in_one_go_and_one_by_one_give_the_same_history(rows: list[Row], n_baselines: int) -> None:
    """A running study adds candidates and evaluations in turn, a report reads all of them at once."""
    n_baselines = min(n_baselines, len(rows))
    at_once = make_history(BOTH, rows, n_baselines=n_baselines)
    step_by_step = History(BOTH)
    for number in range(n_baselines):
        step_by_step.add_candidate(candidate(number, n_baselines))
    for number, row in enumerate(rows):
        if number >= n_baselines:
            step_by_step.add_candidate(candidate(number, n_baselines))
        step_by_step.add_evaluation(evaluation(number, BOTH, row))
    for a, b in ((at_once, step_by_step), (step_by_step, at_once)):
        assert a.front == b.front
        assert a.hypervolumes == b.hypervolumes
        assert a.reported() == b.reported()
        assert (a.n_searched, a.seconds) == (b.n_searched, b.seconds)
        np.testing.assert_array_equal(a.reference, b.reference)
        assert [c.recipe for c in a.candidates] == [c.recipe for c in b.candidates]


def test_failures_have_no_fitness_and_are_told_as_such() -> None:
    history = make_history(BOTH, [(1.0, 1.0), None])
    assert history.fitness(1) is None
    trial = history.trial(1)
    assert trial.error == "NonFiniteWeights"
    assert trial.fitness is None
    assert trial.stderr is None
    assert trial.parents == (0,)


def test_a_trial_has_the_sign_of_the_fitness() -> None:
    history = History(BOTH)
    history.add_candidate(Candidate(0, recipe(0), np.array([0.25, 0.5]), (), "seed"))
    examples = {"gain": np.array([1.0, 3.0]), "cost": np.array([4.0, math.nan, 6.0])}
    scores = {name: Score.from_examples(values) for name, values in examples.items()}
    history.add_evaluation(Evaluation(0, "search", scores))
    trial = history.trial(0, examples)
    assert trial.fitness is not None
    assert trial.stderr is not None
    assert trial.genome is not None
    np.testing.assert_array_equal(trial.genome, [0.25, 0.5])
    np.testing.assert_array_equal(trial.fitness, [2.0, -5.0])
    np.testing.assert_allclose(trial.stderr, [1.0, 1.0])
    gain, cost = trial.example_scores
    np.testing.assert_array_equal(gain, [1.0, 3.0])
    np.testing.assert_array_equal(cost, [-4.0, math.nan, -6.0])
    np.testing.assert_array_equal(examples["cost"], [4.0, math.nan, 6.0])  # those of the record keep their sign
    trial.fitness[:] = 99.0  # a strategy that spoils what it was given does not spoil the record
    np.testing.assert_array_equal(history.fitness(0), [2.0, -5.0])


def test_only_examples_that_are_given_are_told() -> None:
    history = make_history(BOTH, [(1.0, 2.0)])
    assert history.trial(0).example_scores == (None, None)
    assert history.trial(0, {}).example_scores == (None, None)
    gain, cost = history.trial(0, {"cost": np.array([1.0, 3.0])}).example_scores
    assert gain is None
    np.testing.assert_array_equal(cost, [-1.0, -3.0])


def counted(*infos: ObjectiveInfo, search: int = 30, select: int = 10) -> tuple[ObjectiveInfo, ...]:
    return tuple(replace(o, n_examples={"search": search, "select": select}) for o in infos)


def test_without_select_scores_the_search_front_is_reported() -> None:
    history = make_history(BOTH, [(1.0, 1.0), (2.0, 2.0), (1.0, 3.0)])
    assert history.reported() == history.front == (0, 1)


@pytest.mark.parametrize(("gain", "kept"), [(3.0, (0, 1)), (2.0, (0, 1)), (-2.0, (0, 1)), (-2.1, (0,))])
def test_select_examples_weigh_by_their_number(gain: float, kept: tuple[int, ...]) -> None:
    """30 search and 10 select examples: 1 leads 0 by 2.0 gain there, and ties at 3/4 * 2.0 + 1/4 * (gain - 4.0) = 0."""
    objectives = counted(GAIN, COST)
    history = make_history(objectives, [(2.0, 1.0), (4.0, 1.5)], select={0: (4.0, 1.0), 1: (gain, 1.0)})
    assert history.reported() == (kept if gain != -2.0 else (0,))
    assert history.front == (0, 1)


def test_points_that_tie_on_all_examples_together_are_all_reported() -> None:
    objectives = counted(GAIN, COST, search=10, select=10)
    history = make_history(objectives, [(1.0, 1.0), (2.0, 2.0)], select={0: (2.0, 2.0), 1: (1.0, 1.0)})
    assert history.reported() == (0, 1)


def test_an_unfinished_retest_reports_the_search_front_and_a_failed_one_leaves_its_point_out() -> None:
    objectives = counted(GAIN, COST)
    rows: list[Row] = [(2.0, 1.0), (4.0, 1.5)]
    assert make_history(objectives, rows, select={1: (-9.0, 9.0)}).reported() == (0, 1)
    assert make_history(objectives, rows, select={0: None, 1: (-9.0, 9.0)}).reported() == (1,)
    assert make_history(objectives, rows, select={0: None, 1: None}).reported() == (0, 1)


def test_an_objective_without_select_examples_keeps_its_search_score() -> None:
    objectives = (*counted(GAIN), COST)  # cost has no examples at all
    history = make_history(objectives, [(2.0, 1.0), (4.0, 1.5)], select={0: (2.0, math.nan), 1: (-9.0, math.nan)})
    assert history.reported() == (0,)


def test_the_first_candidate_of_a_recipe_is_known_by_its_digest() -> None:
    history = History([GAIN])
    for number in range(3):
        history.add_candidate(Candidate(number, recipe(7)))
    digest = recipe(7).digest
    assert history.earlier(digest) is None
    for number in (0, 1):
        history.add_evaluation(evaluation(number, [GAIN], None if number == 0 else [1.0]))
        assert history.earlier(digest) == 0  # failures count: the same merge fails again
    assert history.earlier(recipe(8).digest) is None


def test_candidates_come_in_order() -> None:
    with pytest.raises(AssertionError):
        History([GAIN]).add_candidate(candidate(1, 0))


def test_an_objective_survives_json() -> None:
    for info in (GAIN, replace(COST, reference=3.0, target=1.0, n_examples={"search": 4})):
        assert ObjectiveInfo(**info.to_json()) == info
