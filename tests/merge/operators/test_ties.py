from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.operators.base import Sources
from searcher.merge.operators.magnitude import n_kept
from searcher.merge.operators.ties import Ties


def merge(operator: Ties, c: tuple[float, ...], *vectors: list[float]) -> list[float]:
    """Merged task vector of models around a zero base."""
    stored = tuple(torch.tensor(vector) for vector in vectors)
    sources = Sources(torch.zeros_like(stored[0]), stored, (True,) * len(stored), 0, "t", tuple(stored[0].shape))
    found: list[float] = operator.merge(c, sources, operator.prepare(c, sources)).tolist()
    return found


@given(size=st.integers(1, 200), density=st.floats(0.0, 1.0))
def test_kept_fraction_is_exact_for_every_size(size: int, density: float) -> None:
    vector = torch.randn(size, generator=torch.Generator().manual_seed(size)).tolist()
    merged = merge(Ties(density=density), (1.0,), vector)
    assert sum(value != 0.0 for value in merged) == n_kept(density, size)


@given(values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20), c=st.floats(0.5, 2.0))
def test_density_one_and_one_model_is_the_model(values: list[float], c: float) -> None:
    assert merge(Ties(), (c,), values) == pytest.approx(values, rel=1e-6, abs=1e-30)


def test_trim_elect_merge() -> None:
    first, second, third = [4.0, 1.0, -3.0, 0.5], [2.0, -6.0, 1.0, -0.1], [-3.0, -2.0, 0.2, 5.0]
    # half of each stays: [4, 0, -3, 0], [2, -6, 0, 0], [-3, 0, 0, 5]
    assert merge(Ties(density=0.5), (1.0, 1.0, 1.0), first, second, third) == [3.0, -6.0, -3.0, 5.0]
    assert merge(Ties(density=0.5, lambda_=2.0), (1.0, 1.0, 1.0), first, second, third) == [6.0, -12.0, -6.0, 10.0]
    assert merge(Ties(density=0.5, normalize=False), (1.0, 1.0, 1.0), first, second, third) == [6.0, -6.0, -3.0, 5.0]


def test_a_weighted_vote_listens_to_the_coefficients() -> None:
    assert merge(Ties(), (3.0, 1.0), [1.0], [-2.0]) == [1.0]
    assert merge(Ties(vote="unweighted"), (3.0, 1.0), [1.0], [-2.0]) == [-2.0]


def test_a_zero_sum_elects_plus() -> None:
    assert merge(Ties(), (1.0, 1.0), [1.0, 0.0], [-1.0, 0.0]) == [1.0, 0.0]


def test_a_coefficient_of_zero_leaves_the_model_out() -> None:
    assert merge(Ties(vote="unweighted"), (1.0, 0.0), [1.0, -2.0], [-9.0, 9.0]) == [1.0, -2.0]
    assert merge(Ties(), (0.0, 0.0), [1.0], [2.0]) == [0.0]


@given(c=st.tuples(*[st.floats(-2.0, 2.0).filter(lambda x: abs(x) > 1e-6)] * 3))
def test_mixed_signs_do_not_blow_up(c: tuple[float, ...]) -> None:
    vectors = [1.0, -2.0, 3.0], [-1.5, 2.5, 0.5], [2.0, 2.0, -1.0]
    assert max(map(abs, merge(Ties(), c, *vectors))) <= 3.0 * (1 + 1e-6)


def test_a_negative_coefficient_negates_the_task_vector() -> None:
    assert merge(Ties(), (1.0, -0.5), [1.0, 2.0], [3.0, -1.0]) == merge(Ties(), (1.0, 0.5), [1.0, 2.0], [-3.0, 1.0])


def test_one_density_per_model() -> None:
    merged = merge(Ties(density=(0.5, 1.0)), (1.0, 1.0), [4.0, 1.0], [2.0, 3.0])
    assert merged == [3.0, 3.0]
    with pytest.raises(ValueError, match="one density per model"):
        merge(Ties(density=(0.5, 0.5, 0.5)), (1.0, 1.0), [4.0, 1.0], [2.0, 3.0])
