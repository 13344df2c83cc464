from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from searcher.merge.operators.dare_linear import DareLinear
from searcher.merge.operators.dropping import dropped
from searcher.merge.operators.sparsity import Convention
from searcher.merge.plan import KeepAll, KeepRandom
from tests.merge.counter_hash_reference import kept as kept_by_definition
from tests.merge.merging import NAME, change, draw, facts_of, in_stretches

densities = st.floats(0.0, 1.0)
conventions = st.sampled_from(get_args(Convention))


def kept(operator: DareLinear, values: torch.Tensor, model: str = "a", name: str = NAME) -> torch.Tensor:
    return change(operator, (1.0,), values, names=[model], name=name) != 0


@given(size=st.integers(0, 300), density=densities, seed=st.integers(0, 2**31), convention=conventions)
def test_masks_are_those_of_the_hash(size: int, density: float, seed: int, convention: Convention) -> None:
    found = kept(DareLinear(density, seed=seed, convention=convention), draw(size))
    expected = kept_by_definition(NAME, "a", np.full(size, density), seed)
    assert found.tolist() == expected.tolist()


@given(size=st.integers(1, 300), low=densities, high=densities)
def test_a_larger_density_keeps_what_a_smaller_one_kept(size: int, low: float, high: float) -> None:
    few, many = (kept(DareLinear(density), draw(size)) for density in sorted((low, high)))
    assert bool((many | ~few).all())


@given(c=st.floats(0.1, 2.0), other=st.floats(0.0, 1.0), order=st.booleans())
def test_masks_do_not_depend_on_the_candidate_or_on_other_models(c: float, other: float, order: bool) -> None:
    values, zeros = draw(100), torch.zeros(100)
    alone = kept(DareLinear(0.4), values)
    vectors, names = ([zeros, values], ["b", "a"]) if order else ([values, zeros], ["a", "b"])
    settings = DareLinear((other, 0.4) if order else (0.4, other), lambda_=0.3)
    assert torch.equal(change(settings, (c, c), *vectors, names=names) != 0, alone)


def test_masks_differ_among_seeds_models_and_tensors() -> None:
    values = draw(1000)
    masks = [
        kept(DareLinear(0.5), values),
        kept(DareLinear(0.5, seed=1), values),
        kept(DareLinear(0.5), values, model="b"),
        kept(DareLinear(0.5), values, name="other"),
    ]
    for i, first in enumerate(masks):
        for second in masks[:i]:
            assert 400 < int((first == second).sum()) < 600  # 500 expected, standard deviation 16


@given(size=st.integers(2, 100), density=densities, data=st.data())
def test_same_elements_for_any_cut(size: int, density: float, data: st.DataObject) -> None:
    facts = facts_of(torch.zeros(size), [draw(size)])
    border = data.draw(st.integers(1, size - 1))
    found = in_stretches(DareLinear(density), (1.0,), facts, [border])
    assert torch.equal(found, in_stretches(DareLinear(density), (1.0,), facts))


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_the_kept_fraction_is_the_density(density: float) -> None:
    n = 100_000
    error = float(kept(DareLinear(density), draw(n)).double().mean()) - density
    assert abs(error) < 5 * (density * (1 - density) / n) ** 0.5


def test_factors() -> None:
    facts = facts_of(torch.zeros(4), [torch.ones(4)] * 4)
    sparse = dropped(facts, (0.5, 0.0, 1.0, 1e-60), "paper", seed=0, rescale=True)
    assert [sparse.factor(k) for k in range(4)] == [2.0, 0.0, 1.0, 0.0]
    plain = dropped(facts, (0.5, 0.0, 1.0, 1e-60), "paper", seed=0, rescale=False)
    assert [plain.factor(k) for k in range(4)] == [1.0, 0.0, 1.0, 0.0]
    assert isinstance(sparse.keep((2,)), KeepAll)
    keep = sparse.keep((0, 2))
    assert isinstance(keep, KeepRandom)
    assert keep.bounds.tolist() == [2**31, 2**32]


def test_mergekit_brings_the_norm_back() -> None:
    values = draw(500)
    found = change(DareLinear(0.3, convention="mergekit"), (1.0,), values)
    assert float(found.abs().sum()) == pytest.approx(float(values.abs().sum()), rel=1e-5)
    plain = change(DareLinear(0.3, convention="mergekit", rescale=False), (1.0,), values)
    assert torch.equal(plain != 0, found != 0)
    assert torch.equal(plain[plain != 0], values[plain != 0])
