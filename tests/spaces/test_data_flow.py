"""Which layers run: slots, fallback, bounds, scales, seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.baselines import standard_baselines
from searcher.pool.depth import built_layout
from searcher.pool.layout import build_layout
from searcher.recipe import Recipe
from searcher.spaces.base import SearchedSetting, SpaceContext
from searcher.spaces.data_flow import MAX_GENES, DataFlow

PARTS = {
    "input_layernorm": (4,), "post_attention_layernorm": (4,), "self_attn.q_proj": (4, 4), "self_attn.o_proj": (4, 4),
    "mlp.up_proj": (6, 4), "mlp.down_proj": (4, 6),
}  # fmt: skip


def context(n_layers: int = 4, models: tuple[str, ...] = ("a", "b"), base: str | None = None) -> SpaceContext:
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (9, 4), "model.norm.weight": (4,)}
    for layer in range(n_layers):
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in PARTS.items()}
    layout = build_layout(shapes, {"lm_head.weight": "model.embed_tokens.weight"})
    return SpaceContext(layout, models, base, "linear", fixed={"normalize": True})


def genome_of(space: DataFlow, **values: float) -> Any:
    """A genome with all genes at 0 but those named by number, as in ``g3``."""
    genome = np.zeros(len(space.names))
    for name, value in values.items():
        genome[int(name[1:])] = value
    return genome


def test_layers_run_in_the_order_of_the_list() -> None:
    space = DataFlow(context())
    assert space.names[:2] == ("a 0, pass 1", "a 1, pass 1")
    assert len(space.names) == 4 * 2 * 2 + 1
    recipe = space.decode(genome_of(space, g1=1.0, g4=0.6, g9=0.51, g8=0.5))
    assert recipe.layers == (("a", 1), ("b", 0), ("a", 1))
    assert recipe.operator == "linear"
    assert recipe.base is None
    assert recipe.settings["normalize"] is False


def test_no_genome_gives_an_empty_model() -> None:
    space = DataFlow(context())
    assert space.decode(np.zeros(17)).layers == (("a", 0),)
    assert space.decode(genome_of(space, g6=0.5, g3=0.4)).layers == (("b", 2),)


def test_a_result_has_at_most_one_and_a_half_times_the_layers() -> None:
    space = DataFlow(context())
    genome = np.linspace(0.51, 1.0, 17)
    found = space.decode(genome).layers
    assert found == (("a", 2), ("a", 3), ("b", 0), ("b", 1), ("b", 2), ("b", 3))  # the largest genes: the last
    assert len(DataFlow(context(), max_layers=9).decode(genome).layers or ()) == 9


def test_embeddings_and_head_are_of_the_model_that_a_gene_chooses() -> None:
    space, layout = DataFlow(context()), context().layout
    for gene, row in ((0.0, [1.0, 0.0]), (0.49, [1.0, 0.0]), (0.5, [0.0, 1.0]), (1.0, [0.0, 1.0])):
        recipe = space.decode(genome_of(space, g5=1.0, g16=gene))
        line = built_layout(recipe, layout)
        at = {
            t.name: recipe.coefficients[np.searchsorted(recipe.boundaries, t.offset, "right") - 1] for t in line.tensors
        }
        assert at["model.embed_tokens.weight"].tolist() == row
        assert at["model.norm.weight"].tolist() == row
        assert at["model.layers.0.mlp.up_proj.weight"].tolist() == [0.0, 1.0]
    fixed = DataFlow(context(), ends="b")
    assert "ends" not in fixed.names
    assert fixed.decode(genome_of(fixed, g0=1.0)).coefficients[0].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("n_layers", "n_models", "repeats", "each"), [(32, 2, 3, 2), (32, 2, 1, 1), (80, 4, 3, 10)])
def test_the_default_granularity_keeps_genes_few(n_layers: int, n_models: int, repeats: int, each: int) -> None:
    space = DataFlow(context(n_layers, tuple("abcd"[:n_models])), repeats=repeats)
    n = sum(name != "ends" for name in space.names)
    assert n == -(-n_layers // each) * n_models * repeats <= MAX_GENES
    scaled = DataFlow(context(n_layers, tuple("abcd"[:n_models])), repeats=repeats, scale=(0.5, 2.0))
    assert len(scaled.names) <= MAX_GENES + 1


def test_a_scale_divides_what_layers_add_to_the_stream() -> None:
    space, layout = DataFlow(context(), scale=(0.5, 2.0), repeats=1), context().layout
    genome = genome_of(space, g0=1.0, g2=1.0, g5=1.0)
    genome[8 + np.array([0, 2, 5])] = (np.array([0.5, 2.0, 1.6]) - 0.5) / 1.5
    recipe = space.decode(genome)
    line = built_layout(recipe, layout)
    for tensor in line.tensors:
        row = recipe.coefficients[np.searchsorted(recipe.boundaries, tensor.offset, "right") - 1]
        is_output = "o_proj" in tensor.name or "down_proj" in tensor.name
        expected = 1.0 / np.cumprod([0.5, 2.0, 1.6])[tensor.block] if is_output else 1.0
        assert row.sum() == pytest.approx(expected, abs=1e-12)


def test_only_the_first_layer_of_a_group_is_scaled() -> None:
    space = DataFlow(context(), scale=(0.5, 2.0), repeats=1, granularity=4, max_layers=8)
    genome = np.array([1.0, 1.0, (2.0 - 0.5) / 1.5, (0.8 - 0.5) / 1.5, 0.0])
    recipe = space.decode(genome)
    factors = sorted({round(float(1.0 / x), 9) for x in recipe.coefficients.sum(axis=1)})
    assert factors == [1.0, 1.6, 2.0]


@given(data=st.data())
def test_scaled_genomes_are_encoded(data: st.DataObject) -> None:
    space = DataFlow(context(), scale=(0.4, 2.5), granularity=data.draw(st.sampled_from([1, 2, 3])))
    n = len(space.names)
    genome = np.array(data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))
    recipe = space.decode(genome)
    again = space.encode(recipe)
    assert again is not None
    found = space.decode(again)
    assert found.layers == recipe.layers
    np.testing.assert_array_equal(found.boundaries, recipe.boundaries)
    np.testing.assert_allclose(found.coefficients, recipe.coefficients, rtol=1e-6, atol=1e-9)


def test_extreme_scales_stay_finite() -> None:
    wide = context(60)
    space = DataFlow(wide, scale=(1e-3, 1e3), granularity=1, max_layers=240)
    for value in (0.0, 1.0):
        genome = np.full(len(space.names), value)
        genome[:240] = 1.0
        recipe = space.decode(genome)
        assert np.isfinite(recipe.coefficients).all()
        assert (recipe.coefficients.sum(axis=1) > 0).all()
        assert space.encode(recipe) is not None


@pytest.mark.parametrize("base", [None, "base"])
def test_baselines_that_are_single_models_are_encoded(base: str | None) -> None:
    given = context(base=base)
    space = DataFlow(given, sources=("a", "b", *([base] if base else [])))
    for name, recipe in standard_baselines(given.models, base, given.layout.n_parameters):
        genome = space.encode(recipe)
        if name in ("a", "b", "base"):
            assert genome is not None
            found = space.decode(genome)
            assert found.layers == tuple((name, layer) for layer in range(4))
            assert found.n_segments == 1
            assert found.digest != recipe.digest
        else:
            assert genome is None


def test_a_model_whose_ends_are_not_allowed_is_outside() -> None:
    given = context()
    recipes = dict(standard_baselines(given.models, None, given.layout.n_parameters))
    space = DataFlow(given, ends="a")
    assert space.encode(recipes["a"]) is not None
    assert space.encode(recipes["b"]) is None


def test_known_sequences_written_by_hand_are_encoded() -> None:
    space, given = DataFlow(context(), granularity=1), context()
    layers = (("b", 0), ("b", 2), ("a", 1))
    bare = Recipe("linear", ("a",), None, np.array([0, 1]), np.ones((1, 1)), {}, layers)
    line = built_layout(bare, given.layout)
    rows = np.array(
        [[1.0, 0.0] if t.block is None else [float(layers[t.block][0] == n) for n in "ba"] for t in line.tensors]
    )
    borders = np.array([0, *(t.stop for t in line.tensors)])
    recipe = Recipe("linear", ("b", "a"), None, borders, rows, {"normalize": False}, layers)
    genome = space.encode(recipe)
    assert genome is not None
    assert space.decode(genome).layers == layers


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "repeats": ({"repeats": 0}, "repeats of at least 1"),
    "granularity": ({"granularity": 0}, "granularity of at least 1"),
    "max_layers": ({"granularity": 2, "max_layers": 1}, "max_layers of at least 2"),
    "sources": ({"sources": ("a", "z")}, r"Expected models of the pool \(a, b\), each once, but got \['z'\]"),
    "twice": ({"sources": ("a", "a")}, "each once"),
    "ends": ({"ends": "z"}, "Expected models of the pool"),
    "scale": ({"scale": (1.1, 2.0)}, "0 < low <= 1 <= high"),
    "negative": ({"scale": (-1.0, 2.0)}, "0 < low <= 1 <= high"),
}


@pytest.mark.parametrize(("settings", "words"), WRONG.values(), ids=WRONG)
def test_wrong_settings(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DataFlow(context(), **settings)


def test_other_operators_and_layouts_are_refused() -> None:
    given = context()
    with pytest.raises(ValueError, match="Expected operator `linear`"):
        DataFlow(SpaceContext(given.layout, ("a",), "base", "ties"))
    searched = (SearchedSetting("lambda", 0.5, 1.5),)
    with pytest.raises(ValueError, match="layers stay as they are, not lambda"):
        DataFlow(SpaceContext(given.layout, ("a",), None, "linear", searched=searched))
    twins = build_layout({f"{part}.layers.0.mlp.weight": (2, 2) for part in ("encoder", "decoder")}, {})
    with pytest.raises(ValueError, match="one stack of layers, but these have 2"):
        DataFlow(SpaceContext(twins, ("a",), None, "linear"))
    bare = build_layout({"layers.0.mlp.weight": (2, 2), "layers.1.mlp.weight": (2, 2)}, {})
    with pytest.raises(ValueError, match="Leave `scale` at"):
        DataFlow(SpaceContext(bare, ("a",), None, "linear"), scale=(0.5, 2.0))


def test_the_description_says_what_is_searched() -> None:
    text = DataFlow(context(), scale=(0.5, 2.0)).describe()
    assert "16 groups of 1 layer run or not, scaled by 0.5 to 2 before each; at most 6 layers" in text
    assert "4 layers each of a, b, 2 times over" in text
    assert "one of a, b (one gene)" in text
