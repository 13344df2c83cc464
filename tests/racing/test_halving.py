"""Successive halving: rungs, who goes on, estimates, what is restored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Candidate, EarlyStop, Evaluation, Origin, Score
from searcher.evaluator import observe_recorded
from searcher.racing.halving import SuccessiveHalving
from searcher.recipe import Recipe

N = 90
RECIPE = Recipe("linear", ("a",), None, np.array([0, 1]), np.array([[1.0]]))


class Objective:
    """Has the example scores that are put into it."""

    def __init__(self, name: str = "x", n: int = N, direction: Literal["maximize", "minimize"] = "maximize") -> None:
        self.name, self.direction = name, direction
        self.splits = {"search": slice(5, 5 + n)} if n else {}
        self.value = 0.0
        self.examples: NDArray[np.float64] = np.zeros(n)
        self.asked: list[int] = []

    def of_examples(self, example_scores: NDArray[np.float64]) -> Score:
        return Score.from_examples(example_scores)

    def score(self, examples: slice | None) -> Score:
        if examples is None:
            return Score(self.value, 0.1)
        self.asked.append(examples.stop - examples.start)
        return self.of_examples(self.examples[examples.start - 5 : examples.stop - 5])


def candidate(number: int, origin: Origin = "strategy") -> Candidate:
    return Candidate(number, RECIPE, None, (), origin)


def answers(rng: np.random.Generator, share: float, n: int = N) -> NDArray[np.float64]:
    return (rng.random(n) < share).astype(float)


class Driver:
    """Scores candidates one after the other as an evaluator does."""

    def __init__(
        self,
        *objectives: Objective,
        first: int = 10,
        reduction: float = 3.0,
        by: Literal["front", "worst"] = "front",
    ) -> None:
        self.objectives = objectives
        self.halving = SuccessiveHalving(objectives, first=first, reduction=reduction, by=by)  # type: ignore[arg-type]
        self.found: dict[int, tuple[Mapping[str, Score], EarlyStop | None]] = {}

    def give(self, number: int, *values: Any, in_full: bool = False) -> tuple[Mapping[str, Score], EarlyStop | None]:
        for o, value in zip(self.objectives, values, strict=True):
            o.asked.clear()
            if o.splits:
                o.examples = np.asarray(value, dtype=np.float64)
            else:
                o.value = value
        found: tuple[Mapping[str, Score], EarlyStop | None]
        if in_full:
            found = ({o.name: o.score(o.splits.get("search")) for o in self.objectives}, None)
        else:
            found = self.halving.scores(self.objectives, lambda o, examples: o.score(examples))
        self.halving.observe(candidate(number, "baseline" if in_full else "strategy"), found[0])
        self.found[number] = found
        return found


def test_scores_of_whoever_is_not_stopped_are_full_ones() -> None:
    rng = np.random.default_rng(0)
    driver = Driver(Objective())
    for number in range(6):
        driver.give(number, answers(rng, 0.2), in_full=True)
    best = np.ones(N)
    scores, stopped = driver.give(6, best)
    assert stopped is None
    assert (scores["x"].value, scores["x"].stderr) == (1.0, Score.from_examples(best).stderr)
    assert driver.objectives[0].asked == [10, 20, 60]


def test_a_poor_candidate_is_left_on_the_first_rung() -> None:
    rng = np.random.default_rng(1)
    driver = Driver(Objective())
    for number in range(6):
        driver.give(number, answers(rng, 0.8), in_full=True)
    scores, stopped = driver.give(6, np.zeros(N))
    assert stopped is not None
    assert (stopped.reason, dict(stopped.scored)) == ("halving", {"x": 10})
    assert stopped.rival in range(6)
    assert np.isnan(scores["x"].example_scores).sum() == N - 10  # type: ignore[arg-type]


@pytest.mark.parametrize("by", ["front", "worst"])
def test_poor_baselines_make_nobody_look_good(by: Literal["front", "worst"]) -> None:
    rng = np.random.default_rng(3)
    driver = Driver(Objective(), Objective("y"), by=by)
    for number, share in enumerate([0.0, 0.1, 0.2, 0.1, 0.0, 0.8]):
        driver.give(number, answers(rng, share), answers(rng, share), in_full=True)
    middling = answers(rng, 0.5)
    assert driver.give(6, middling, middling)[1] is not None  # five baselines are worse, but the sixth is not
    assert driver.give(7, np.ones(N), np.ones(N))[1] is None


def test_estimates_are_moved_by_what_the_others_did_later() -> None:
    driver = Driver(Objective())
    hard_start = np.r_[np.zeros(5), np.ones(N - 5)]
    for number in range(4):
        driver.give(number, hard_start, in_full=True)
    scores, stopped = driver.give(4, np.zeros(N))
    assert stopped is not None
    assert scores["x"].value == pytest.approx(hard_start.mean() - 0.5)


def test_about_one_in_three_goes_on_when_all_are_alike() -> None:
    rng = np.random.default_rng(2)
    driver = Driver(Objective(n=270), first=30)
    for number in range(300):
        driver.give(number, answers(rng, rng.random(), 270))
    stops = [stop for _, stop in driver.found.values()]
    first = sum(stop is not None and stop.scored["x"] == 30 for stop in stops)
    full = sum(stop is None for stop in stops)
    assert 0.55 < first / 300 < 0.75
    assert full < 60
    shares = {n: s["x"].value for n, (s, _) in driver.found.items()}
    assert driver.found[max(shares, key=lambda n: shares[n])][1] is None


def test_two_objectives_go_on_by_rank() -> None:
    rng = np.random.default_rng(3)
    driver = Driver(Objective("a"), Objective("b", direction="minimize"), first=30)
    for number in range(9):
        driver.give(number, answers(rng, 0.5), answers(rng, 0.5), in_full=True)
    extreme = driver.give(9, np.ones(N), np.ones(N))[1]  # best at one, worst at the other: on the front
    both = driver.give(10, np.zeros(N), np.ones(N))[1]
    assert extreme is None
    assert both is not None


def test_by_the_worst_objective_extremes_are_left() -> None:
    rng = np.random.default_rng(3)
    driver = Driver(Objective("a"), Objective("b"), first=30, by="worst")
    for number in range(9):
        driver.give(number, answers(rng, 0.5), answers(rng, 0.5), in_full=True)
    scores, stopped = driver.give(9, np.ones(N), np.zeros(N))
    assert stopped is not None
    assert 0.0 <= scores["b"].value <= scores["a"].value
    assert driver.give(10, answers(rng, 0.9), answers(rng, 0.9))[1] is None


def test_estimates_stay_in_the_range_of_scores() -> None:
    objective = Objective()
    objective.score_range = (0.0, 1.0)  # type: ignore[attr-defined]
    driver = Driver(objective)
    for number in range(4):
        driver.give(number, np.r_[np.ones(20), np.zeros(N - 20)], in_full=True)
    scores, stopped = driver.give(4, np.zeros(N))
    assert stopped is not None
    assert scores["x"].value == 0.0


def test_what_examples_do_not_explain_is_scored_in_full() -> None:
    class Odd(Objective):
        @override
        def score(self, examples: slice | None) -> Score:
            found = super().score(examples)
            return Score(found.value**2, found.stderr, found.example_scores)

    rng = np.random.default_rng(4)
    odd, without = Odd("odd"), Objective("size", n=0, direction="minimize")
    driver = Driver(odd, without, Objective("x"))
    for number in range(6):
        driver.give(number, answers(rng, 0.8), 1.0, answers(rng, 0.8), in_full=True)
    _, stopped = driver.give(6, np.zeros(N), 2.0, np.zeros(N))
    assert stopped is not None
    assert dict(stopped.scored) == {"odd": N, "x": 10}
    assert odd.asked == [N]


def test_an_example_without_a_score_ends_the_halving_not_the_scoring() -> None:
    rng = np.random.default_rng(5)
    driver = Driver(Objective())
    for number in range(6):
        driver.give(number, answers(rng, 0.9), in_full=True)
    poor = np.zeros(N)
    poor[3] = np.nan
    scores, stopped = driver.give(6, poor)
    assert stopped is None
    assert scores["x"].value == 0.0


@given(st.integers(0, 2**32 - 1), st.integers(4, 120), st.floats(1.5, 8.0))
def test_restored_from_the_record_it_decides_the_same(seed: int, first: int, reduction: float) -> None:
    rng = np.random.default_rng(seed)
    values = [answers(rng, rng.random()) for _ in range(14)]
    whole = Driver(Objective(), first=first, reduction=reduction)
    for number, value in enumerate(values):
        whole.give(number, value, in_full=number < 3)
    again = Driver(Objective(), first=first, reduction=reduction)
    known = {n: found for n, found in whole.found.items() if n < 9}
    observe_recorded(
        again.halving,
        [candidate(n, "baseline" if n < 3 else "strategy") for n in known],
        [Evaluation(n, "search", scores, stopped=stop) for n, (scores, stop) in known.items()],
        lambda n: {"x": np.asarray(known[n][0]["x"].example_scores)},
    )
    for number in range(9, 14):
        again.give(number, values[number])
        assert again.found[number][1] == whole.found[number][1]
        assert again.found[number][0]["x"].value == whole.found[number][0]["x"].value
