"""How many points are evaluated before the first prediction."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.quadratic_surrogate.budget import need


@pytest.mark.parametrize(("dim", "points"), [(2, 12), (3, 20), (4, 30), (5, 42), (8, 90)])
def test_twice_the_unknowns_as_in_the_paper(dim: int, points: int) -> None:
    for budget in (None, 1000):
        assert (need(dim, budget).terms, need(dim, budget).points, need(dim, budget).reason) == ("full", points, "")


def test_a_small_budget_is_said() -> None:
    assert need(4, 60).points == 20
    assert "instead of 30" in need(4, 60).reason
    assert need(12, 200).terms == "separable"
    assert "91 unknowns" in need(12, 200).reason
    assert need(12, 200, "full").points == 91
    assert "spread evenly" in need(12, 20).reason


@given(st.integers(1, 40), st.integers(1, 2000))
def test_points_determine_the_quadratic_and_leave_a_quarter_or_the_reason_says_so(dim: int, budget: int) -> None:
    found = need(dim, budget)
    assert found.unknowns <= found.points <= 2 * found.unknowns
    assert 4 * found.points <= 3 * budget or "spread evenly" in found.reason
