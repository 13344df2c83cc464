"""The box of the trust region."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from searcher.gaussian_process.trust_region import FIRST_LENGTH, LONGEST, SHORTEST, TrustRegion


def test_grows_after_three_successes_and_shrinks_after_failures() -> None:
    region = TrustRegion(24)
    for _ in range(3):
        region.update(is_success=True)
    assert region.length == 2 * FIRST_LENGTH
    for _ in range(6):
        region.update(is_success=False)
    assert region.length == FIRST_LENGTH
    region.update(is_success=False)
    region.update(is_success=True)
    for _ in range(5):
        region.update(is_success=False)
    assert region.length == FIRST_LENGTH


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 40))
def test_length_stays_within_its_limits(outcomes: list[bool], dim: int) -> None:
    region = TrustRegion(dim)
    for is_success in outcomes:
        region.update(is_success=is_success)
        assert SHORTEST <= region.length <= LONGEST


def test_box_is_longer_in_genes_that_matter_less() -> None:
    region = TrustRegion(2)
    region.length = 0.2
    box = region.box(np.array([0.5, 0.95]), np.array([[0.5, 2.0], [0.5, 2.0]]))
    np.testing.assert_allclose(box, [[0.45, 0.75], [0.55, 1.0]])
