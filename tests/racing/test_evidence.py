"""The sequential test: its error rate under repeated looks, certainty, agreement with an independent computation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.racing.evidence import BETS, log_evidence

ERROR = 0.05


def by_hand(rival: list[float], seen: list[float], best: float, margin: float) -> float:
    """The evidence after all seen examples, written down example by example."""
    n_all, wealth, total = len(rival), [1.0] * len(BETS), 0.0
    for t, (m, y) in enumerate(zip(rival, seen, strict=False)):
        mean = (-margin * n_all - total) / (n_all - t)
        least = min(r - best for r in rival[t:])
        if mean <= least:
            return math.inf
        wealth = [w * (1 + b * (m - y - mean) / (mean - least)) for w, b in zip(wealth, BETS.tolist(), strict=True)]
        total += m - y
        if total + sum(r - best for r in rival[t + 1 :]) >= -margin * n_all:
            return math.inf
    return math.log(sum(wealth) / len(wealth))


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12),
    st.sampled_from([0.0, 0.0625, 0.25]),
)
def test_it_is_what_a_loop_computes(pairs: list[tuple[int, int]], margin: float) -> None:
    rival, scores = np.array(pairs, dtype=np.float64).T / 4
    for n in range(1, len(pairs) + 1):
        found = log_evidence(rival, scores[:n], 1.0, margin=margin)[-1]
        assert found == pytest.approx(by_hand(rival.tolist(), scores[:n].tolist(), 1.0, margin), abs=1e-9)


def worst(rival: NDArray[np.float64], candidate: NDArray[np.float64], orders: NDArray[np.int64]) -> float:
    """Fraction of the orders in which the evidence reaches the threshold at any time."""
    found = [(log_evidence(rival[o], candidate[o], 1.0) >= math.log(1 / ERROR)).any() for o in orders]
    return float(np.mean(found))


def test_over_all_orders_of_a_small_list_the_error_is_exactly_bounded() -> None:
    rival = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])
    for candidate in ([0, 0, 1, 1, 1, 1, 0], [0, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1, 1]):
        scores = np.array(candidate, dtype=np.float64)
        assert scores.mean() > rival.mean()  # the hypothesis is true
        orders = np.array(list(itertools.permutations(range(7))))
        assert worst(rival, scores, orders) <= ERROR


@pytest.mark.parametrize("accuracy", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", ["binary", "graded"])
def test_a_barely_better_candidate_is_rejected_no_more_often_than_the_error(accuracy: float, kind: str) -> None:
    rng = np.random.default_rng(7)
    n, repeats = 120, 2000
    rival = (rng.random(n) < accuracy).astype(np.float64)
    candidate = (rng.random(n) < accuracy).astype(np.float64)
    if kind == "graded":
        rival, candidate = rng.beta(2, 2, n) * rival, rng.beta(2, 2, n) * candidate
        candidate = np.clip(candidate + rival.mean() - candidate.mean() + 1e-3, 0, 1)
    while candidate.mean() <= rival.mean():  # examples turned right until it is better by as little as possible
        candidate[np.flatnonzero(candidate < 1)[0]] = 1.0
    orders = np.array([rng.permutation(n) for _ in range(repeats)])
    slack = 3 * math.sqrt(ERROR * (1 - ERROR) / repeats)  # three binomial standard errors
    assert worst(rival, candidate, orders) <= ERROR + slack


def test_certainty_comes_as_soon_as_the_rest_cannot_turn_it_and_not_before() -> None:
    rival, seen = np.array([1.0, 1.0, 1.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0, 1.0])
    found = log_evidence(rival, seen, 1.0)
    assert found[0] == np.inf  # one lost, and only the fourth example can be won back: a tie at best
    assert np.isinf(found[1:]).all()
    even = log_evidence(np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 1.0]), 1.0)
    assert np.isfinite(even).all()  # it ends better, so that nothing was ever certain


def test_a_full_list_is_decided_exactly() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        rival, candidate = rng.integers(0, 2, (2, 30)).astype(np.float64)
        assert np.isinf(log_evidence(rival, candidate, 1.0)[-1]) == (candidate.sum() <= rival.sum())


def test_evidence_grows_for_a_worse_candidate_and_is_there_long_before_the_end() -> None:
    rng = np.random.default_rng(2)
    rival, candidate = (rng.random((2, 2000)) < [[0.8], [0.6]]).astype(np.float64)
    evidence = log_evidence(rival, candidate, 1.0)
    assert np.argmax(evidence >= math.log(20)) < 200


def test_a_margin_asks_for_less() -> None:
    rng = np.random.default_rng(3)
    rival, candidate = (rng.random((2, 400)) < 0.7).astype(np.float64)
    plain, wide = (log_evidence(rival, candidate, 1.0, margin=m) for m in (0.0, 0.2))
    assert np.argmax(wide >= 3) < (np.argmax(plain >= 3) or 400)


def test_no_examples_are_no_evidence() -> None:
    assert log_evidence(np.ones(3), np.empty(0), 1.0).shape == (0,)
