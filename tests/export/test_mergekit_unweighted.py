"""Methods without weights: coefficients that say nothing are left out, all others are refused."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.errors import ExportError
from searcher.export.mergekit_method import read_method
from searcher.export.mergekit_recipe import MergekitMethod, Place
from searcher.recipe import Recipe
from tests.export.mergekit_recipes import HERE, MERGEKIT, PLACES, recipe


def shared(method: MergekitMethod) -> dict[str, float]:
    return {name: value(HERE) for name, value in method.shared.items()}


def test_a_model_without_effect_is_left_out_of_methods_without_weights() -> None:
    assert list(read_method(recipe("ram", [0.0, 1.0]), PLACES).inputs) == ["high"]
    assert list(read_method(recipe("sce", [2.0, 0.0], **MERGEKIT), PLACES).inputs) == ["low"]
    assert list(read_method(recipe("ram", [1.0, 1.0], base="low"), PLACES).inputs) == ["high"]


def test_sampled_quantiles_are_noted() -> None:
    made = recipe("arcee_fusion", [1.0], **MERGEKIT)
    assert read_method(made, [*PLACES, Place(0, 1_000_000)]).notes == ()
    assert "random sample" in read_method(made, [*PLACES, Place(0, 1_000_001)]).notes[0]


def test_whole_numbers_stay_whole() -> None:
    value = read_method(recipe("karcher", [1.0, 1.0], max_iter=3, **MERGEKIT), PLACES).shared["max_iter"](HERE)
    assert isinstance(value, int)


def test_karcher_is_of_weights() -> None:
    method = read_method(recipe("karcher", [0.5, 0.5], tol=1e-3, **MERGEKIT), PLACES)
    assert (method.base, list(method.inputs), shared(method)) == (None, ["low", "high"], {"max_iter": 10, "tol": 1e-3})
    with pytest.raises(ExportError, match="not task vectors") as caught:
        read_method(recipe("karcher", [0.5, 0.5], deltas=True, **MERGEKIT), PLACES)
    assert "deltas: false" in caught.value.fix
    assert read_method(recipe("karcher", [0.5, 0.5], None, deltas=True, **MERGEKIT), PLACES).base is None


def test_the_paper_and_mergekit_agree_on_one_model_on_the_sphere() -> None:
    assert list(read_method(recipe("karcher", [0.5]), PLACES).inputs) == ["low"]


@pytest.mark.parametrize(("operator", "row"), [("nearswap", [0.5]), ("arcee_fusion", [0.5]), ("ram", [0.5, 0.5])])
def test_coefficient_and_depth_may_make_one_together(operator: str, row: list[float]) -> None:
    settings = MERGEKIT if operator == "arcee_fusion" else {}
    assert read_method(recipe(operator, row, "base", lines_alpha=2.0, **settings), PLACES).base == "base"
    with pytest.raises(ExportError, match="must be 1"):
        read_method(recipe(operator, row, "base", lines_alpha=0.5, **settings), PLACES)


@pytest.mark.parametrize("operator", ["model_stock", "sce"])
def test_scales_of_the_change_may_make_one_together(operator: str) -> None:
    scale = {"model_stock": "t_scale", "sce": "lambda"}[operator]
    made = recipe(operator, [0.5, 0.5], "base", **{scale: 0.5, "lines_alpha": 2.0}, **MERGEKIT)
    assert read_method(made, PLACES).base == "base"
    with pytest.raises(ExportError, match="must be 1"):
        read_method(recipe(operator, [0.5, 0.5], "base", **{scale: 0.5}, **MERGEKIT), PLACES)


def test_settings_have_the_names_they_have_there() -> None:
    assert read_method(recipe("model_stock", [1.0, 1.0], filter_wise=True, **MERGEKIT), PLACES).fixed == {
        "filter_wise": True
    }
    assert shared(read_method(recipe("sce", [1.0, 1.0], select_topk=0.25, **MERGEKIT), PLACES)) == {"select_topk": 0.25}
    assert shared(read_method(recipe("nearswap", [1.0], t=0.01), PLACES)) == {"t": 0.01}
    assert shared(read_method(recipe("ram", [1.0, 1.0]), PLACES)) == {"epsilon": 1e-5}
    found = shared(read_method(recipe("ramplus_tl", [1.0, 1.0], r=0.3, alpha=0.5, epsilon=1.0), PLACES))
    assert found == {"r": 0.3, "alpha": 0.5, "epsilon": 1.0}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (recipe("nearswap", [0.0]), "takes 1 or more models, but 0 have a coefficient"),
        (recipe("model_stock", [1.0, 0.0], **MERGEKIT), "takes 2 or more models, but 1 have a coefficient"),
        (recipe("nearswap", [1.0], "low"), "base 'low' is also one of the models"),
    ],
)
def test_too_few_models_and_the_base_among_them_are_refused(made: Recipe, words: str) -> None:
    with pytest.raises(ExportError, match=words) as caught:
        read_method(made, PLACES)
    assert len(str(caught.value).splitlines()) == 3


def test_sce_without_models_is_the_base() -> None:
    assert read_method(recipe("sce", [0.0, 0.0], **MERGEKIT), PLACES).inputs == {}


@pytest.mark.parametrize("operator", ["karcher", "model_stock", "sce"])
def test_unequal_coefficients_are_refused(operator: str) -> None:
    with pytest.raises(ExportError, match="coefficients must be equal"):
        read_method(recipe(operator, [0.5, 0.25], **MERGEKIT), PLACES)


def test_one_segment_with_unequal_weights_is_named() -> None:
    rows = np.array([[0.5, 0.5], [0.5, 0.25]])
    made = Recipe("karcher", ("low", "high"), "base", np.array([0, 50, 100]), rows, MERGEKIT)
    with pytest.raises(ExportError, match=r"Segment 1 .* equal and not 0") as caught:
        read_method(made, [Place(0, 8), Place(1, 8)])
    assert caught.value.where == "recipe, segment 1, coefficients [0.5, 0.25]"
    positive = Recipe("sce", ("low", "high"), "base", np.array([0, 100]), np.array([[-0.5, -0.5]]), MERGEKIT)
    with pytest.raises(ExportError, match="equal and positive"):
        read_method(positive, PLACES)
