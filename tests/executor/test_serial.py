"""What the serial executor adds to what every executor keeps: order, and no candidate begun before it is asked for."""

from __future__ import annotations

import threading

from searcher.candidate import Candidate, Evaluation
from searcher.executor.serial import Serial
from tests.executor.test_every_executor import candidates, score


def test_one_at_a_time_in_order_and_in_this_thread() -> None:
    begun: list[int] = []

    def noted(candidate: Candidate) -> Evaluation:
        assert threading.current_thread() is threading.main_thread()
        begun.append(candidate.number)
        return score(candidate)

    executor = Serial()
    assert executor.capacity == 1
    results = executor.map(noted, candidates(3)[::-1])
    assert begun == []
    for n_done, expected in enumerate((2, 1, 0), 1):
        assert next(results).candidate == expected
        assert len(begun) == n_done
