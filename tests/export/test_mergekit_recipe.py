"""What a recipe says at each place, and refusals that tell where and what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from searcher.errors import ExportError
from searcher.export.mergekit_recipe import FIX, FIX_CONVENTION, Place, RecipeReader, equal
from searcher.recipe import Recipe
from tests.export.mergekit_recipes import DEPTH, IN_BLOCKS, recipe

PLACES = [Place(1, 8, 0), Place(0, 8), Place(1, 0), Place(1, 4, 1), Place(0, 8)]
ROWS = np.array([[0.5, 0.0, 0.25], [1.0, 0.0, -0.5]])


def reader(operator: str = "ties", rows: Any = ROWS, **settings: Any) -> RecipeReader:
    made = Recipe(operator, ("low", "none", "high")[: rows.shape[1]], "base", np.array([0, 9, 20]), rows, settings)
    return RecipeReader(made, PLACES, 3)


def refused(check: Callable[[], object], words: str) -> ExportError:
    with pytest.raises(ExportError, match=words) as caught:
        check()
    assert len(str(caught.value).splitlines()) == 3
    return caught.value


def test_places_are_told_once_and_in_order() -> None:
    found = reader()
    assert found.places == [Place(0, 8), Place(1, 0), Place(1, 4, 1), Place(1, 8, 0)]
    assert found.sizes == [4, 8]  # an empty tensor loses no entries


def test_numbers_are_those_of_the_segment_and_the_model() -> None:
    density = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    settings: dict[str, Any] = {"density": density, "lambda": np.array([1.0, 2.0])}
    found = reader(**settings)
    here, there = Place(0, 8), Place(1, 4, 1)
    assert [found.each("density", 2)(place) for place in (here, there)] == [0.3, 0.6]
    assert [found.shared("lambda")(place) for place in (here, there)] == [1.0, 2.0]  # the operator calls it lambda_
    assert [found.coefficient(2)(place) for place in (here, there)] == [0.25, -0.5]
    assert found.row(1) == (1.0, 0.0, -0.5)
    assert reader(density=0.7).each("density", 1)(there) == 0.7  # one number for all models
    assert found.fixed("normalize") is True


def test_models_that_are_zero_in_some_segments_only_are_used() -> None:
    assert reader(rows=np.array([[0.5, 0.0, 0.0], [0.0, 0.0, 0.5]])).used() == {0: "low", 2: "high"}


@pytest.mark.parametrize(
    ("operator", "settings", "is_paper"),
    [("ties", {}, True), ("ties", {"convention": "mergekit"}, False), ("linear", {}, False)],
)
def test_an_operator_without_conventions_is_not_the_papers(
    operator: str, settings: dict[str, Any], is_paper: bool
) -> None:
    found = reader(operator, **settings)
    assert found.is_paper == is_paper
    if is_paper:
        error = refused(lambda: found.refuse_paper("it rounds"), r"mergekit's ties differs .*: it rounds\.")
        assert (error.where, error.fix) == ("recipe, setting convention", FIX_CONVENTION)
    else:
        found.refuse_paper("it rounds")


def test_depth_is_scaled_where_a_block_says_so() -> None:
    found = RecipeReader(recipe("ties", [1.0], **DEPTH), IN_BLOCKS, 3)
    assert [found.depth_scale(place) for place in IN_BLOCKS] == [0.5, 0.5, 1.0, 1.5]
    assert found.scales_depth
    assert not RecipeReader(recipe("ties", [1.0], **DEPTH), IN_BLOCKS[2:3], 3).scales_depth  # 1 in the middle
    error = refused(found.check_depth, "cannot be scaled by depth")
    assert error.where.startswith("recipe, segment 0")


def test_settings_that_the_operator_lacks_are_told_with_their_segment() -> None:
    error = refused(lambda: reader("linear", colour=3.0), "'colour'")
    assert (error.where, error.fix) == ("recipe, segment 0, settings", FIX)


def test_other_values_than_the_default_are_refused_in_the_segment_that_has_them() -> None:
    found = reader("sce", exponent=np.array([1.0, 0.5]))
    default = type(found._operators[0]).settings()["exponent"]
    assert default == 1.0
    assert refused(lambda: found.check_default("exponent"), "'exponent' = 0.5").where == (
        "recipe, segment 1, setting exponent"
    )
    reader("sce").check_default("exponent")


def test_the_base_among_the_inputs_is_refused() -> None:
    found = reader()
    found.check_base(["low", "high"])
    found.check_base([])
    assert refused(lambda: found.check_base(["low", "base"]), "'base' is also one of the models").fix == FIX


def test_one_is_one_up_to_rounding_for_every_model_that_is_used() -> None:
    found = reader(rows=np.array([[1.0, 0.0, 1.0 + 1e-10], [1.0, 0.0, 1.0]]))
    found.check_one(lambda _, coefficient: coefficient, "the coefficient")
    other = reader(rows=np.array([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]))  # 0 in one segment, but used
    error = refused(lambda: other.check_one(lambda _, c: c, "the coefficient"), "the coefficient must be 1")
    assert error.where == "recipe, segment 1, coefficients [1.0, 0.0, 0.0]"


def test_the_base_among_the_models_may_have_any_coefficient() -> None:
    made = Recipe("ram", ("base", "low"), "base", np.array([0, 20]), np.array([[0.25, 1.0]]))
    RecipeReader(made, [Place(0, 8)], 0).check_one(lambda _, c: c, "the coefficient")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[0.5, 0.0, 0.5], [0.25, 0.0, 0.25]], None),  # equal within each segment
        ([[-0.5, 0.0, -0.5], [0.25, 0.0, 0.25]], "Segment 0 .* equal and positive"),
        ([[0.5, 0.0, 0.5], [0.25, 0.0, 0.5]], "Segment 1 .* equal and positive"),
        ([[0.5, 0.0, 0.5], [0.0, 0.0, 0.0]], "Segment 1 .* equal and positive"),
    ],
)
def test_only_equal_coefficients_say_nothing(rows: list[list[float]], words: str | None) -> None:
    found = reader(rows=np.array(rows))
    if words is None:
        found.check_equal(positive=True)
    else:
        refused(lambda: found.check_equal(positive=True), words)
    reader(rows=np.array([[-0.5, 0.0, -0.5], [0.25, 0.0, 0.25]])).check_equal()  # ratios are 1, whatever the sign


def test_equality_is_up_to_rounding() -> None:
    assert equal([])
    assert equal([0.1 + 0.2, 0.3])
    assert not equal([0.3, 0.3, 0.3 * (1 + 1e-8)])
    assert not equal([0.0, 1e-300])
