from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import ExportError
from searcher.export.mergekit_method import mergekit_density, mergekit_n_kept, read_method
from searcher.merge.operators.trimming import n_kept
from searcher.recipe import Recipe

SIZES = (8, 32, 64, 1000)


def recipe(operator: str, row: list[float], base: str | None = "base", **settings: Any) -> Recipe:
    models = ("low", "high")[: len(row)]
    return Recipe(operator, models, base, np.array([0, 100]), np.array([row]), settings)


@given(st.floats(0.0, 1.0), st.sets(st.integers(1, 10**7), min_size=1, max_size=8))
def test_the_written_density_keeps_as_many_elements_as_ours(density: float, sizes: set[int]) -> None:
    written = mergekit_density(density, sizes)
    for size in sizes:
        assert mergekit_n_kept(written(size), size) == n_kept(density, size)


def test_a_density_that_serves_all_sizes_is_kept() -> None:
    assert {mergekit_density(0.5, (8, 64))(size) for size in (8, 64)} == {0.5}
    assert mergekit_density(1.0, (3, 7))(3) == 1.0


def test_one_density_is_preferred_to_one_per_size() -> None:
    written = mergekit_density(0.38, (64, 128))  # rounding keeps 24 and 49, truncating 24 and 48
    assert written(64) == written(128) != 0.38


def test_slerp_takes_its_position_from_the_coefficients() -> None:
    method = read_method(recipe("slerp", [1.0, 3.0], base=None), SIZES)
    assert method.base == "low"
    assert list(method.inputs) == ["high"]
    assert method.shared["t"](0, 8) == 0.75
    method = read_method(recipe("slerp", [0.25]), SIZES)
    assert (method.base, method.shared["t"](0, 8)) == ("base", 0.25)


def test_task_arithmetic_folds_lambda_and_the_division_into_the_weights() -> None:
    method = read_method(recipe("task_arithmetic", [1.0, 3.0], "base", **{"lambda": 0.5, "normalize": True}), SIZES)
    assert [method.inputs[name]["weight"](0, 8) for name in ("low", "high")] == [0.125, 0.375]
    assert method.fixed == {"normalize": False}


def test_the_base_among_the_models_has_no_weight() -> None:
    made = Recipe("task_arithmetic", ("base", "low"), "base", np.array([0, 100]), np.array([[0.5, 0.5]]))
    assert list(read_method(made, SIZES).inputs) == ["low"]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (recipe("ties", [0.5, -0.5]), "Segment 0 .* negative"),
        (recipe("ties", [0.5, 0.25], vote="unweighted"), "Segment 0 .* vote"),
        (recipe("slerp", [0.5, -0.5], base=None), "sum to zero"),
        (recipe("task_arithmetic", [0.5, -0.5], normalize=True), "sum to zero"),
        (recipe("slerp", [0.5], threshold=0.999), "'threshold'"),
        (recipe("linear", [0.5, 0.5], colour=3.0), "'colour'"),
        (recipe("wudi", [0.5, 0.5]), "operator 'wudi'"),
    ],
)
def test_what_mergekit_computes_differently_is_refused(made: Recipe, words: str) -> None:
    with pytest.raises(ExportError, match=words) as caught:
        read_method(made, SIZES)
    assert "format recipe" in caught.value.fix
    assert "hf" in caught.value.fix


@pytest.mark.parametrize(
    "made",
    [
        recipe("ties", [0.5, -0.5], normalize=False),
        recipe("ties", [0.5, 0.5], vote="unweighted"),
        recipe("slerp", [0.5], threshold=0.9995),
    ],
)
def test_the_same_conventions_where_they_agree_are_written(made: Recipe) -> None:
    read_method(made, SIZES)
