"""The merges that every run evaluates first."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.baselines import LINE, standard_baselines
from searcher.merge.operators.base import OPERATORS, make_operator
from tests.toy import LAYOUT, make_space

MODELS = ("a", "b", "c", "d")


def test_with_a_base() -> None:
    found = standard_baselines(MODELS, "root", 50)
    assert [name for name, _ in found] == [
        "root", *MODELS, "uniform average", *(f"task arithmetic {scale:g}" for scale in LINE)
    ]  # fmt: skip
    rows = {name: recipe.coefficients.tolist() for name, recipe in found}
    assert rows["root"] == [[0.0, 0.0, 0.0, 0.0]]
    assert rows["c"] == [[0.0, 0.0, 1.0, 0.0]]
    assert rows["uniform average"] == [[0.25, 0.25, 0.25, 0.25]]
    assert rows["task arithmetic 0.3"] == [[0.3, 0.3, 0.3, 0.3]]
    for _, recipe in found:
        assert (recipe.operator, recipe.base, recipe.models) == ("task_arithmetic", "root", MODELS)
        assert recipe.boundaries.tolist() == [0, 50]


def test_the_line_has_eight_rising_scales_up_to_the_plain_sum() -> None:
    assert len(LINE) == 8
    assert list(LINE) == sorted(set(LINE))
    assert 0 < LINE[0]
    assert LINE[-1] == 1.0


def test_without_a_base() -> None:
    found = standard_baselines(MODELS, None, 50)
    assert [name for name, _ in found] == [*MODELS, "uniform average"]
    assert {(recipe.operator, recipe.base) for _, recipe in found} == {("linear", None)}


@pytest.mark.parametrize("base", [None, "root"])
@pytest.mark.parametrize("n_models", [1, 2, 5])
def test_all_settings_are_written_out_and_legal(base: str | None, n_models: int) -> None:
    for _, recipe in standard_baselines([f"m{i}" for i in range(n_models)], base, 9):
        assert dict(recipe.settings) == OPERATORS.get(recipe.operator).settings()
        make_operator(recipe.operator, recipe.settings_at(0))


def test_one_model_is_its_own_average() -> None:
    """Equal merges are equal recipes, so that they are scored once."""
    recipes = dict(standard_baselines(["a"], "root", 9))
    assert recipes["a"] == recipes["uniform average"] == recipes["task arithmetic 1"]
    recipes = dict(standard_baselines(MODELS[:2], "root", 9))
    assert recipes["uniform average"] == recipes["task arithmetic 0.5"]


def test_a_space_of_the_same_operator_contains_them() -> None:
    space = make_space()
    for _, recipe in standard_baselines(("a", "b"), "base", LAYOUT.n_parameters):
        genome = space.encode(recipe)
        assert genome is not None
        assert np.all((genome >= 0) & (genome <= 1))
