"""Constraints hold in every grouped space, whatever the genome, and encode inverts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.baselines import standard_baselines
from searcher.spaces.base import SPACES
from tests.spaces.test_every_space import CONTEXTS

CONTEXT = CONTEXTS["task_arithmetic"]
GROUPED = ["model_wise", "layer_wise", "depth_profile", "chunk_wise"]
FIXED = ({"match": "head", "coefficients": (0.2, 0.3, 0.5)},)


def make(name: str, **settings: Any) -> Any:
    cls: Any = SPACES.get(name)
    return cls(CONTEXT, **settings)


def genomes(space: Any) -> st.SearchStrategy[np.ndarray]:
    n = len(space.names)
    gene = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
    return st.lists(gene, min_size=n, max_size=n).map(np.array)


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize("fixed", [(), FIXED])
@given(data=st.data())
def test_coefficients_stay_on_the_simplex(name: str, fixed: Any, data: st.DataObject) -> None:
    space = make(name, simplex=True, fixed=fixed)
    recipe = space.decode(data.draw(genomes(space)))
    assert np.all(recipe.coefficients >= 0)
    np.testing.assert_allclose(recipe.coefficients.sum(axis=1), 1.0, atol=1e-11)
    np.testing.assert_allclose(space.decode(space.encode(recipe)).coefficients, recipe.coefficients, atol=1e-9)


@pytest.mark.parametrize("name", ["model_wise", "layer_wise", "chunk_wise"])
@pytest.mark.parametrize("settings", [{"range": (-1.0, 1.0)}, {"simplex": True}, {"simplex": True, "total": (0, 2)}])
@given(data=st.data())
def test_few_models_are_not_zero(name: str, settings: dict[str, Any], data: st.DataObject) -> None:
    space = make(name, max_models=2, **settings)
    recipe = space.decode(data.draw(genomes(space)))
    assert np.all(np.count_nonzero(recipe.coefficients, axis=1) <= 2)
    np.testing.assert_allclose(space.decode(space.encode(recipe)).coefficients, recipe.coefficients, atol=1e-9)


@pytest.mark.parametrize("name", GROUPED)
def test_baselines_that_fulfil_the_constraints_are_encoded_exactly(name: str) -> None:
    """So that they seed the search: the run wants the same recipe, bit for bit."""
    n_parameters = CONTEXT.layout.n_parameters
    baselines = dict(standard_baselines(CONTEXT.models, "base", n_parameters))
    on_simplex = {"a", "b", "c", "uniform average"}
    for total, inside in ((1.0, on_simplex), ((0.0, 3.0), set(baselines))):
        space = make(name, simplex=True, total=total)
        for label, recipe in baselines.items():
            genome = space.encode(recipe)
            assert (genome is not None) == (label in inside)
            if genome is not None:
                decoded = space.decode(genome)
                np.testing.assert_array_equal(decoded.boundaries, recipe.boundaries)
                np.testing.assert_array_equal(decoded.coefficients, recipe.coefficients)
