"""Averages on the line and on the sphere: what becomes a weight, what mergekit's base."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from searcher.errors import ExportError
from searcher.export.mergekit_method import read_method
from searcher.export.mergekit_recipe import MergekitMethod, Place
from searcher.recipe import Recipe
from tests.export.mergekit_recipes import DEPTH, HERE, IN_BLOCKS, MERGEKIT, PLACES, recipe

SEGMENTS = [Place(0, 8), Place(1, 8)]
SHALLOW = IN_BLOCKS[0]  # depth is scaled by 0.5


def by_segment(made: Recipe, *rows: list[float]) -> Recipe:
    """The recipe with a row of coefficients per segment."""
    return replace(made, boundaries=np.linspace(0, 100, len(rows) + 1).astype(int), coefficients=np.array(rows))


def weights(method: MergekitMethod, place: Place) -> dict[str, float]:
    return {name: parameters["weight"](place) for name, parameters in method.inputs.items()}


def test_linear_has_no_base_and_mergekit_divides() -> None:
    method = read_method(recipe("linear", [3.0, 1.0]), PLACES)
    assert method.base is None
    assert weights(method, HERE) == {"low": 3.0, "high": 1.0}
    assert method.fixed == {"normalize": True}
    assert read_method(recipe("linear", [3.0, 1.0], normalize=False), PLACES).fixed == {"normalize": False}


def test_linear_with_depth_is_divided_here_unless_it_is_a_sum() -> None:
    made = by_segment(recipe("linear", [1.0, 1.0], **DEPTH), [3.0, 1.0], [1.0, 1.0])
    method = read_method(made, SEGMENTS)
    assert method.fixed == {"normalize": False}
    assert weights(method, SEGMENTS[0]) == {"low": 0.375, "high": 0.125, "base": 0.5}
    assert weights(method, SEGMENTS[1]) == {"low": 0.25, "high": 0.25, "base": 0.5}
    summed = read_method(replace(made, settings={**DEPTH, "normalize": False}), SEGMENTS)
    assert [weights(summed, place)["low"] for place in SEGMENTS] == [1.5, 0.5]


def test_a_base_among_the_models_has_its_share_and_what_depth_leaves_of_it() -> None:
    method = read_method(recipe("linear", [3.0, 1.0], base="low", **DEPTH), [SHALLOW])
    assert weights(method, SHALLOW) == {"low": 0.5 * 0.75 + 0.5, "high": 0.125}


def test_depth_without_a_base_is_refused() -> None:
    with pytest.raises(ExportError, match="relative to a base, but the recipe has none") as caught:
        read_method(recipe("linear", [1.0, 1.0], base=None, **DEPTH), [SHALLOW])
    assert caught.value.where == "recipe, base"


def test_slerp_takes_its_position_from_the_coefficients() -> None:
    method = read_method(recipe("slerp", [1.0, 3.0], base=None), PLACES)
    assert method.base == "low"
    assert list(method.inputs) == ["high"]
    assert method.shared["t"](HERE) == 0.75
    method = read_method(recipe("slerp", [0.25]), PLACES)
    assert (method.base, method.shared["t"](HERE)) == ("base", 0.25)


def test_a_base_means_task_vectors_and_no_base_means_weights() -> None:
    for name in ("nuslerp", "multislerp"):
        assert read_method(recipe(name, [0.5, 0.5]), PLACES).base == "base"
        assert read_method(recipe(name, [0.5, 0.5], deltas=False), PLACES).base is None


def test_slerp_divides_segment_by_segment() -> None:
    method = read_method(by_segment(recipe("slerp", [1.0, 1.0], base=None), [1.0, 3.0], [3.0, 3.0]), SEGMENTS)
    assert [method.shared["t"](place) for place in SEGMENTS] == [0.75, 0.5]


def test_a_sum_near_zero_is_refused_with_its_segment() -> None:
    made = by_segment(recipe("slerp", [1.0, 1.0], base=None), [1.0, 1.0], [1.0, -1.0 + 1e-9])
    with pytest.raises(ExportError, match=r"Segment 1 .* sum to zero") as caught:
        read_method(made, SEGMENTS)
    assert caught.value.where.startswith("recipe, segment 1, coefficients [1.0, ")


def test_nuslerp_and_passthrough_keep_their_coefficients_and_switches() -> None:
    method = read_method(recipe("nuslerp", [0.5, 2.0], row_wise=True), PLACES)
    assert weights(method, HERE) == {"low": 0.5, "high": 2.0}
    assert method.fixed == {"nuslerp_row_wise": True, "nuslerp_flatten": True}
    method = read_method(recipe("passthrough", [-0.5], base=None), PLACES)
    assert (method.base, method.inputs["low"]["scale"](HERE)) == (None, -0.5)


def test_multislerp_has_the_epsilon_of_its_convention() -> None:
    """The paper's formula has none: mergekit's default would show in tiny task vectors."""
    assert read_method(recipe("multislerp", [0.5, 0.5]), PLACES).shared["eps"](HERE) == 1e-12
    assert read_method(recipe("multislerp", [0.5, 0.5], **MERGEKIT), PLACES).shared["eps"](HERE) == 1e-8
    assert read_method(recipe("multislerp", [0.5, 0.5], eps=1e-4, **MERGEKIT), PLACES).shared["eps"](HERE) == 1e-4


def test_models_without_weight_take_part_in_mergekits_multislerp_alone() -> None:
    """There one of two is not a single model, which would be returned whole."""
    assert list(read_method(recipe("multislerp", [0.5, 0.0]), PLACES).inputs) == ["low"]
    assert list(read_method(recipe("multislerp", [0.5, 0.0], **MERGEKIT), PLACES).inputs) == ["low", "high"]


def test_a_single_model_is_written_if_its_weight_is_one_or_divided_away() -> None:
    assert list(read_method(recipe("multislerp", [1.0], normalize_weights=False), PLACES).inputs) == ["low"]
    assert list(read_method(recipe("multislerp", [0.5]), PLACES).inputs) == ["low"]


def test_multislerp_with_depth_is_divided_here_if_mergekit_would_divide() -> None:
    divided = read_method(recipe("multislerp", [3.0, 3.0], **DEPTH), [SHALLOW])
    summed = read_method(recipe("multislerp", [3.0, 3.0], normalize_weights=False, **DEPTH), [SHALLOW])
    assert (weights(divided, SHALLOW)["low"], weights(summed, SHALLOW)["low"]) == (0.25, 1.5)
    assert divided.fixed == summed.fixed == {"normalize_weights": False}
    assert weights(read_method(recipe("multislerp", [3.0, 3.0]), PLACES), HERE)["low"] == 3.0  # mergekit divides


def test_three_equal_directions_are_no_chord_either() -> None:
    with pytest.raises(ExportError, match="two equal positive weights only") as caught:
        read_method(recipe("multislerp", [0.5, 0.5, 0.5]), PLACES)
    assert "convention: mergekit" in caught.value.fix
    assert list(read_method(recipe("multislerp", [0.5, 0.5, 0.0]), PLACES).inputs) == ["low", "high"]


@pytest.mark.parametrize("changes", [{"deltas": False}, {"lines_alpha": -0.5}, {"lines_alpha": 0.0}])
def test_multislerp_scales_depth_of_task_vectors_by_positive_numbers_only(changes: dict[str, float]) -> None:
    with pytest.raises(ExportError, match="by positive numbers and of task vectors only"):
        read_method(recipe("multislerp", [0.5, 0.5], **{**DEPTH, **changes}), [SHALLOW], 3)
