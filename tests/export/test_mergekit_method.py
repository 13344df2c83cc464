"""All methods together: what is refused, what is written, and depth scaling, wherever mergekit has a place for it."""

from __future__ import annotations

import numpy as np
import pytest

from searcher.errors import ExportError
from searcher.export.mergekit_method import read_method
from searcher.recipe import Recipe
from tests.export.mergekit_recipes import DEPTH, IN_BLOCKS, MERGEKIT, PLACES, recipe


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


def test_the_paper_convention_can_be_changed_to_one_that_is_written() -> None:
    with pytest.raises(ExportError) as caught:
        read_method(recipe("sce", [1.0, 1.0]), PLACES)
    assert "convention: mergekit" in caught.value.fix
