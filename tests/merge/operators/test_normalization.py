from __future__ import annotations

import pytest

from searcher.errors import CandidateError
from searcher.merge.operators.normalization import normalized


def test_normalized() -> None:
    assert normalized((1.0, 3.0)) == (0.25, 0.75)
    assert normalized((-1.0, -3.0)) == (0.25, 0.75)


@pytest.mark.parametrize("coefficients", [(0.0, 0.0), (1.0, -1.0), (5e-9,)])
def test_coefficients_that_sum_to_zero(coefficients: tuple[float, ...]) -> None:
    with pytest.raises(CandidateError) as caught:
        normalized(coefficients)
    assert caught.value.error_class == "ZeroWeightSum"
