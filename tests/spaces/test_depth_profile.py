"""Curves over depth; two knots are LiNeS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.recipe import Recipe
from searcher.spaces.base import SearchedSetting, SpaceContext
from searcher.spaces.depth_profile import DepthProfile, knot_weights
from tests.spaces.test_every_space import make_layout

N_BLOCKS = 7
CONTEXT = SpaceContext(make_layout(N_BLOCKS), ("a", "b"), "base", "task_arithmetic")


def at(recipe: Recipe, tensor: str) -> list[float]:
    offset = next(t.offset for t in CONTEXT.layout.tensors if t.name == tensor)
    row: list[float] = recipe.coefficients[np.searchsorted(recipe.boundaries, offset, side="right") - 1].tolist()
    return row


@given(st.floats(0, 1), st.floats(0, 1))
def test_two_linear_knots_are_lines(first: float, last: float) -> None:
    """``alpha + beta * l / (L - 1)`` on the blocks, alpha outside (Wang et al. 2025)."""
    space = DepthProfile(CONTEXT, range=(0.0, 2.0), outside="first")
    assert space.names == ("a[depth 0]", "b[depth 0]", "a[depth 1]", "b[depth 1]")
    recipe = space.decode(np.array([first, 0.5, last, 0.5]))
    alpha, beta = 2 * first, 2 * (last - first)
    for block in range(N_BLOCKS):
        expected = [alpha + beta * block / (N_BLOCKS - 1), 1.0]
        np.testing.assert_allclose(at(recipe, f"layers.{block}.mlp"), expected, atol=1e-12)
    for outside in ("embed", "norm", "head"):
        np.testing.assert_allclose(at(recipe, outside), [alpha, 1.0], atol=1e-12)


def test_tensors_outside_the_blocks_follow_the_nearest_knot_or_have_genes() -> None:
    recipe = DepthProfile(CONTEXT).decode(np.array([0.25, 0.0, 1.0, 0.5]))
    assert at(recipe, "embed") == at(recipe, "layers.0.mlp") == [0.25, 0.0]
    assert at(recipe, "head") == at(recipe, "norm") == at(recipe, "layers.6.mlp") == [1.0, 0.5]
    own = DepthProfile(CONTEXT, outside="own")
    assert own.names[4:] == tuple(f"{m}[{kind}]" for kind in ("embedding", "norm", "head") for m in "ab")


def test_cosine_is_level_at_the_knots_and_meets_linear_half_way() -> None:
    for depth in (0.0, 0.25, 0.5, 0.75, 1.0):
        np.testing.assert_allclose(knot_weights(depth, 3, "cosine"), knot_weights(depth, 3, "linear"), atol=1e-15)
    assert knot_weights(0.05, 3, "cosine")[1] < knot_weights(0.05, 3, "linear")[1]
    expected = (1 - np.cos(np.pi * 0.6)) / 2  # 0.3 is six tenths of the way to the knot at 0.5
    np.testing.assert_allclose(knot_weights(0.3, 3, "cosine"), [1 - expected, expected, 0.0])


@given(st.floats(0, 1), st.integers(2, 9), st.sampled_from(["linear", "cosine"]))
def test_weights_are_shares(depth: float, n_knots: int, interpolation: str) -> None:
    weights = knot_weights(depth, n_knots, interpolation)
    assert np.all(weights >= 0)
    assert weights.sum() == pytest.approx(1.0, abs=1e-15)


@given(st.data())
@pytest.mark.parametrize("interpolation", ["linear", "cosine"])
@pytest.mark.parametrize("knots", [2, 3, 5, N_BLOCKS])
@pytest.mark.parametrize("simplex", [False, True])
def test_every_curve_is_encoded(knots: int, interpolation: Any, simplex: bool, data: st.DataObject) -> None:
    space = DepthProfile(CONTEXT, knots=knots, interpolation=interpolation, simplex=simplex)
    n = len(space.names)
    recipe = space.decode(np.array(data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n))))
    if simplex:
        np.testing.assert_allclose(recipe.coefficients.sum(axis=1), 1.0, atol=1e-11)
    genome = space.encode(recipe)
    assert genome is not None
    # tensor by tensor: numbers half way between two of 12 decimals may be rounded to either, which moves borders
    again = space.decode(genome)
    offsets = [tensor.offset for tensor in CONTEXT.layout.tensors]
    rows = [r.coefficients[np.searchsorted(r.boundaries, offsets, side="right") - 1] for r in (again, recipe)]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-9)


def test_no_curve_through_the_knots_no_genome() -> None:
    fine = DepthProfile(CONTEXT, knots=3).decode(np.array([0, 0, 1, 1, 0, 0.0]))
    assert DepthProfile(CONTEXT).encode(fine) is None
    genome = DepthProfile(CONTEXT, knots=7).encode(fine)
    assert genome is not None
    np.testing.assert_allclose(genome, np.repeat([0, 1, 2, 3, 2, 1, 0], 2) / 3)


def test_settings_per_group_follow_a_curve_too() -> None:
    searched = (SearchedSetting("density", 0.0, 1.0, "group"),)
    space = DepthProfile(SpaceContext(CONTEXT.layout, ("a",), "base", "ties", searched=searched))
    assert space.names[2:] == ("density[depth 0]", "density[depth 1]")
    recipe = space.decode(np.array([0.5, 0.5, 0.0, 1.0]))
    density = recipe.settings["density"]
    assert isinstance(density, np.ndarray)
    np.testing.assert_allclose(density, np.arange(7) / 6, atol=1e-12)
    genome = space.encode(recipe)
    assert genome is not None
    np.testing.assert_allclose(genome, [0.5, 0.5, 0.0, 1.0], atol=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"knots": 1}, "at least 2 knots"),
        ({"knots": N_BLOCKS + 1}, "as many knots as"),
        ({"interpolation": "cubic"}, "known interpolation"),
        ({"outside": "none"}, "known interpolation"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DepthProfile(CONTEXT, **settings)


def test_a_network_without_blocks_has_no_depth() -> None:
    with pytest.raises(ValueError, match="knots"):
        DepthProfile(SpaceContext(make_layout(0), ("a",), "base", "ties"))
