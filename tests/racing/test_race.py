"""Races: blocks that keep pace, who is beaten by whom, the error rate over a whole front."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.candidate import Score
from searcher.racing.race import Lane, Race, RaceSettings, Rival

Examples = dict[str, NDArray[np.float64]]


def rival(number: int, **examples: NDArray[np.float64]) -> Rival:
    return Rival(number, {name: Score.from_examples(values) for name, values in examples.items()})


def lanes(*sizes: int, sign: float = 1.0) -> list[Lane]:
    return [Lane("xyz"[i], sign, (0.0, 1.0), n) for i, n in enumerate(sizes)]


def stopped_at(race: Race, examples: Examples) -> int | None:
    """Index of the look at which the candidate is beaten, None if it is not before the last."""
    for i, reached in enumerate(list(race.blocks())[:-1]):
        if race.beaten_by({name: examples[name][:n] for name, n in reached.items()}, {}) is not None:
            return i
    return None


@given(st.integers(1, 70), st.lists(st.integers(1, 200), min_size=1, max_size=3))
def test_blocks_keep_pace_and_end_with_everything(block: int, sizes: list[int]) -> None:
    made = lanes(*sizes)
    front = [rival(0, **{lane.name: np.ones(lane.n_examples) for lane in made})]
    looks = [list(r.values()) for r in Race(front, made, {}, RaceSettings(block=block)).blocks()]
    assert looks[-1] == sizes
    assert len(looks) == -(-max(sizes) // block)
    for before, after in itertools.pairwise(looks):
        assert all(a <= b for a, b in zip(before, after, strict=True))
        shares = [n / size for n, size in zip(before, sizes, strict=True)]
        assert all(share - min(shares) <= 1 / size for share, size in zip(shares, sizes, strict=True))


def test_a_candidate_that_is_hopeless_everywhere_stops_early() -> None:
    front = [rival(3, x=np.ones(300), y=np.ones(150)), rival(5, x=np.zeros(300), y=np.zeros(150))]
    race = Race(front, lanes(300, 150), {}, RaceSettings())
    assert stopped_at(race, {"x": np.zeros(300), "y": np.zeros(150)}) == 0
    found = race.beaten_by({"x": np.zeros(32), "y": np.zeros(16)}, {})
    assert found is not None
    assert found.number == 3


def test_one_good_objective_keeps_it_running() -> None:
    rng = np.random.default_rng(0)
    front = [rival(3, x=np.ones(300), y=(rng.random(300) < 0.5).astype(np.float64))]
    race = Race(front, lanes(300, 300), {}, RaceSettings())
    assert stopped_at(race, {"x": np.zeros(300), "y": np.ones(300)}) is None


def test_directions_are_kept_apart() -> None:
    front = [rival(0, x=np.zeros(200))]
    losing, winning = np.full(200, 0.9), np.zeros(200)
    assert stopped_at(Race(front, lanes(200, sign=-1.0), {}, RaceSettings()), {"x": losing}) is not None
    assert stopped_at(Race(front, lanes(200), {}, RaceSettings()), {"x": losing}) is None
    assert stopped_at(Race(front, lanes(200, sign=-1.0), {}, RaceSettings()), {"x": winning}) is not None  # an equal


def test_a_full_score_that_is_better_excludes_a_rival() -> None:
    front = [Rival(0, {"x": Score.from_examples(np.ones(200)), "size": Score(10.0)})]
    race = Race(front, lanes(200), {"size": -1.0}, RaceSettings())
    seen = {"x": np.zeros(64)}
    assert race.beaten_by(seen, {"size": Score(11.0)}) is not None
    assert race.beaten_by(seen, {"size": Score(9.0)}) is None
    assert race.is_open({"size": Score(10.0)})
    assert not race.is_open({"size": Score(9.0)})


@pytest.mark.parametrize("n_rivals", [1, 6])
@pytest.mark.parametrize("sizes", [(90,), (90, 60)])
def test_candidates_that_would_reach_the_front_are_stopped_no_more_often_than_the_error(
    n_rivals: int, sizes: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(11)
    error, repeats, n_stopped, n_races = 0.2, 500, 0, 0
    front_scores = [{"xyz"[i]: (rng.random(n) < 0.6).astype(np.float64) for i, n in enumerate(sizes)}] * n_rivals
    front_scores = [{k: rng.permutation(v) for k, v in scores.items()} for scores in front_scores]
    candidate = {"x": front_scores[0]["x"].copy(), "y": np.zeros(sizes[-1])}  # better in x alone, by one example
    candidate["x"][np.flatnonzero(candidate["x"] == 0)[0]] = 1.0
    candidate = {name: rng.permutation(candidate[name]) for name in "xy"[: len(sizes)]}
    for _ in range(repeats):
        orders = {name: rng.permutation(values.size) for name, values in candidate.items()}
        front = [rival(i, **{k: v[orders[k]] for k, v in scores.items()}) for i, scores in enumerate(front_scores)]
        race = Race(front, lanes(*sizes), {}, RaceSettings(error, 10))
        n_stopped += stopped_at(race, {k: v[orders[k]] for k, v in candidate.items()}) is not None
        n_races += 1
    assert n_stopped / n_races <= error + 3 * math.sqrt(error * (1 - error) / n_races)


@given(st.integers(0, 2**32 - 1))
def test_the_decision_does_not_depend_on_the_order_of_the_rivals(seed: int) -> None:
    rng = np.random.default_rng(seed)
    front = [rival(i, x=(rng.random(80) < p).astype(np.float64)) for i, p in enumerate((0.5, 0.7, 0.9))]
    examples = {"x": (rng.random(80) < 0.4).astype(np.float64)}
    first, second = (Race(f, lanes(80), {}, RaceSettings(block=8)) for f in (front, front[::-1]))
    assert stopped_at(first, examples) == stopped_at(second, examples)
