"""Model-wise coefficients."""

from __future__ import annotations

import numpy as np

from searcher.spaces.base import SpaceContext
from searcher.spaces.model_wise import ModelWise
from tests.spaces.test_every_space import CONTEXTS, make_layout


def test_one_gene_per_model() -> None:
    space = ModelWise(SpaceContext(make_layout(), ("a", "b"), "base", "task_arithmetic"), range=(-1.0, 1.0))
    assert space.names == ("a", "b")
    recipe = space.decode(np.array([0.75, 0.0]))
    assert recipe.n_segments == 1
    assert recipe.coefficients.tolist() == [[0.5, -1.0]]


def test_slerp_has_one_gene() -> None:
    space = ModelWise(CONTEXTS["slerp of two"])
    assert space.names == ("t",)
    assert space.decode(np.array([0.25])).coefficients.tolist() == [[0.75, 0.25]]
    assert ModelWise(CONTEXTS["slerp from base"]).decode(np.array([0.25])).coefficients.tolist() == [[0.25]]


def test_genes_outside_the_cube_are_clipped() -> None:
    space = ModelWise(CONTEXTS["slerp of two"])
    assert space.decode(np.array([7.0])) == space.decode(np.array([1.0]))
