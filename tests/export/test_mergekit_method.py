from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.errors import ExportError
from searcher.export.mergekit_counts import (
    mergekit_band,
    mergekit_density,
    mergekit_n_kept,
    mergekit_outliers,
    truncated,
)
from searcher.export.mergekit_method import read_method
from searcher.export.mergekit_recipe import Place
from searcher.merge.operators.trimming import n_kept
from searcher.recipe import Recipe

SIZES = (8, 32, 64, 1000)
PLACES = [Place(0, size) for size in SIZES]
IN_BLOCKS = [Place(0, 8, block) for block in (None, 0, 1, 2)]
HERE = PLACES[0]
MERGEKIT = {"convention": "mergekit"}
DEPTH: dict[str, Any] = {"lines_alpha": 0.5, "lines_beta": 1.0}  # 0.5 outside the blocks; 0.5, 1 and 1.5 inside


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
    method = read_method(recipe("slerp", [1.0, 3.0], base=None), PLACES)
    assert method.base == "low"
    assert list(method.inputs) == ["high"]
    assert method.shared["t"](HERE) == 0.75
    method = read_method(recipe("slerp", [0.25]), PLACES)
    assert (method.base, method.shared["t"](HERE)) == ("base", 0.25)


def test_task_arithmetic_folds_lambda_and_the_division_into_the_weights() -> None:
    method = read_method(recipe("task_arithmetic", [1.0, 3.0], "base", **{"lambda": 0.5, "normalize": True}), PLACES)
    assert [method.inputs[name]["weight"](HERE) for name in ("low", "high")] == [0.125, 0.375]
    assert method.fixed == {"normalize": False}


def test_the_base_among_the_models_has_no_weight() -> None:
    made = Recipe("task_arithmetic", ("base", "low"), "base", np.array([0, 100]), np.array([[0.5, 0.5]]))
    assert list(read_method(made, PLACES).inputs) == ["low"]


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
        (recipe("della", [0.5, -0.5]), "negative"),
        (recipe("ties", [0.5, 0.5], vote="unweighted", rescale=True, density=0.5), "rescaled"),
        (recipe("breadcrumbs", [0.5, -0.5], normalize=True), "sum to zero"),
        (recipe("dare_ties", [0.5, 0.5], density=0.5), "random masks"),
        (recipe("dare_linear", [0.5, 0.5], density=0.999, **MERGEKIT), "random masks"),
        (recipe("della_linear", [0.5, 0.5], density=np.array([[1.0, 0.5]])), "random masks"),
        (recipe("multislerp", [0.5, 0.25]), "chord"),
        (recipe("multislerp", [-0.5, -0.5]), "chord"),
        (recipe("multislerp", [0.5], normalize_weights=False), "single model"),
        (recipe("karcher", [0.5, 0.5]), "`paper` convention"),
        (recipe("karcher", [0.5, 0.25], **MERGEKIT), "must be equal"),
        (recipe("karcher", [0.5, 0.5], deltas=True, **MERGEKIT), "not task vectors"),
        (recipe("model_stock", [0.5, 0.5]), "`paper` convention"),
        (recipe("model_stock", [0.5, 0.0], **MERGEKIT), "2 or more models"),
        (recipe("model_stock", [0.5, 0.5], t_scale=0.5, **MERGEKIT), "t_scale"),
        (recipe("sce", [1.0, 1.0]), "`paper` convention"),
        (recipe("sce", [-1.0, -1.0], **MERGEKIT), "equal and positive"),
        (recipe("sce", [1.0, 1.0], exponent=0.5, **MERGEKIT), "'exponent'"),
        (recipe("sce", [1.0, 1.0], "base", **{"lambda": 0.5}, **MERGEKIT), "lambda .* must be 1"),
        (recipe("ram", [1.0, 0.5]), "must be 1"),
        (recipe("ramplus_tl", [1.0, 1.0], epsilon=2.0), "epsilon"),
        (recipe("nearswap", [0.5]), "must be 1"),
        (recipe("arcee_fusion", [1.0]), "`paper` convention"),
        (recipe("arcee_fusion", [1.0], multiplier=1.0, **MERGEKIT), "'multiplier'"),
        (recipe("nuslerp", [0.5, 0.5], base="low"), "takes a source once"),
        (recipe("model_stock", [0.5, 0.5], base="low", **MERGEKIT), "takes a source once"),
        *[
            (
                recipe(name, [1.0] * n, **DEPTH, **({} if name in ("ram", "nearswap", "passthrough") else MERGEKIT)),
                words,
            )
            for name, n, words in [
                ("ram", 2, "must be 1"),
                ("sce", 2, "must be 1"),
                ("model_stock", 2, "must be 1"),
                ("nearswap", 1, "must be 1"),
                ("arcee_fusion", 1, "must be 1"),
                ("passthrough", 1, "by depth"),
                ("karcher", 2, "by depth"),
                ("slerp", 2, "by depth"),
                ("nuslerp", 2, "by depth"),
                ("multislerp", 1, "single model"),
            ]
        ],
    ],
)
def test_what_mergekit_computes_differently_is_refused(made: Recipe, words: str) -> None:
    with pytest.raises(ExportError, match=words) as caught:
        read_method(made, PLACES)
    assert "format recipe" in caught.value.fix
    assert "hf" in caught.value.fix


@pytest.mark.parametrize(
    "made",
    [
        recipe("ties", [0.5, -0.5], normalize=False),
        recipe("ties", [0.5, 0.5], vote="unweighted"),
        recipe("slerp", [0.5], threshold=0.9995),
        recipe("ties", [0.5, -0.5], **MERGEKIT),
        recipe("dare_linear", [0.5, 0.0], density=np.array([[1.0, 0.5]])),
        recipe("multislerp", [0.5, 0.5]),
        recipe("multislerp", [0.5, -0.25], **MERGEKIT),
        recipe("multislerp", [0.5]),
        recipe("karcher", [0.5, 0.0]),
        recipe("karcher", [0.5, 0.5], base="low", **MERGEKIT),
        recipe("ram", [1.0, 1.0], lines_alpha=1.0),
        recipe("ram", [0.5, 0.5], lines_alpha=2.0),
    ],
)
def test_the_same_conventions_where_they_agree_are_written(made: Recipe) -> None:
    read_method(made, PLACES)


def test_a_base_means_task_vectors_and_no_base_means_weights() -> None:
    for name in ("nuslerp", "multislerp"):
        assert read_method(recipe(name, [0.5, 0.5]), PLACES).base == "base"
        assert read_method(recipe(name, [0.5, 0.5], deltas=False), PLACES).base is None
    assert read_method(recipe("karcher", [0.5, 0.5], **MERGEKIT), PLACES).base is None


def test_depth_is_part_of_lambda_or_of_the_weights() -> None:
    for name in ("task_arithmetic", "ties", "breadcrumbs", "breadcrumbs_ties", "dare_linear", "dare_ties", "della"):
        method = read_method(recipe(name, [0.5, 0.25], **DEPTH), IN_BLOCKS, 3)
        assert [method.shared["lambda"](place) for place in IN_BLOCKS] == [0.5, 0.5, 1.0, 1.5], name
        assert method.inputs["low"]["weight"](IN_BLOCKS[0]) == 0.5
    method = read_method(recipe("multislerp", [3.0, 3.0], **DEPTH), IN_BLOCKS, 3)
    assert [method.inputs["low"]["weight"](place) for place in IN_BLOCKS] == [0.25, 0.25, 0.5, 0.75]
    assert method.fixed == {"normalize_weights": False}
    method = read_method(recipe("linear", [3.0, 1.0], **DEPTH), IN_BLOCKS, 3)
    weights = {name: values["weight"](IN_BLOCKS[0]) for name, values in method.inputs.items()}
    assert weights == {"low": 0.375, "high": 0.125, "base": 0.5}


def test_a_model_without_effect_is_left_out_of_methods_without_weights() -> None:
    assert list(read_method(recipe("ram", [0.0, 1.0]), PLACES).inputs) == ["high"]
    assert list(read_method(recipe("sce", [2.0, 0.0], **MERGEKIT), PLACES).inputs) == ["low"]
    assert list(read_method(recipe("ram", [1.0, 1.0], base="low"), PLACES).inputs) == ["high"]


def test_the_paper_convention_can_be_changed_to_one_that_is_written() -> None:
    with pytest.raises(ExportError) as caught:
        read_method(recipe("sce", [1.0, 1.0]), PLACES)
    assert "convention: mergekit" in caught.value.fix


def test_sampled_quantiles_are_noted() -> None:
    made = recipe("arcee_fusion", [1.0], **MERGEKIT)
    assert read_method(made, PLACES).notes == ()
    assert "random sample" in read_method(made, [Place(0, 2_000_000)]).notes[0]


def test_whole_numbers_stay_whole() -> None:
    value = read_method(recipe("karcher", [1.0, 1.0], max_iter=3, **MERGEKIT), PLACES).shared["max_iter"](HERE)
    assert isinstance(value, int)


@given(st.floats(0.0, 1.0), st.sets(st.integers(1, 10**7), min_size=1, max_size=8))
def test_fractions_of_breadcrumbs_count_as_ours(fraction: float, sizes: set[int]) -> None:
    density, gamma = mergekit_band(fraction, sizes), mergekit_outliers(fraction, sizes)
    for size in sizes:
        assert 0.0 <= density(size) <= 1.0
        assert truncated(density(size), size) == n_kept(fraction, size)
        assert truncated(gamma(size), size) == round(fraction * size)
