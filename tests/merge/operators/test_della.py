from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.operators.dare_ties import DareTies
from searcher.merge.operators.della import Della
from searcher.merge.operators.della_linear import DellaLinear
from searcher.merge.operators.ties import Ties
from tests.merge.merging import change, changes, draw

numbers = (
    st.just(0.0) | st.floats(-2.0, -1e-6) | st.floats(1e-6, 2.0)
)  # a recipe has 12 decimals: nothing smaller occurs
coefficients = st.tuples(numbers, numbers, numbers)
votes = st.sampled_from(["weighted", "unweighted"])
VECTORS = tuple(draw(3, 5, 8))


@given(c=coefficients, vote=votes, normalize=st.booleans(), convention=st.sampled_from(["paper", "mergekit"]))
def test_without_dropping_this_is_ties(c: tuple[float, ...], vote: str, normalize: bool, convention: str) -> None:
    settings = {"vote": vote, "normalize": normalize, "convention": convention, "lambda_": 0.7}
    found = change(Della(**settings), c, *VECTORS)  # type: ignore[arg-type]
    assert torch.equal(found, change(Ties(**settings), c, *VECTORS))  # type: ignore[arg-type]


@given(bits=st.integers(1, 255), c=coefficients, normalize=st.booleans(), seed=st.integers(0, 9))
def test_without_epsilon_this_is_dare(bits: int, c: tuple[float, ...], normalize: bool, seed: int) -> None:
    density = bits / 256
    found = change(Della(density, 0.0, seed=seed, normalize=normalize), c, *VECTORS)
    expected = change(DareTies(density, seed=seed, normalize=normalize), c, *VECTORS)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@given(density=st.floats(0.01, 1.0), seed=st.integers(0, 99))
def test_one_model_has_nobody_to_disagree_with(density: float, seed: int) -> None:
    summed = change(DellaLinear(density, seed=seed), (1.0,), VECTORS[0])
    torch.testing.assert_close(change(Della(density, seed=seed), (2.0,), VECTORS[0]), summed)


def test_averaged_by_default_and_summed_if_asked() -> None:
    assert changes(Della(), (1.0, 3.0, 1.0), [1.0], [2.0], [-1.0]) == [1.75]
    assert changes(Della(normalize=False), (1.0, 3.0, 1.0), [1.0], [2.0], [-1.0]) == [7.0]
