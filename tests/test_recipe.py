"""Recipes: canonical form, equality, JSON, refusal of nonsense."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.recipe import Recipe, SettingValue, layers_text

coefficient = st.floats(-2, 2, allow_nan=False).map(lambda x: round(x, 6))


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    n_models = draw(st.integers(1, 3))
    cuts = draw(st.lists(st.integers(1, 99), unique=True, max_size=5))
    n_segments = len(cuts) + 1
    rows = draw(
        st.lists(st.lists(coefficient, min_size=n_models, max_size=n_models), min_size=n_segments, max_size=n_segments)
    )
    per_segment = draw(st.lists(coefficient, min_size=n_segments, max_size=n_segments))
    settings: dict[str, Any] = draw(
        st.sampled_from([{}, {"lambda": 0.5}, {"density": np.array(per_segment)}, {"normalize": True}])
    )
    models = tuple(f"model{k}" for k in range(n_models))
    return Recipe("ties", models, "base", np.array([0, *sorted(cuts), 100]), np.array(rows), settings)


def at_every_position(recipe: Recipe) -> NDArray[np.float64]:
    return np.repeat(recipe.coefficients, np.diff(recipe.boundaries), axis=0)


@given(recipes())
def test_canonical_form_is_the_same_merge_and_idempotent(recipe: Recipe) -> None:
    canonical = recipe.canonical()
    np.testing.assert_array_equal(at_every_position(canonical), at_every_position(recipe))
    assert canonical.n_segments <= recipe.n_segments
    assert canonical.canonical().digest == canonical.digest == recipe.digest


@given(recipes())
def test_json_round_trip_keeps_the_digest(recipe: Recipe) -> None:
    text = json.dumps(recipe.to_json(), allow_nan=False)
    again = Recipe.from_json(json.loads(text))
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.to_json() == recipe.to_json()


@given(recipes(), st.integers(1, 99))
def test_cutting_a_segment_changes_nothing(recipe: Recipe, cut: int) -> None:
    if cut in recipe.boundaries:
        return
    segment = int(np.searchsorted(recipe.boundaries, cut)) - 1
    boundaries = np.insert(recipe.boundaries, segment + 1, cut)
    coefficients = np.insert(recipe.coefficients, segment, recipe.coefficients[segment], axis=0)
    settings = {
        name: np.insert(value, segment, value[segment], axis=0) if isinstance(value, np.ndarray) else value
        for name, value in recipe.settings.items()
    }
    assert Recipe(recipe.operator, recipe.models, recipe.base, boundaries, coefficients, settings) == recipe


def test_constant_arrays_of_settings_equal_scalars() -> None:
    args = ("ties", ("a",), "base", np.array([0, 5, 9]), np.array([[1.0], [0.5]]))
    per_segment: dict[str, SettingValue] = {"density": np.array([0.2, 0.2])}
    assert Recipe(*args, per_segment) == Recipe(*args, {"density": 0.2})


def test_settings_at_gives_scalars_and_per_model_tuples() -> None:
    settings: dict[str, SettingValue] = {
        "density": np.array([[0.1, 0.2], [0.3, 0.4]]),
        "lambda": np.array([1.0, 2.0]),
        "normalize": True,
    }
    recipe = Recipe("ties", ("a", "b"), "base", np.array([0, 1, 2]), np.ones((2, 2)), settings)
    assert recipe.settings_at(1) == {"density": (0.3, 0.4), "lambda": 2.0, "normalize": True}


def test_arrays_are_copied_and_read_only() -> None:
    rows = np.array([[0.1 + 0.2]])
    recipe = Recipe("linear", ("a",), None, np.array([0, 4]), rows)
    rows[0, 0] = 9.0
    assert recipe.coefficients[0, 0] == 0.3  # rounded to 12 decimals, not 0.30000000000000004
    with pytest.raises(ValueError, match="read-only"):
        recipe.coefficients[0, 0] = 1.0


@pytest.mark.parametrize(
    ("boundaries", "rows", "settings", "message"),
    [
        ([1, 4], [[1.0]], {}, "boundaries"),
        ([0, 4, 4], [[1.0], [1.0]], {}, "boundaries"),
        ([0], [], {}, "boundaries"),
        ([0, 4], [[1.0, 2.0]], {}, "shape"),
        ([0, 4], [[float("nan")]], {}, "finite"),
        ([0, 4], [[float("inf")]], {}, "finite"),
        ([0, 4], [[1.0]], {"density": np.array([0.1, 0.2])}, "setting 'density'"),
        ([0, 4], [[1.0]], {"density": float("nan")}, "finite"),
    ],
)
def test_nonsense_is_refused(
    boundaries: list[int], rows: list[list[float]], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe("ties", ("a",), None, np.array(boundaries), np.array(rows), settings)


@pytest.mark.parametrize("record", [{}, {"operator": "x"}, {"operator": 1, "models": None}])
def test_broken_json_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="recipe object"):
        Recipe.from_json(record)


def test_layers_are_told_in_runs_and_are_part_of_the_digest() -> None:
    layers = (("a", 0), ("a", 1), ("b", 2), ("a", 2), ("a", 2))
    assert layers_text(layers) == "a 0-1, b 2, a 2, a 2"
    plain = Recipe("linear", ("a", "b"), None, np.array([0, 4]), np.ones((1, 2)))
    known = {replace(plain, layers=layers[:n]).digest for n in range(1, 6)} | {plain.digest}
    assert len(known) == 6
    assert Recipe.from_json(replace(plain, layers=layers).to_json()).layers == layers
