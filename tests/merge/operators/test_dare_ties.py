from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.operators.dare_linear import DareLinear
from searcher.merge.operators.dare_ties import DareTies
from searcher.merge.operators.ties import Ties
from tests.merge.merging import change, changes, draw

numbers = (
    st.just(0.0) | st.floats(-2.0, -1e-6) | st.floats(1e-6, 2.0)
)  # a recipe has 12 decimals: nothing smaller occurs
coefficients = st.tuples(numbers, numbers, numbers)
VECTORS = tuple(draw(3, 40))


@given(
    c=coefficients,
    vote=st.sampled_from(["weighted", "unweighted"]),
    normalize=st.booleans(),
    convention=st.sampled_from(["paper", "mergekit"]),
)
def test_without_dropping_this_is_ties(c: tuple[float, ...], vote: str, normalize: bool, convention: str) -> None:
    settings = {"vote": vote, "normalize": normalize, "convention": convention, "lambda_": 0.7}
    found = change(DareTies(**settings), c, *VECTORS)  # type: ignore[arg-type]
    assert torch.equal(found, change(Ties(**settings), c, *VECTORS))  # type: ignore[arg-type]


@given(density=st.floats(0.0, 1.0), c=st.floats(0.1, 2.0), seed=st.integers(0, 99))
def test_one_model_has_nobody_to_disagree_with(density: float, c: float, seed: int) -> None:
    summed = change(DareLinear(density, seed=seed), (c,), VECTORS[0])
    torch.testing.assert_close(change(DareTies(density, seed=seed), (c,), VECTORS[0]), summed)
    averaged = change(DareTies(density, seed=seed, normalize=True), (c,), VECTORS[0])
    torch.testing.assert_close(averaged, summed / c)


def test_the_rest_is_rescaled_before_the_vote() -> None:
    kept = change(DareLinear(0.2, rescale=False), (1.0,), torch.ones(64)) != 0
    found = change(DareTies((0.2, 1.0)), (1.0, 1.0), torch.ones(64), torch.full((64,), -2.0))
    assert torch.equal(found, torch.where(kept, 5.0, -2.0))
    unweighted = change(DareTies((0.2, 1.0), vote="unweighted"), (1.0, 1.0), torch.ones(64), torch.full((64,), -2.0))
    assert torch.equal(unweighted, torch.full((64,), -2.0))


def test_summed_by_default_and_averaged_if_asked() -> None:
    assert changes(DareTies(), (1.0, 3.0, 1.0), [1.0], [2.0], [-1.0]) == [7.0]
    assert changes(DareTies(normalize=True), (1.0, 3.0, 1.0), [1.0], [2.0], [-1.0]) == [1.75]


@pytest.mark.parametrize("convention", ["paper", "mergekit"])
def test_density_zero_leaves_the_base(convention: str) -> None:
    found = change(DareTies(0.0, convention=convention), (1.0, 1.0, 1.0), *VECTORS)  # type: ignore[arg-type]
    assert torch.equal(found, torch.zeros(40))
