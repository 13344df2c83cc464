from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import CandidateError
from searcher.merge.operators.della_linear import DellaLinear
from searcher.merge.operators.rank_dropping import RankDropping
from searcher.merge.plan import KeepAll, KeepMask
from tests.merge.counter_hash_reference import kept as kept_by_definition
from tests.merge.merging import NAME, change, draw, facts_of, in_stretches

densities = st.floats(0.05, 0.95)


def kept(density: float, epsilon: float, values: torch.Tensor, model: str = "a", **settings: object) -> torch.Tensor:
    operator = DellaLinear(density, epsilon, **settings)  # type: ignore[arg-type]
    return change(operator, (1.0,), values, names=[model]) != 0


@given(density=st.floats(1e-300, 1.0), epsilon=st.floats(0.0, 0.5))
def test_probabilities_stay_inside(density: float, epsilon: float) -> None:
    low, high = RankDropping((density,), (epsilon,), 0, True).probabilities(0)
    assert low <= density <= high
    assert 0.0 < low
    assert high < 1.0 or density > 1.0 - 1e-15  # where the sum is rounded to 1, which keeps all
    assert high - low <= 2 * epsilon + 1e-12
    assert (low + high) / 2 == pytest.approx(density)


def test_probabilities_are_those_asked_for_where_legal() -> None:
    assert RankDropping((0.5,), (0.25,), 0, True).probabilities(0) == (0.25, 0.75)
    assert RankDropping((0.9,), (0.15,), 0, True).probabilities(0) == pytest.approx((0.805, 0.995))


@given(density=densities, epsilon=st.floats(0.0, 0.5), seed=st.integers(0, 9))
def test_masks_are_those_of_the_hash(density: float, epsilon: float, seed: int) -> None:
    values = draw(6, 50, seed=seed)
    low, high = RankDropping((density,), (epsilon,), 0, True).probabilities(0)
    ranks = values.abs().argsort(dim=1).argsort(dim=1).numpy() / 49
    probability = low + ranks * (high - low)
    expected = kept_by_definition(NAME, "a", probability, seed)
    # ranks are rounded to 16 bits, hashes to 24
    unsure = kept_by_definition(NAME, "a", probability - 1e-5, seed) != kept_by_definition(
        NAME, "a", np.minimum(1.0, probability + 1e-5), seed
    )
    found = kept(density, epsilon, values, seed=seed).numpy()
    assert np.array_equal(found[~unsure], expected[~unsure])


@given(bits=st.integers(1, 2**24 - 1), seed=st.integers(0, 99))
def test_without_epsilon_this_is_even_dropping(bits: int, seed: int) -> None:
    density = bits / 2**24  # a probability that 24 bits of the hash decide
    found = kept(density, 0.0, draw(300), seed=seed)
    assert found.tolist() == kept_by_definition(NAME, "a", np.full(300, density), seed).tolist()


@given(low=densities, high=densities, share=st.floats(0.0, 0.9))
def test_a_larger_density_keeps_what_a_smaller_one_kept(low: float, high: float, share: float) -> None:
    """With an epsilon that both allow, the probability of every rank grows with the density."""
    low, high = sorted((low, high))
    epsilon = share * min(low, 1.0 - high)
    few, many = kept(low, epsilon, draw(200)), kept(high, epsilon, draw(200))
    assert bool((many | ~few).all())


def test_large_magnitudes_stay_more_often() -> None:
    values = draw(100, 1000)
    mask = kept(0.5, 0.3, values)
    order = values.abs().argsort(dim=1)
    sorted_mask = mask.gather(1, order).double()
    assert float(sorted_mask.mean()) == pytest.approx(0.5, abs=0.01)
    for part, expected in zip(sorted_mask.chunk(5, dim=1), (0.26, 0.38, 0.5, 0.62, 0.74), strict=True):
        assert float(part.mean()) == pytest.approx(expected, abs=0.02)  # standard deviation 0.0035


@given(c=st.floats(0.1, 2.0), other=st.floats(0.1, 1.0), order=st.booleans())
def test_masks_do_not_depend_on_the_candidate_or_on_other_models(c: float, other: float, order: bool) -> None:
    values, zeros = draw(100), torch.zeros(100)
    alone = kept(0.4, 0.2, values)
    vectors, names = ([zeros, values], ["b", "a"]) if order else ([values, zeros], ["a", "b"])
    operator = DellaLinear((other, 0.4) if order else (0.4, other), 0.2, lambda_=0.3)
    assert torch.equal(change(operator, (c, c), *vectors, names=names) != 0, alone)


@given(data=st.data(), rescale=st.booleans())
def test_same_elements_for_any_cut(data: st.DataObject, rescale: bool) -> None:
    facts = facts_of(torch.zeros(6, 15), [draw(6, 15)])
    cuts = data.draw(st.sets(st.integers(1, 89)))
    operator = DellaLinear(0.4, rescale=rescale)
    assert torch.equal(in_stretches(operator, (1.0,), facts, cuts), in_stretches(operator, (1.0,), facts))


def test_rows_are_ranked_apart() -> None:
    """Scaling a row changes no ranks and so no mask."""
    values = draw(4, 50)
    scaled = values * torch.tensor([[1e-3], [1.0], [1e3], [7.0]])
    assert torch.equal(kept(0.5, 0.3, values), kept(0.5, 0.3, scaled))
    assert not torch.equal(kept(0.5, 0.3, values.view(-1)).view(4, 50), kept(0.5, 0.3, scaled.view(-1)).view(4, 50))


def test_mergekit_ranks_along_the_second_axis() -> None:
    values = draw(3, 40, 2)
    columns = values * torch.tensor([1.0, 100.0])  # along the last axis, which is the third
    assert torch.equal(kept(0.5, 0.3, values, convention="mergekit"), kept(0.5, 0.3, columns, convention="mergekit"))
    assert not torch.equal(kept(0.5, 0.3, values), kept(0.5, 0.3, columns))


@pytest.mark.parametrize(("density", "epsilon"), [(0.9, 0.15), (0.85, 0.15), (0.1, 0.1), (0.05, 0.15)])
def test_mergekit_refuses_probabilities_outside(density: float, epsilon: float) -> None:
    with pytest.raises(CandidateError, match="between 0 and 1") as caught:
        change(DellaLinear(density, epsilon, convention="mergekit"), (1.0,), draw(10))
    assert caught.value.error_class == "EpsilonOutOfRange"
    assert bool(torch.isfinite(change(DellaLinear(density, epsilon), (1.0,), draw(10))).all())


def test_mergekit_does_not_look_at_models_left_out() -> None:
    operator = DellaLinear((0.9, 0.5), 0.15, convention="mergekit")
    change(operator, (0.0, 1.0), draw(10), draw(10))
    with pytest.raises(CandidateError):
        change(operator, (1.0, 1.0), draw(10), draw(10))


def test_all_and_nothing() -> None:
    facts = facts_of(torch.zeros(4), [draw(4)] * 3)
    paper = RankDropping((1.0, 0.0, 1e-30), (0.15,) * 3, 0, True).of(facts, "paper")
    assert [paper.factor(k) for k in range(3)] == [1.0, 0.0, 0.0]
    mergekit = RankDropping((1.0, 0.0, 0.5), (0.15,) * 3, 0, True).of(facts, "mergekit")
    assert [mergekit.factor(k) for k in range(2)] == [1.0, 0.0]
    assert isinstance(paper.keep((0,)), KeepAll)
    assert isinstance(mergekit.keep((0,)), KeepAll)
    mixed = RankDropping((1.0, 0.5), (0.15, 0.15), 0, True).of(facts, "mergekit").keep((0, 1))
    assert isinstance(mixed, KeepMask)
    assert bool(mixed.mask[0].all())


@pytest.mark.parametrize("shape", [(), (1,), (0,), (5, 1), (0, 3), (3, 0), (2, 1, 4)])
@pytest.mark.parametrize("convention", ["paper", "mergekit"])
def test_tiny_shapes(shape: tuple[int, ...], convention: str) -> None:
    values = draw(*shape)
    merged = change(DellaLinear(0.5, convention=convention), (1.0,), values)  # type: ignore[arg-type]
    assert merged.shape == shape
    assert bool(torch.isfinite(merged).all())
