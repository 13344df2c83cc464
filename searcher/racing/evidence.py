"""Evidence, example by example, that one model's mean score is not below another's over a finite list of examples.

A sequential test of paired differences, valid however often it is looked at. The examples are a finite list in
random order, and the statement is about the mean over the whole list, so that the evidence becomes certainty when
the rest of the list can no longer change the answer.

Reference: Waudby-Smith and Ramdas 2023, Estimating means of bounded random variables by betting, section 5
(sampling without replacement); the mixture over a fixed grid of bets is their section 4.3, with weights that do
not depend on the data. Unlike there, the lowest possible difference is not one constant: all scores of the rival
are known, so what an example can still win is the best possible score less the rival's own.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

BETS: NDArray[np.float64] = np.array([0.05, 0.1, 0.2, 0.4, 0.8])
"""Shares of the largest admissible bet; the test needs about the same number of examples for any such grid."""


def log_evidence(
    rival: NDArray[np.float64], seen: NDArray[np.float64], best: float, *, margin: float = 0.0
) -> NDArray[np.float64]:
    """Logarithm of a test martingale after each example.

    The hypothesis is that the candidate's mean over all ``N`` examples exceeds the rival's by more than ``margin``.
    While it is true and the order of the examples is random, the probability that the evidence *ever* reaches
    ``log(1 / error)`` is at most ``error`` (Ville's inequality). The cost is O(N).

    Args:
        rival: The rival's score on every example, larger is better, in the common order, shape ``(N,)``.
        seen: The candidate's scores on the first ``n`` of them, shape ``(n,)``, ``n <= N``.
        best: The best score an example can have; the rival's are at most this.
        margin: By how much the candidate's mean must exceed the rival's to count as better, in units of the score.

    Returns:
        Shape ``(n,)``: entry ``t`` is the evidence after ``t + 1`` examples, infinite where the hypothesis has
        become impossible.
    """
    n, n_all = seen.size, rival.size
    differences = rival[:n] - seen
    lowest = rival - best  # what a difference is at least
    total = np.cumsum(differences)
    before = np.concatenate(([0.0], total[:-1])) if n else total
    # Under the hypothesis all differences sum to less than -margin * N: those to come have at most this mean.
    mean = (-margin * n_all - before) / (n_all - np.arange(n))
    least = np.minimum.accumulate(lowest[::-1])[::-1][:n]  # of any example from here on
    room = mean - least
    is_possible = room > 0
    stake = np.divide(differences - mean, room, out=np.zeros(n), where=is_possible)
    wealth = np.cumsum(np.log1p(BETS[:, None] * np.maximum(stake, -1.0)), axis=1)  # (n_bets, n)
    evidence = np.logaddexp.reduce(wealth, axis=0) - math.log(BETS.size)
    to_come = np.cumsum(lowest[::-1])[::-1]
    rest = np.append(to_come, 0.0)[1 : n + 1]  # sum of the lowest differences after each example
    is_certain = (total + rest >= -margin * n_all) | ~is_possible
    return np.where(np.maximum.accumulate(is_certain), np.inf, evidence)
