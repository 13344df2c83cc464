"""The bandit of a portfolio: posterior, forgetting, credit."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.candidate import Trial
from searcher.multi_objective.hypervolume import hypervolume
from searcher.strategies.bandit import DiscountedThompson, ImprovementCredit


def test_posterior_is_the_discounted_count() -> None:
    bandit = DiscountedThompson(2, 0.5, np.random.default_rng(0))
    assert bandit.means.tolist() == [0.5, 0.5]
    bandit.reward(0, 1.0)
    bandit.reward(1, 0.25)
    gains, losses = [0.5, 0.25], [0.0, 0.75]
    np.testing.assert_allclose(bandit.means, [(1 + g) / (2 + g + b) for g, b in zip(gains, losses, strict=True)])


@pytest.mark.parametrize("rates", [(0.8, 0.2), (0.1, 0.6)])
def test_the_better_arm_is_tried_more(rates: tuple[float, float]) -> None:
    rng = np.random.default_rng(1)
    bandit = DiscountedThompson(2, 0.98, np.random.default_rng(0))
    counts = [0, 0]
    for _ in range(400):
        arm = bandit.choose()
        counts[arm] += 1
        bandit.reward(arm, float(rng.random() < rates[arm]))
    best = int(np.argmax(rates))
    assert counts[best] > 280
    assert counts[1 - best] > 5  # never given up


def test_a_change_is_noticed() -> None:
    bandit = DiscountedThompson(2, 0.95, np.random.default_rng(0))
    late = 0
    for step in range(400):
        arm = bandit.choose()
        bandit.reward(arm, float(arm == (step >= 200)))
        late += arm if step >= 300 else 0
    assert late > 80


def trial(*fitness: float, is_estimate: bool = False) -> Trial:
    return Trial(0, np.zeros(1), (), np.array(fitness), is_estimate=is_estimate)


def test_credit_is_the_share_of_results_that_added_less() -> None:
    credit = ImprovementCredit(2)
    assert credit.of(trial(1.0, 1.0)) == 0.0  # nothing to compare with
    for _ in range(19):
        assert credit.of(trial(0.0, 0.0)) == 0.0
    assert credit.of(trial(1.5, 1.5)) == 19 / 20  # the first result counts 1
    nothing = (trial(1.5, 1.5), trial(1.0, 1.0), trial(np.nan, 1.0), trial(9.0, 9.0, is_estimate=True), Trial(0, None))
    assert [credit.of(result) for result in nothing] == [0.0] * 5


def test_with_one_objective_what_joins_the_ten_best_adds_its_lead_over_the_worst_of_them() -> None:
    credit = ImprovementCredit(1)
    for value in range(12):
        credit.of(trial(float(value)))
    assert credit._best == [float(value) for value in range(2, 12)]
    gains = [credit._gain(result) for result in (trial(2.5), trial(2.5), trial(1.0), trial(20.0), trial(3.25))]
    assert gains == [0.5, 0.0, 0.0, 17.5, 0.25]


def test_credit_of_several_objectives_is_hypervolume_in_units_of_the_front() -> None:
    credit = ImprovementCredit(2)
    for corner in ((1000.0, 0.0), (0.0, 1.0)):
        credit.of(trial(*corner))
    first, second = credit._gain(trial(600.0, 0.6)), credit._gain(trial(800.0, 0.2))
    front, low = [[1.0, 0.0], [0.0, 1.0]], [-0.1, -0.1]
    volumes = [hypervolume(front + more, low) for more in ([], [[0.6, 0.6]], [[0.6, 0.6], [0.8, 0.2]])]
    np.testing.assert_allclose([first, second], np.diff(volumes))
    assert credit.of(trial(600.0, 0.6)) == 0.0  # known already


def test_credit_beyond_five_objectives_is_for_entering_the_front() -> None:
    credit = ImprovementCredit(6)
    for _ in range(2):
        credit.of(trial(*np.zeros(6)))
    assert credit.of(trial(-1.0, 1e-9, *np.zeros(4))) == 0.5
    assert credit.of(trial(*np.full(6, -1.0))) == 0.0
