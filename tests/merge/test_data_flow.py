"""Models of another depth: equal to what transformers makes of the same layers, whatever the pool."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from searcher.errors import PoolError
from searcher.merge.data_flow import KEPT
from searcher.merge.engine import MergeEngine
from searcher.pool.depth import built_layout, find_stack
from searcher.pool.layout import Layout, build_layout
from searcher.pool.pool import Pool, open_pool
from searcher.recipe import Recipe
from tests.export.test_lora_export import write_adapter_folder
from tests.export.tiny_models import write_llamas
from tests.language.tiny_llama import llama, tiny_llama

N_LAYERS = 3
TOKENS = torch.arange(1, 21)[None]
Layers = Sequence[tuple[str, int]]
PLAIN = [("a", 0), ("a", 1), ("a", 2)]
SEQUENCES: dict[str, list[tuple[str, int]]] = {
    "a alone": PLAIN,
    "a layer left out": [("a", 0), ("a", 2)],
    "one layer": [("b", 1)],
    "repeats": [("a", 0), ("a", 1), ("a", 1), ("a", 1), ("a", 2)],
    "both models, backwards too": [("a", 0), ("b", 2), ("b", 1), ("a", 1), ("b", 0), ("a", 2), ("b", 2)],
}
every_sequence = pytest.mark.parametrize("layers", SEQUENCES.values(), ids=SEQUENCES)


def flow(pool: Pool, layers: Layers, ends: str | None = None, factor: float = 1.0) -> Recipe:
    """The recipe with these layers; ``factor`` multiplies every MLP's output projection."""
    models = tuple(dict.fromkeys([*(m.name for m in pool.models), *(source for source, _ in layers)]))
    bare = Recipe("linear", models, None, np.array([0, 1]), np.ones((1, len(models))), {}, tuple(layers))
    line = built_layout(bare, pool.layout)
    rows = [
        [float(name == (ends or models[0] if t.block is None else layers[t.block][0])) for name in models]
        for t in line.tensors
    ]
    rows = [
        [x * (factor if "down_proj" in t.name else 1.0) for x in row] for t, row in zip(line.tensors, rows, strict=True)
    ]
    borders = np.array([0, *(t.stop for t in line.tensors)])
    return Recipe("linear", models, None, borders, np.array(rows), {"normalize": False}, tuple(layers)).canonical()


def by_hand(models: dict[str, Any], layers: Layers, ends: str = "a") -> Any:
    """A transformers model of the layers, copied one by one into a model made from a config of that depth."""
    donor = models[ends]
    config = type(donor.config).from_dict({**donor.config.to_dict(), "num_hidden_layers": len(layers)})
    built = type(donor)(config).eval()
    for name in ("embed_tokens", "norm"):
        getattr(built.model, name).load_state_dict(getattr(donor.model, name).state_dict())
    for target, (source, layer) in zip(built.model.layers, layers, strict=True):
        target.load_state_dict(models[source].model.layers[layer].state_dict())
    if not config.tie_word_embeddings:
        built.lm_head.load_state_dict(donor.lm_head.state_dict())
    return built


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Pool, dict[str, Any]]:
    """Two Llamas as a pool, and as modules."""
    root, changes = tmp_path_factory.mktemp("pair"), {"layers": N_LAYERS, "tie_word_embeddings": request.param}
    for seed, name in enumerate("ab"):
        tiny_llama(root / name, seed=seed, **changes)
    pool = open_pool(base=None, models=["a", "b"], root=root)
    return pool, {name: llama(seed, **changes) for seed, name in enumerate("ab")}


@every_sequence
@torch.no_grad()
def test_logits_are_those_of_a_model_built_by_hand(pair: tuple[Pool, dict[str, Any]], layers: Layers) -> None:
    pool, models = pair
    live = MergeEngine(pool, device="cpu").build(flow(pool, layers))
    assert live.module.config.num_hidden_layers == len(layers)  # type: ignore[union-attr]
    assert torch.equal(live.module(TOKENS).logits, by_hand(models, layers)(TOKENS).logits)


@torch.no_grad()
def test_a_models_own_layers_are_that_model(pair: tuple[Pool, dict[str, Any]]) -> None:
    pool, models = pair
    engine = MergeEngine(pool, device="cpu")
    assert torch.equal(engine.build(flow(pool, PLAIN)).module(TOKENS).logits, models["a"](TOKENS).logits)
    row = np.array([[1.0, 0.0]])
    alone = engine.build(Recipe("linear", ("a", "b"), None, np.array([0, pool.layout.n_parameters]), row))
    assert torch.equal(engine.build(flow(pool, PLAIN)).weights, alone.weights)


@torch.no_grad()
def test_embeddings_and_head_may_be_of_another_model(pair: tuple[Pool, dict[str, Any]]) -> None:
    pool, models = pair
    live = MergeEngine(pool, device="cpu").build(flow(pool, PLAIN, ends="b"))
    assert torch.equal(live.module(TOKENS).logits, by_hand(models, PLAIN, ends="b")(TOKENS).logits)


@torch.no_grad()
def test_text_is_generated_with_a_cache_entry_for_each_layer(pair: tuple[Pool, dict[str, Any]]) -> None:
    pool, models = pair
    layers = SEQUENCES["repeats"]
    settings: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False, "attention_mask": torch.ones_like(TOKENS)}
    live = MergeEngine(pool, device="cpu").build(flow(pool, layers))
    ours = live.module.generate(TOKENS, use_cache=True, **settings)  # type: ignore[operator]
    assert torch.equal(ours, by_hand(models, layers).generate(TOKENS, use_cache=False, **settings))


@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_every_way_to_build_gives_the_same_bits(pair: tuple[Pool, dict[str, Any]], data: st.DataObject) -> None:
    pool, _ = pair
    layer = st.tuples(st.sampled_from("ab"), st.integers(0, N_LAYERS - 1))
    layers = data.draw(st.lists(layer, min_size=1, max_size=7))
    recipe = flow(pool, layers, data.draw(st.sampled_from("ab")), data.draw(st.floats(0.2, 5.0)))
    resident, streamed = (MergeEngine(pool, device="cpu", memory=memory) for memory in ("resident", "stream"))
    expected = resident.build(recipe).weights.clone()
    line = built_layout(recipe, pool.layout)
    assert torch.equal(streamed.build(recipe).weights, expected)
    assert torch.equal(MergeEngine(pool, device="cpu", kernels="compiled").build(recipe).weights, expected)
    tensors = dict(resident.stream(recipe))
    assert list(tensors) == [t.name for t in line.tensors]
    assert torch.equal(torch.cat([t.reshape(-1) for t in tensors.values()]), expected)
    for target, (source, number) in enumerate(layers):
        stored = pool.source(source).read(f"model.layers.{number}.mlp.down_proj.weight")
        factor = torch.tensor(_row(recipe, line, target).max(), dtype=torch.float32)
        assert torch.equal(tensors[f"model.layers.{target}.mlp.down_proj.weight"], stored * factor)


def _row(recipe: Recipe, line: Layout, depth: int) -> NDArray[np.float64]:
    """Coefficients of the MLP's output projection at a depth."""
    offset = next(t.offset for t in line.tensors if t.name == f"model.layers.{depth}.mlp.down_proj.weight")
    return np.asarray(recipe.coefficients[np.searchsorted(recipe.boundaries, offset, side="right") - 1])


def test_the_line_is_that_of_the_exported_model(pair: tuple[Pool, dict[str, Any]], tmp_path: Path) -> None:
    pool, _ = pair
    layers = SEQUENCES["both models, backwards too"]
    live = MergeEngine(pool, device="cpu").build(flow(pool, layers))
    exported = open_pool(base=None, models=[str(live.path(tmp_path / "out"))], root=tmp_path)
    line = find_stack(pool.layout).at_depth([layer for _, layer in layers]).layout
    assert exported.layout == line
    shapes = {t.name: t.shape for t in line.tensors}
    assert build_layout(shapes, line.tied) == line


@torch.no_grad()
def test_a_written_model_is_an_ordinary_one(pair: tuple[Pool, dict[str, Any]], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    pool, _ = pair
    live = MergeEngine(pool, device="cpu").build(flow(pool, SEQUENCES["repeats"], factor=0.5))
    folder = live.path(tmp_path / "out")
    module = AutoModelForCausalLM.from_pretrained(folder)
    assert module.config.num_hidden_layers == 5
    assert torch.equal(module(TOKENS).logits, live.module(TOKENS).logits)
    assert AutoTokenizer.from_pretrained(folder)("a stitch").input_ids


def test_depths_share_one_buffer_and_leave_the_ordinary_model_alone(pair: tuple[Pool, dict[str, Any]]) -> None:
    pool, _ = pair
    engine = MergeEngine(pool, device="cpu")
    row, borders = np.array([[0.5, 0.5]]), np.array([0, pool.layout.n_parameters])
    plain = engine.build(Recipe("linear", ("a", "b"), None, borders, row))
    before = plain.weights.clone()
    deepest = engine.build(flow(pool, [("a", 0)] * 7))
    kept = [engine.build(flow(pool, [("b", 1)] * n)) for n in range(1, KEPT + 1)]
    assert len({live.weights.untyped_storage().data_ptr() for live in (deepest, *kept)}) == 1
    assert [live.recipe is None for live in kept] == [True] * (KEPT - 1) + [False]
    assert engine.build(flow(pool, [("a", 2)] * KEPT)) is kept[-1]  # kept, and rewritten
    assert engine.build(flow(pool, [("a", 0)] * 7)) is not deepest  # its module was given up
    assert torch.equal(plain.weights, before)
    assert plain.recipe is not None


@torch.no_grad()
def test_layers_may_be_mixtures_of_the_models(pair: tuple[Pool, dict[str, Any]]) -> None:
    pool, _ = pair
    engine = MergeEngine(pool, device="cpu")
    recipe = flow(pool, [("a", 0), ("a", 2)])
    mixed = Recipe(
        "linear", ("a", "b"), None, recipe.boundaries, np.full((recipe.n_segments, 2), 0.5), {}, recipe.layers
    )
    found = dict(engine.stream(mixed))["model.layers.1.mlp.up_proj.weight"]
    a, b = (pool.source(n).read("model.layers.2.mlp.up_proj.weight") for n in "ab")
    torch.testing.assert_close(found, (a + b) / 2)


def test_sources_of_every_kind(tmp_path: Path) -> None:
    """A base, a full model in bfloat16 and adapters: each layer has the bits that the model alone has there."""
    base, low, _ = write_llamas(tmp_path, n_layers=4)
    _, narrow, _ = write_llamas(tmp_path / "narrow", n_layers=4, dtype="bfloat16")
    write_adapter_folder(
        tmp_path / "adapter", 5, {"r": 4, "lora_alpha": 8, "targets": ["self_attn.o_proj"]}, n_layers=4
    )
    pool = open_pool(base=str(base), models=[{"path": str(p), "name": n} for p, n in (
        (low, "low"), (narrow, "narrow"), (tmp_path / "adapter", "adapter"))], root=tmp_path)  # fmt: skip
    engine = MergeEngine(pool, device="cpu")
    alone = {
        name: {t.name: pool.source(name).read(t.name).float() for t in pool.layout.tensors}
        for name in ("base", "low", "narrow")
    }
    alone["adapter"] = {
        t.name: alone["base"][t.name] + pool.source("adapter").read(t.name) for t in pool.layout.tensors
    }
    layers = [("adapter", 0), ("narrow", 3), ("base", 1), ("low", 2), ("adapter", 3), ("adapter", 0)]
    recipe = flow(pool, layers, ends="adapter")
    found = dict(engine.stream(recipe))
    assert torch.equal(engine.build(recipe).weights, torch.cat([t.reshape(-1) for t in found.values()]))
    for name, tensor in found.items():
        depth = int(name.split(".")[2]) if ".layers." in name else None
        source, layer = layers[depth] if depth is not None else ("adapter", 0)
        assert torch.equal(tensor, alone[source][name.replace(f"layers.{depth}.", f"layers.{layer}.")])


def test_kinds_of_layers_follow_the_layers(tmp_path: Path) -> None:
    """Gemma 2 alternates windows by the layer's number, which its config.json need not say."""
    folder = save_alternating(tmp_path / "a")
    pool = open_pool(base=None, models=[str(folder)], root=tmp_path)
    live = MergeEngine(pool, device="cpu").build(flow(pool, [("a", 1), ("a", 1), ("a", 0)]))
    config: Any = live.module.config
    assert config.layer_types == ["full_attention", "full_attention", "sliding_attention"]
    written = json.loads((live.path(tmp_path / "out") / "config.json").read_text())
    assert written["layer_types"] == config.layer_types
    assert written["num_hidden_layers"] == 3


def save_alternating(folder: Path) -> Path:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=8, vocab_size=40, pad_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    Gemma2ForCausalLM(config).save_pretrained(folder)
    content = json.loads((folder / "config.json").read_text())
    assert content.pop("layer_types") == ["sliding_attention", "full_attention"]
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def test_a_gpt2_has_other_depths_too(tmp_path: Path) -> None:
    """Names without a common prefix of the module, weights stored as (in, out)."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    module = GPT2LMHeadModel(GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=32, vocab_size=40)).eval()
    module.save_pretrained(tmp_path / "a")
    pool = open_pool(base=None, models=[str(tmp_path / "a")], root=tmp_path)
    live = MergeEngine(pool, device="cpu").build(flow(pool, [("a", 1), ("a", 0), ("a", 1)]))
    config = GPT2Config.from_dict({**module.config.to_dict(), "n_layer": 3})
    expected = GPT2LMHeadModel(config).eval()
    state = module.state_dict()
    swapped = {
        k.replace(f".h.{j}.", f".h.{i}."): v
        for i, j in enumerate((1, 0, 1))
        for k, v in state.items()
        if f".h.{j}." in k
    }
    expected.load_state_dict({**{k: v for k, v in state.items() if ".h." not in k}, **swapped})
    with torch.no_grad():
        assert torch.equal(live.module(TOKENS).logits, expected(TOKENS).logits)


WRONG = {
    "operator": ({"operator": "task_arithmetic", "base": "a"}, "Expected operator 'linear' without a base"),
    "length": ({"boundaries": np.array([0, 5])}, "the parameters of 2 layers"),
    "layer": ({"layers": (("a", 0), ("a", 3))}, "Expected layers from 0 to 2"),
    "no layer": ({"layers": ()}, "at least one"),
    "not the source's weights": ({"layers": (("a", 0), ("b", 1))}, "Expected weights of 'b' at depth 1"),
}


@pytest.mark.parametrize(("changes", "words"), WRONG.values(), ids=WRONG)
def test_recipes_that_do_not_fit(pair: tuple[Pool, dict[str, Any]], changes: dict[str, Any], words: str) -> None:
    pool, _ = pair
    p = flow(pool, [("a", 0), ("a", 1)]).n_parameters
    given: dict[str, Any] = {
        "operator": "linear", "models": ("a", "b"), "base": None, "boundaries": np.array([0, p]),
        "coefficients": np.array([[1.0, 0.0]]), "layers": (("a", 0), ("a", 1)),
    }  # fmt: skip
    engine, recipe = MergeEngine(pool, device="cpu"), Recipe(**{**given, **changes})
    with pytest.raises(ValueError, match=words):
        engine.build(recipe)
    with pytest.raises(ValueError, match=words):
        next(engine.stream(recipe))
    with pytest.raises(ValueError, match="keeps the order of layers"):
        engine.build_many([Recipe(**given)])


def test_sources_outside_the_pool(pair: tuple[Pool, dict[str, Any]]) -> None:
    pool, _ = pair
    recipe = Recipe("linear", ("z",), None, np.array([0, 1]), np.ones((1, 1)), {}, (("z", 0),))
    with pytest.raises(PoolError, match="no model 'z' in the pool"):
        MergeEngine(pool, device="cpu").build(recipe)
