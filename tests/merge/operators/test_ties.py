from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.operators.ties import Ties
from tests.merge.merging import change, changes, draw

nonzero = st.floats(-2.0, 2.0).filter(lambda x: abs(x) > 1e-6)
VECTORS = tuple(draw(3, 40))


@given(values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20), c=st.floats(0.5, 2.0))
def test_density_one_and_one_model_is_the_model(values: list[float], c: float) -> None:
    assert changes(Ties(), (c,), values) == pytest.approx(values, rel=1e-6, abs=1e-30)


def test_trim_elect_merge() -> None:
    first, second, third = [4.0, 1.0, -3.0, 0.5], [2.0, -6.0, 1.0, -0.1], [-3.0, -2.0, 0.2, 5.0]
    # half of each stays: [4, 0, -3, 0], [2, -6, 0, 0], [-3, 0, 0, 5]
    assert changes(Ties(density=0.5), (1.0, 1.0, 1.0), first, second, third) == [3.0, -6.0, -3.0, 5.0]
    assert changes(Ties(density=0.5, lambda_=2.0), (1.0, 1.0, 1.0), first, second, third) == [6.0, -12.0, -6.0, 10.0]
    assert changes(Ties(density=0.5, normalize=False), (1.0, 1.0, 1.0), first, second, third) == [6.0, -6.0, -3.0, 5.0]


def test_a_weighted_vote_listens_to_the_coefficients() -> None:
    assert changes(Ties(), (3.0, 1.0), [1.0], [-2.0]) == [1.0]
    assert changes(Ties(vote="unweighted"), (3.0, 1.0), [1.0], [-2.0]) == [-2.0]


def test_a_zero_sum_elects_plus() -> None:
    assert changes(Ties(), (1.0, 1.0), [1.0, 0.0], [-1.0, 0.0]) == [1.0, 0.0]


def test_a_coefficient_of_zero_leaves_the_model_out() -> None:
    assert changes(Ties(vote="unweighted"), (1.0, 0.0), [1.0, -2.0], [-9.0, 9.0]) == [1.0, -2.0]
    assert changes(Ties(), (0.0, 0.0), [1.0], [2.0]) == [0.0]


@given(c=st.tuples(nonzero, nonzero, nonzero))
def test_mixed_signs_do_not_blow_up(c: tuple[float, ...]) -> None:
    vectors = [1.0, -2.0, 3.0], [-1.5, 2.5, 0.5], [2.0, 2.0, -1.0]
    assert max(map(abs, changes(Ties(), c, *vectors))) <= 3.0 * (1 + 1e-6)


def test_mixed_signs_blow_up_in_mergekit() -> None:
    found = changes(Ties(convention="mergekit"), (1.0, -0.99), [1.0], [-1.0])
    assert found == pytest.approx([199.0], rel=1e-5)
    assert changes(Ties(convention="mergekit"), (1.0, -1.0), [1.0], [-1.0]) == [2.0]  # a divisor of 0 counts as 1


def test_a_negative_coefficient_negates_the_task_vector() -> None:
    assert changes(Ties(), (1.0, -0.5), [1.0, 2.0], [3.0, -1.0]) == changes(Ties(), (1.0, 0.5), [1.0, 2.0], [-3.0, 1.0])


def test_one_density_per_model() -> None:
    merged = changes(Ties(density=(0.5, 1.0)), (1.0, 1.0), [4.0, 1.0], [2.0, 3.0])
    assert merged == [3.0, 3.0]
    with pytest.raises(ValueError, match="one density per model"):
        changes(Ties(density=(0.5, 0.5, 0.5)), (1.0, 1.0), [4.0, 1.0], [2.0, 3.0])


@given(n=st.integers(1, 40), c=st.floats(0.1, 2.0), vote=st.sampled_from(["weighted", "unweighted"]))
def test_with_equal_coefficients_mergekit_is_the_paper(n: int, c: float, vote: str) -> None:
    density = n / 40
    found = change(Ties(density, vote=vote, convention="mergekit"), (c, c, c), *VECTORS)  # type: ignore[arg-type]
    assert torch.equal(found, change(Ties(density, vote=vote), (c, c, c), *VECTORS))  # type: ignore[arg-type]


@given(scale=st.floats(0.01, 100.0), density=st.floats(0.0, 1.0))
def test_only_ratios_count_when_normalized(scale: float, density: float) -> None:
    c = (0.3, -0.9, 0.4)
    scaled = change(Ties(density), tuple(scale * x for x in c), *VECTORS)
    torch.testing.assert_close(scaled, change(Ties(density), c, *VECTORS), rtol=1e-5, atol=1e-6)


def test_rescaling_brings_the_norm_back() -> None:
    found = change(Ties(0.25, rescale=True), (1.0,), VECTORS[0])
    assert float(found.abs().sum()) == pytest.approx(float(VECTORS[0].abs().sum()), rel=1e-6)
    trimmed = change(Ties(0.25), (1.0,), VECTORS[0])
    assert torch.equal(found != 0, trimmed != 0)
