from __future__ import annotations

import numpy as np
import pytest

from searcher.errors import CandidateError
from searcher.merge.operators.aggregation import elected, summed
from searcher.merge.operators.sparsity import Sparsified
from searcher.merge.plan import KeepAll


def factors(*values: float) -> Sparsified:
    return Sparsified(lambda used: KeepAll(), lambda k: values[k])


def test_scalars_are_multiplied_beforehand() -> None:
    plan = summed((1.0, 2.0, 4.0), factors(1.0, 0.5, 0.0), "paper", lambda_=3.0, normalize=False)
    assert plan.used == (0, 1)
    assert plan.scales.tolist() == [[3.0, 3.0]]
    assert (plan.factor.tolist(), plan.origin.tolist()) == ([1.0], [1.0])  # type: ignore[union-attr]


def test_normalized_by_all_coefficients() -> None:
    plan = summed((1.0, 2.0, 5.0), factors(1.0, 1.0, 0.0), "paper", lambda_=1.0, normalize=True)
    assert plan.scales.tolist() == [[0.125, 0.25]]


def test_only_mergekit_goes_on_without_a_divisor() -> None:
    with pytest.raises(CandidateError, match="sum to"):
        summed((1.0, -1.0), factors(1.0, 1.0), "paper", lambda_=1.0, normalize=True)
    plan = summed((1.0, -1.0), factors(1.0, 1.0), "mergekit", lambda_=1.0, normalize=True)
    assert plan.scales.tolist() == [[1.0, -1.0]]


@pytest.mark.parametrize(
    ("convention", "normalize", "average"),
    [
        ("paper", True, "agreeing"),
        ("mergekit", True, "agreeing_signed"),
        ("paper", False, "agreeing_sum"),
        ("mergekit", False, "agreeing_sum"),
    ],
)
def test_divisors(convention: str, normalize: bool, average: str) -> None:
    plan = elected(
        (1.0, -2.0), factors(1.0, 3.0), convention, lambda_=0.5, vote="unweighted", normalize=normalize  # type: ignore[arg-type]
    )  # fmt: skip
    assert (plan.average, plan.vote, plan.zero_sign) == (average, "unweighted", 1.0)
    assert plan.scales.tolist() == [[1.0, -6.0]]
    assert plan.weights.tolist() == [1.0, -2.0]  # without the factors
    assert plan.factor.tolist() == [0.5]


def test_factors_of_models_left_out_are_not_asked_for() -> None:
    def factor(k: int) -> float:
        assert k == 1
        return 2.0

    sparse = Sparsified(lambda used: KeepAll(), factor)
    plan = elected((0.0, 1.0), sparse, "paper", lambda_=1.0, vote="weighted", normalize=True)
    assert plan.used == (1,)
    np.testing.assert_array_equal(plan.scales, [[2.0]])
