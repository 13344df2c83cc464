from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.operators.breadcrumbs import Breadcrumbs
from searcher.merge.operators.breadcrumbs_ties import BreadcrumbsTies
from searcher.merge.operators.ties import Ties
from tests.merge.merging import change, changes, draw

numbers = (
    st.just(0.0) | st.floats(-2.0, -1e-6) | st.floats(1e-6, 2.0)
)  # a recipe has 12 decimals: nothing smaller occurs
coefficients = st.tuples(numbers, numbers, numbers)
VECTORS = tuple(draw(3, 40))


@given(
    c=coefficients,
    density=st.floats(0.05, 1.0),
    normalize=st.booleans(),
    vote=st.sampled_from(["weighted", "unweighted"]),
    convention=st.sampled_from(["paper", "mergekit"]),
)
def test_without_outliers_this_is_ties(
    c: tuple[float, ...], density: float, normalize: bool, vote: str, convention: str
) -> None:
    settings = {"density": density, "vote": vote, "normalize": normalize, "convention": convention, "lambda_": 0.7}
    found = change(BreadcrumbsTies(gamma=0.0, **settings), c, *VECTORS)  # type: ignore[arg-type]
    assert torch.equal(found, change(Ties(**settings), c, *VECTORS))  # type: ignore[arg-type]


@given(density=st.floats(0.0, 1.0), gamma=st.floats(0.0, 1.0), c=st.floats(0.1, 2.0))
def test_one_model_has_nobody_to_disagree_with(density: float, gamma: float, c: float) -> None:
    summed = change(Breadcrumbs(density, gamma), (c,), VECTORS[0])
    assert torch.equal(change(BreadcrumbsTies(density, gamma), (c,), VECTORS[0]), summed)


def test_outliers_have_no_vote() -> None:
    vectors = [-9.0, 1.0, 1.0, 1.0], [1.0, 2.0, 1.0, -3.0], [2.0, 1.0, -1.0, -4.0]
    # without the largest of each: [0, 1, 1, 1], [1, 2, 1, 0], [2, 1, -1, 0]
    assert changes(BreadcrumbsTies(0.75, 0.25), (1.0, 1.0, 1.0), *vectors) == [3.0, 4.0, 2.0, 1.0]
    assert changes(BreadcrumbsTies(0.75, 0.25, normalize=True), (1.0, 3.0, 0.5), *vectors)[0] == pytest.approx(
        4.0 / 3.5
    )
