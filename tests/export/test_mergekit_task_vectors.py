"""Sums of task vectors: scalars, densities and switches as mergekit reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from searcher.errors import ExportError
from searcher.export.mergekit_counts import mergekit_n_kept, truncated
from searcher.export.mergekit_method import read_method
from searcher.export.mergekit_recipe import Place
from searcher.merge.operators.trimming import n_kept
from searcher.merge.tables.magnitudes import EXACT_TENSOR
from searcher.recipe import Recipe
from tests.export.mergekit_recipes import HERE, MERGEKIT, PLACES, SIZES, recipe

EXACT, LARGE = [Place(0, EXACT_TENSOR)], [Place(0, EXACT_TENSOR + 1)]
DROPPING = ("dare_linear", "dare_ties", "della", "della_linear")


def test_task_arithmetic_folds_lambda_and_the_division_into_the_weights() -> None:
    method = read_method(recipe("task_arithmetic", [1.0, 3.0], "base", **{"lambda": 0.5, "normalize": True}), PLACES)
    assert [method.inputs[name]["weight"](HERE) for name in ("low", "high")] == [0.125, 0.375]
    assert method.fixed == {"normalize": False}


def test_the_base_among_the_models_has_no_weight() -> None:
    made = Recipe("task_arithmetic", ("base", "low"), "base", np.array([0, 100]), np.array([[0.5, 0.5]]))
    assert list(read_method(made, PLACES).inputs) == ["low"]


def test_ties_leaves_lambda_and_the_division_to_mergekit() -> None:
    method = read_method(recipe("ties", [1.0, 3.0], "base", **{"lambda": 0.5}), PLACES)
    assert [method.inputs[name]["weight"](HERE) for name in ("low", "high")] == [1.0, 3.0]
    assert method.shared["lambda"](HERE) == 0.5
    assert method.fixed == {"normalize": True, "rescale": False, "int8_mask": False}


@pytest.mark.parametrize("operator", ["ties", "breadcrumbs", "breadcrumbs_ties"])
def test_the_paper_counts_what_it_keeps_and_mergekit_what_it_was_given(operator: str) -> None:
    counted = mergekit_n_kept if operator == "ties" else truncated
    settings: dict[str, Any] = {"density": np.array([[0.39, 0.6]])}
    paper = read_method(recipe(operator, [0.5, 0.5], **settings), PLACES)
    theirs = read_method(recipe(operator, [0.5, 0.5], **settings, **MERGEKIT), PLACES)
    for place in PLACES:
        for name, density in (("low", 0.39), ("high", 0.6)):
            assert counted(paper.inputs[name]["density"](place), place.size) == n_kept(density, place.size)
            assert theirs.inputs[name]["density"](place) == density
    assert ("gamma" in paper.inputs["low"]) == (operator != "ties")


def test_outliers_are_counted_per_size_as_well() -> None:
    method = read_method(recipe("breadcrumbs", [0.5], density=0.5, gamma=0.04), PLACES)
    assert [truncated(method.inputs["low"]["gamma"](p), p.size) for p in PLACES] == [round(0.04 * n) for n in SIZES]


@pytest.mark.parametrize("operator", DROPPING)
def test_random_masks_that_keep_everything_have_nothing_to_rescale(operator: str) -> None:
    method = read_method(recipe(operator, [0.5, 0.5], rescale=True), PLACES)
    assert method.inputs["low"]["density"](HERE) == 1.0
    assert method.fixed["rescale"] is False
    assert read_method(recipe("ties", [0.5, 0.5], rescale=True, density=0.5), PLACES).fixed["rescale"] is True


@pytest.mark.parametrize("operator", DROPPING)
def test_the_density_of_a_model_without_coefficient_does_not_matter(operator: str) -> None:
    """It differs by segment: what is 1 where the model takes part can be written."""
    made = Recipe(
        operator, ("low", "high"), "base", np.array([0, 50, 100]), np.array([[0.5, 0.0], [0.5, 0.25]]),
        {"density": np.array([[1.0, 0.5], [1.0, 1.0]])},
    )  # fmt: skip
    places = [Place(0, 8), Place(1, 8)]
    assert set(read_method(made, places).inputs) == {"low", "high"}
    with pytest.raises(ExportError, match=r"Segment 1 .* random masks"):
        read_method(replace(made, settings={"density": np.array([[1.0, 0.5], [1.0, 0.5]])}), places)


@pytest.mark.parametrize(
    ("made", "is_noted"),
    [
        (recipe("ties", [0.5, 0.5], density=0.5), True),
        (recipe("breadcrumbs", [0.5], density=0.5), True),
        (recipe("ties", [0.5, 0.5], density=0.5, **MERGEKIT), False),
        (recipe("ties", [0.5, 0.5], density=1.0), False),
        (recipe("ties", [0.5, 0.0], density=np.array([[1.0, 0.5]])), False),
        (recipe("task_arithmetic", [0.5, 0.5]), False),
        (recipe("dare_ties", [0.5, 0.5]), False),
    ],
)
def test_thresholds_from_a_table_are_noted_where_one_is_used(made: Recipe, is_noted: bool) -> None:
    assert bool(read_method(made, LARGE).notes) == is_noted
    assert read_method(made, EXACT).notes == ()  # small tensors have exact ones


def test_a_sum_of_zero_is_left_undivided_by_mergekit_and_refused_by_the_paper() -> None:
    row = [0.5, -0.5]
    method = read_method(recipe("task_arithmetic", row, normalize=True, **MERGEKIT), PLACES)
    assert [method.inputs[name]["weight"](HERE) for name in ("low", "high")] == row
    with pytest.raises(ExportError, match="sum to zero") as caught:
        read_method(recipe("task_arithmetic", row, normalize=True), PLACES)
    assert "convention: mergekit" in caught.value.fix


@pytest.mark.parametrize("row", [[0.5, 0.25], [1.0, 0.5], [0.5, 0.5, 1.0]])
def test_an_unweighted_vote_of_unequal_weights_says_how_to_search(row: list[float]) -> None:
    with pytest.raises(ExportError, match="unequal weights vote differently") as caught:
        read_method(recipe("ties", row, vote="unweighted"), PLACES)
    assert "vote: weighted" in caught.value.fix


def test_an_unweighted_vote_of_equal_weights_is_the_same() -> None:
    assert "high" in read_method(recipe("ties", [0.5, 0.0, 0.5], vote="unweighted"), PLACES).inputs
    equal = recipe("ties", [0.5, 0.5], vote="unweighted", rescale=True)  # nothing is dropped, nothing rescaled
    assert read_method(equal, PLACES).fixed["rescale"] is True
