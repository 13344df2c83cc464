from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.sce import Sce
from searcher.merge.plan import KeepAll, KeepVariance, TensorPlan
from tests.merge.merging import change, changes, draw, facts_of, in_stretches

conventions = st.sampled_from(["paper", "mergekit"])
VECTORS = tuple(draw(3, 5, 8))


def test_models_weigh_as_much_as_their_energy() -> None:
    # energies 1 : 9, so 0.1 * 2e-4 + 0.9 * 6e-4
    assert changes(Sce(), (1.0, 1.0), [2e-4] * 4, [6e-4] * 4) == pytest.approx([5.6e-4] * 4, rel=1e-6)
    assert changes(Sce(exponent=0.0), (1.0, 1.0), [2e-4] * 4, [6e-4] * 4) == pytest.approx([4e-4] * 4, rel=1e-6)
    assert changes(Sce(exponent=2.0), (1.0, 1.0), [1.0] * 4, [3.0] * 4) == pytest.approx([(1 + 243) / 82] * 4, rel=1e-6)


def test_mergekit_weighs_small_changes_alike() -> None:
    released = Sce(convention="mergekit")
    assert changes(released, (1.0, 1.0), [2e-4] * 4, [6e-4] * 4) == pytest.approx([4e-4] * 4, rel=1e-6)
    large = changes(released, (1.0, 1.0), [0.2] * 4, [0.6] * 4)
    assert large == pytest.approx([0.56] * 4, rel=1e-6)


@pytest.mark.parametrize("convention", ["paper", "mergekit"])
def test_minority_signs_are_erased(convention: str) -> None:
    operator = Sce(exponent=0.0, convention=convention)  # type: ignore[arg-type]
    found = changes(operator, (1.0, 1.0, 1.0), [1.0, -3.0, 0.0, 2.0], [2.0, 1.0, 0.0, -2.0], [-1.0, -1.0, 0.0, 0.0])
    assert found == pytest.approx([1.5, -2.0, 0.0, 2.0])  # a sum of zero elects plus


@pytest.mark.parametrize("convention", ["paper", "mergekit"])
def test_the_vote_is_not_weighted(convention: str) -> None:
    found = changes(Sce(convention=convention), (1.0, 1.0, 1.0), [3.0, 9.0], [-2.0, 1.0], [-2.0, 1.0])  # type: ignore[arg-type]
    assert found[0] == pytest.approx(-2.0)


@pytest.mark.parametrize("convention", ["paper", "mergekit"])
def test_selection_by_variance(convention: str) -> None:
    operator = Sce(0.5, exponent=0.0, convention=convention)  # type: ignore[arg-type]
    # variances 0, 0.25, 1, 4, 9: two of the four that are not zero
    found = changes(operator, (1.0, 1.0), [5.0, 1.0, 2.0, 4.0, 6.0], [5.0, 2.0, 4.0, 8.0, 12.0])
    assert found == pytest.approx([0.0, 0.0, 0.0, 6.0, 9.0])


def test_energies_are_those_of_the_selection() -> None:
    first, second = [3.0, 9.0, 1.0, 0.0], [3.0, 9.0, 3.0, 2.0]  # variance 1 in the last two
    found = changes(Sce(0.999), (1.0, 1.0), first, second)
    assert found == pytest.approx([0.0, 0.0, (1 * 1 + 13 * 3) / 14, 2.0])


@given(share=st.floats(0.0, 1.0), n=st.sampled_from([2, 4]), convention=conventions)  # of 3, the mean is rounded
def test_equal_models_are_the_model_or_the_base(share: float, n: int, convention: str) -> None:
    found = change(Sce(share, convention=convention), (1.0,) * n, *[VECTORS[0]] * n)  # type: ignore[arg-type]
    expected = VECTORS[0] if share == 1.0 else torch.zeros(5, 8)
    torch.testing.assert_close(found, expected)


@given(scale=st.floats(0.01, 100.0), share=st.floats(0.0, 1.0), exponent=st.floats(0.0, 2.0))
def test_only_ratios_of_coefficients_count(scale: float, share: float, exponent: float) -> None:
    c = (0.3, -0.9, 0.4)
    operator = Sce(share, exponent=exponent)
    scaled = change(operator, tuple(scale * x for x in c), *VECTORS)
    torch.testing.assert_close(scaled, change(operator, c, *VECTORS), rtol=1e-5, atol=1e-6)


@given(scale=st.sampled_from([1e-8, 1e-4, 1e-2, 1e6]), share=st.floats(0.0, 1.0))
def test_the_size_of_changes_does_not_matter(scale: float, share: float) -> None:
    small = change(Sce(share), (1.0, 1.0, 1.0), *[scale * v for v in VECTORS])
    expected = scale * change(Sce(share), (1.0, 1.0, 1.0), *VECTORS)
    torch.testing.assert_close(small, expected, rtol=1e-5, atol=1e-5 * scale)


@given(order=st.permutations(range(3)), share=st.floats(0.0, 1.0), convention=conventions)
def test_order_of_models_is_irrelevant(order: list[int], share: float, convention: str) -> None:
    operator, c = Sce(share, convention=convention), (0.5, 0.3, 1.0)  # type: ignore[arg-type]
    found = change(operator, [c[k] for k in order], *[VECTORS[k] for k in order])
    torch.testing.assert_close(found, change(operator, c, *VECTORS), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("convention", ["paper", "mergekit"])
def test_a_coefficient_of_zero_leaves_the_model_out(share: float, convention: str) -> None:
    operator = Sce(share, convention=convention)  # type: ignore[arg-type]
    found = change(operator, (1.0, 0.0, 0.5), *VECTORS)
    torch.testing.assert_close(found, change(operator, (1.0, 0.5), VECTORS[0], VECTORS[2]))
    assert not change(operator, (0.0, 0.0, 0.0), *VECTORS).any()


@pytest.mark.parametrize("convention", ["paper", "mergekit"])
def test_a_negative_coefficient_negates_the_task_vector(convention: str) -> None:
    operator = Sce(convention=convention)  # type: ignore[arg-type]
    first, second = VECTORS[:2]
    torch.testing.assert_close(
        change(operator, (1.0, -0.5), first, second), change(operator, (1.0, 0.5), first, -second)
    )


@pytest.mark.parametrize("convention", ["paper", "mergekit"])
def test_a_model_that_is_the_base_still_counts_for_the_variance(convention: str) -> None:
    first, zero = [1.0, -4.0, 2.0, 3.0], [0.0] * 4
    assert changes(Sce(0.5, convention=convention), (1.0, 1.0), first, zero) == [0.0, -4.0, 0.0, 3.0]  # type: ignore[arg-type]


@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("convention", ["paper", "mergekit"])
def test_no_change_is_the_base(share: float, convention: str) -> None:
    operator, zero = Sce(share, convention=convention), torch.zeros(6)  # type: ignore[arg-type]
    assert torch.equal(change(operator, (1.0, 1.0), zero, zero), zero)


def test_lambda_scales_the_change() -> None:
    for operator, doubled in ((Sce(), Sce(lambda_=2.0)), (Sce(convention="mergekit"), Sce(1.0, 1.0, 2.0, "mergekit"))):
        torch.testing.assert_close(
            change(doubled, (1.0, 1.0, 1.0), *VECTORS), 2.0 * change(operator, (1.0, 1.0, 1.0), *VECTORS)
        )


@given(share=st.floats(0.0, 1.0), n=st.integers(0, 30), k=st.integers(1, 3))
def test_conventions_agree_where_energies_are_large(share: float, n: int, k: int) -> None:
    vectors = [draw(n, seed=seed) for seed in range(k)]
    whole = (round(share * n) + 1e-9) / max(1, n)  # mergekit rounds down
    one = Sce(min(1.0, whole))
    other = Sce(min(1.0, whole), convention="mergekit")
    torch.testing.assert_close(change(one, (1.0,) * k, *vectors), change(other, (1.0,) * k, *vectors))


def test_no_pass_over_values_unless_something_is_selected() -> None:
    facts = facts_of(torch.zeros(40), [v.reshape(-1) for v in VECTORS])
    plan = Sce().plan((1.0, 1.0, 1.0), facts)
    assert isinstance(plan, TensorPlan)
    assert isinstance(plan.keep, KeepAll)
    energies = np.array([float(v.square().sum()) for v in VECTORS])
    np.testing.assert_allclose(plan.weights, energies / energies.sum(), rtol=1e-6)
    selected = Sce(0.5).plan((1.0, 1.0, 1.0), facts)
    assert isinstance(selected, TensorPlan)
    assert isinstance(selected.keep, KeepVariance)


@given(cuts=st.sets(st.integers(1, 39)), share=st.floats(0.0, 1.0))
def test_same_bits_for_any_cut(cuts: set[int], share: float) -> None:
    facts = facts_of(torch.zeros(40), [(v.reshape(-1) * 2).round() for v in VECTORS])  # many ties
    whole = in_stretches(Sce(share), (1.0, 1.0, 1.0), facts)
    assert torch.equal(in_stretches(Sce(share), (1.0, 1.0, 1.0), facts, cuts), whole)


@pytest.mark.parametrize("convention", ["paper", "mergekit"])
def test_needs_no_second_model(convention: str) -> None:
    base, model = draw(2, 9)
    operator = Sce(convention=convention)  # type: ignore[arg-type]
    torch.testing.assert_close(merge_tensor(operator, (0.3,), [model], base=base), model)
