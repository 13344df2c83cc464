from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from searcher.errors import CandidateError, ConfigError, PoolError, UnknownNameError
from searcher.merge.engine import MergeEngine
from searcher.merge.placement import is_finite
from searcher.merge.tables.magnitudes import MagnitudeTable
from searcher.recipe import Recipe, SettingValue

if TYPE_CHECKING:
    from searcher.merge.live_model import LiveModel
    from searcher.pool.pool import Pool

MakePool = Callable[..., "Pool"]
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def recipe_of(
    pool: Pool, operator: str = "linear", models: int = 2, boundaries: tuple[int, ...] = (), **chosen: SettingValue
) -> Recipe:
    """A recipe with distinct positive coefficients in every segment."""
    borders = np.array([0, *boundaries, pool.layout.n_parameters])
    coefficients = np.random.default_rng(5).uniform(0.1, 1.0, (borders.size - 1, models))
    names = tuple(source.name for source in pool.models[:models])
    base = None if pool.base is None else pool.base.name
    return Recipe(operator, names, base, borders, coefficients, chosen)


def streamed(engine: MergeEngine, recipe: Recipe) -> torch.Tensor:
    return torch.cat([tensor.reshape(-1) for _, tensor in engine.stream(recipe)])


@st.composite
def recipes(draw: st.DrawFn, n_parameters: int) -> Recipe:
    """Any operator, any cuts, settings per run, segment or model."""
    inner = sorted(draw(st.sets(st.integers(1, n_parameters - 1), max_size=6)))
    n = len(inner) + 1
    operator = draw(st.sampled_from(["linear", "task_arithmetic", "slerp", "ties"]))
    k = draw(st.integers(1, 2 if operator == "slerp" else 3))
    signed = operator in ("task_arithmetic", "ties")
    numbers = st.floats(-1.5 if signed else 0.1, 1.5, allow_subnormal=False)

    def array(low: float, high: float, *shape: int) -> SettingValue:
        values = draw(st.lists(st.floats(low, high), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        return np.array(values).reshape(shape)

    coefficients = np.array(draw(st.lists(numbers, min_size=n * k, max_size=n * k))).reshape(n, k)
    found: dict[str, SettingValue] = {}
    if operator in ("task_arithmetic", "ties"):
        found["lambda"] = draw(st.sampled_from([1.0, 0.3])) if draw(st.booleans()) else array(-2.0, 2.0, n)
    if operator == "ties":
        shape = draw(st.sampled_from([(n,), (n, k)]))
        found["density"] = draw(st.sampled_from([1.0, 0.4])) if draw(st.booleans()) else array(0.0, 1.0, *shape)
        found["vote"] = draw(st.sampled_from(["weighted", "unweighted"]))
        found["normalize"] = draw(st.booleans())
    if operator == "slerp":
        found["threshold"] = draw(st.sampled_from([0.0, 0.9995, 1.0]))
    models = tuple(draw(st.permutations(["m0", "m1", "m2"])))[:k]
    return Recipe(operator, models, "base", np.array([0, *inner, n_parameters]), coefficients, found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_adapters", [0, 1])
@settings(max_examples=15)
@given(data=st.data())
def test_build_equals_stream_bit_for_bit(
    make_pool: MakePool, dtype: torch.dtype, n_adapters: int, data: st.DataObject
) -> None:
    whole, cut, pool = engines(make_pool, dtype, n_adapters)
    recipe = data.draw(recipes(pool.layout.n_parameters))
    built = whole.build(recipe).weights
    assert torch.equal(built, streamed(whole, recipe))
    assert torch.equal(built, cut.build(recipe).weights)  # other kernels
    assert torch.equal(built, streamed(MergeEngine(pool, device="cpu"), recipe))  # nothing cached
    assert is_finite(built)


_ENGINES: dict[tuple[torch.dtype, int], tuple[MergeEngine, MergeEngine, Pool]] = {}


def engines(make_pool: MakePool, dtype: torch.dtype, n_adapters: int) -> tuple[MergeEngine, MergeEngine, Pool]:
    if (dtype, n_adapters) not in _ENGINES:
        pool = make_pool(dtype=dtype, n_adapters=n_adapters)
        both = MergeEngine(pool, device="cpu"), MergeEngine(pool, device="cpu", kernels="compiled")
        _ENGINES[dtype, n_adapters] = (*both, pool)
    return _ENGINES[dtype, n_adapters]


def test_a_segment_is_merged_as_if_it_were_alone(make_pool: MakePool) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    densities = np.array([0.3, 0.6, 1.0])
    recipe = recipe_of(pool, "ties", 3, (11, 40), density=densities)
    built = engine.build(recipe).weights.clone()
    for s in range(3):
        whole = Recipe(
            "ties",
            recipe.models,
            "base",
            recipe.boundaries[[0, -1]],
            recipe.coefficients[[s]],
            {"density": densities[s]},
        )
        a, b = recipe.boundaries[s : s + 2]
        assert torch.equal(built[a:b], engine.build(whole).weights[a:b])


@pytest.mark.parametrize("dtype", DTYPES)
def test_arithmetic_is_float32_and_rounded_once(make_pool: MakePool, dtype: torch.dtype) -> None:
    pool: Any = make_pool(dtype=dtype)
    found = MergeEngine(pool, device="cpu").build(recipe_of(pool, "linear", 3)).weights
    c = recipe_of(pool, "linear", 3).coefficients[0]
    rows = [torch.cat([t.reshape(-1) for t in model.tensors.values()]).double() for model in pool.models]
    exact = sum(weight * row for weight, row in zip(c / c.sum(), rows, strict=True))
    assert found.dtype == dtype
    if dtype == torch.float32:
        torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=1e-7)
    else:
        assert float((found != exact.to(dtype)).double().mean()) < 0.01  # only where float32 rounds to a half


def test_parameters_are_views_of_one_buffer(make_pool: MakePool) -> None:
    pool = make_pool()
    live = MergeEngine(pool, device="cpu").build(recipe_of(pool))
    start, size = live.weights.data_ptr(), live.weights.element_size()
    for entry in pool.layout.tensors:
        tensor = live.module.state_dict()[entry.name]
        assert tensor.data_ptr() == start + entry.offset * size
        assert tensor.shape == entry.shape
        assert torch.equal(tensor.reshape(-1), live.weights[entry.offset : entry.stop])


def test_tied_weights_are_stored_once(make_pool: MakePool) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    module: Any = engine.build(recipe_of(pool)).module
    assert module.head.weight is module.embed.weight
    assert "head.weight" not in dict(engine.stream(recipe_of(pool)))


def test_buffers_that_no_file_stores_are_untouched(make_pool: MakePool) -> None:
    pool = make_pool(dtype=torch.bfloat16)
    module: Any = MergeEngine(pool, device="cpu").build(recipe_of(pool)).module
    assert torch.equal(module.rotary, torch.tensor([1.0, 1e-9]))
    assert module.norm.num_batches_tracked.dtype == torch.int64
    assert int(module.norm.num_batches_tracked) == 0
    assert module.norm.running_mean.dtype == torch.bfloat16


def test_the_live_model_is_the_same_object_and_runs(make_pool: MakePool) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    first = engine.build(recipe_of(pool))
    before = first.weights.clone()
    second = engine.build(recipe_of(pool, "ties", 3, density=0.3))
    assert first is second
    assert second.recipe == recipe_of(pool, "ties", 3, density=0.3)
    assert not torch.equal(before, second.weights)
    module: Any = second.module
    embedded = module.embed(torch.tensor([1]))
    assert torch.equal(module.head(embedded)[0, 2], embedded[0] @ module.embed.weight[2])


def test_stream_yields_layout_order_in_the_storage_type(make_pool: MakePool) -> None:
    pool = make_pool(dtype=torch.bfloat16)
    for dtype in (None, "float32", "float16"):
        engine = MergeEngine(pool, device="cpu", dtype=dtype)
        found = [(name, tuple(tensor.shape), tensor.dtype) for name, tensor in engine.stream(recipe_of(pool))]
        assert found == [(entry.name, entry.shape, engine.dtype) for entry in pool.layout.tensors]


def test_stream_reads_one_tensor_of_each_source_at_a_time(make_pool: MakePool) -> None:
    pool: Any = make_pool()
    stream: Iterator[Any] = MergeEngine(pool, device="cpu").stream(recipe_of(pool, "ties", 3))
    for n in range(1, len(pool.layout.tensors) + 1):
        next(stream)
        assert [source.n_reads for source in (pool.base, *pool.models)] == [n] * 4


def test_sources_are_loaded_once(make_pool: MakePool) -> None:
    pool: Any = make_pool()
    engine = MergeEngine(pool, device="cpu")
    for _ in range(3):
        engine.build(recipe_of(pool, "task_arithmetic", 2))
    n = len(pool.layout.tensors)
    assert [source.n_reads for source in (pool.base, *pool.models)] == [n, n, n, 0]


def test_side_tables_are_computed_once(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    original = MagnitudeTable.of

    def counted(values: torch.Tensor, name: str) -> MagnitudeTable:
        calls.append(name)
        return original(values, name)

    monkeypatch.setattr(MagnitudeTable, "of", counted)
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    for boundaries in ((), (9, 31), (17,)):
        engine.build(recipe_of(pool, "ties", 2, boundaries, density=0.4))
    engine.build(recipe_of(pool, "ties", 2, density=0.5))
    assert sorted(calls) == sorted(2 * [entry.name for entry in pool.layout.tensors])  # once for each of two models


def test_adapters_equal_full_models(make_pool: MakePool, make_source: Any) -> None:
    pool: Any = make_pool(n_adapters=1)
    full = {name: t + pool.base.tensors[name] for name, t in pool.models[2].tensors.items()}
    other = replace(pool, models=(*pool.models[:2], make_source("m2", full)))
    for operator, models in (("linear", 3), ("task_arithmetic", 3), ("ties", 3), ("slerp", 2)):
        recipe = recipe_of(pool, operator, models, (13,))
        if operator == "slerp":
            recipe = replace(recipe, models=("m0", "m2"))
        first, second = (MergeEngine(p, device="cpu").build(recipe).weights for p in (pool, other))
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


def test_adapters_use_the_base_even_if_the_recipe_names_none(make_pool: MakePool) -> None:
    pool = make_pool(n_adapters=1)
    engine = MergeEngine(pool, device="cpu")
    recipe = recipe_of(pool, "linear", 3)
    assert torch.equal(engine.build(recipe).weights.clone(), engine.build(replace(recipe, base=None)).weights)


def test_the_base_may_be_merged_like_a_model(make_pool: MakePool) -> None:
    pool: Any = make_pool()
    recipe = Recipe("linear", ("base",), None, np.array([0, pool.layout.n_parameters]), np.array([[1.0]]))
    expected = torch.cat([t.reshape(-1) for t in pool.base.tensors.values()])
    assert torch.equal(MergeEngine(pool, device="cpu").build(recipe).weights, expected)


def test_a_failed_build_leaves_no_recipe(make_pool: MakePool) -> None:
    pool = make_pool()
    engine = MergeEngine(pool, device="cpu")
    live = engine.build(recipe_of(pool))
    bad = Recipe("linear", ("m0", "m1"), None, np.array([0, pool.layout.n_parameters]), np.array([[1.0, -1.0]]))
    with pytest.raises(CandidateError):
        engine.build(bad)
    assert live.recipe is None


def test_path_writes_the_present_weights(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from searcher.pool import writer

    written: dict[str, Any] = {}

    def write(folder: Path, tensors: Any, **given: Any) -> list[str]:
        written.update(given, folder=folder, tensors=dict(tensors))
        return []

    monkeypatch.setattr(writer, "write_model_folder", write)
    pool = make_pool(dtype=torch.bfloat16)
    live: LiveModel = MergeEngine(pool, device="cpu").build(recipe_of(pool))
    assert live.path(tmp_path / "model") == written["folder"] == tmp_path / "model"
    assert written["like"] is pool.base
    assert written["dtype"] == "bfloat16"
    assert list(written["tensors"]) == [entry.name for entry in pool.layout.tensors]
    assert torch.equal(torch.cat([t.reshape(-1) for t in written["tensors"].values()]), live.weights)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"operator": "linaer"}, UnknownNameError, "Did you mean 'linear'"),
        ({"models": ("m0", "m7")}, PoolError, "names 'm7', which is not in the pool"),
        ({"base": "bse"}, PoolError, "Did you mean 'base'"),
        ({"base": "m2"}, ValueError, "'m2' is an adapter"),
        ({"base": "m0", "models": ("m1", "m2")}, ValueError, "Expected base 'base'"),
        ({"operator": "ties", "base": None}, ValueError, "Expected a base for operator 'ties'"),
        ({"operator": "slerp", "models": ("m0",), "coefficients": np.ones((1, 1)), "base": None}, ValueError, "a base"),
        ({"boundaries": np.array([0, 10])}, ValueError, "Expected boundaries up to P"),
        ({"layers": (("m0", 0),)}, ValueError, "layer sequence"),
        ({"settings": {"density": 0.5}}, UnknownNameError, "setting of operator 'linear'"),
        ({"operator": "ties", "settings": {"density": 1.5}}, ConfigError, "'density'"),
        ({"operator": "ties", "settings": {"lambda": np.ones((1, 2)) * [1, 2]}}, ConfigError, "'lambda'"),
    ],
)
def test_recipes_that_do_not_fit(
    make_pool: MakePool, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    pool = make_pool(n_adapters=1)
    engine = MergeEngine(pool, device="cpu")
    recipe = replace(recipe_of(pool), **change)
    with pytest.raises(error, match=message):
        engine.build(recipe)
    with pytest.raises(error, match=message):
        next(engine.stream(recipe))


def test_too_many_models(make_pool: MakePool) -> None:
    pool = make_pool()
    with pytest.raises(ValueError, match="1 to 2 models for operator 'slerp', but got 3"):
        MergeEngine(pool, device="cpu").build(recipe_of(pool, "slerp", 3))


def test_a_parameter_that_the_layout_lacks(make_pool: MakePool) -> None:
    pool = replace(make_pool(), make_module=lambda: torch.nn.Linear(2, 2))  # type: ignore[call-arg]
    with pytest.raises(PoolError, match="'weight' that no source file stores"):
        MergeEngine(pool, device="cpu").build(recipe_of(pool))


@pytest.mark.parametrize(("device", "dtype"), [("cpu", "int8"), ("cuda:99", None), ("abacus", None)])
def test_devices_and_types_that_do_not_exist(make_pool: MakePool, device: str, dtype: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        MergeEngine(make_pool(), device=device, dtype=dtype)
    assert str(caught.value).count("\n") == 2


def test_float64_pools_are_stored_in_float32(make_pool: MakePool) -> None:
    engine = MergeEngine(make_pool(dtype=torch.float64), device="auto")
    assert engine.dtype == torch.float32
    assert engine.device in ("cpu", "cuda")


@cache
def _cuda() -> bool:
    return torch.cuda.is_available()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_build_equals_stream_on_the_gpu(make_pool: MakePool, dtype: torch.dtype) -> None:
    if not _cuda():
        pytest.skip("no CUDA device")
    pool = make_pool(dtype=dtype, n_adapters=1)
    engine = MergeEngine(pool, device="cuda")
    for operator, models in (("linear", 3), ("task_arithmetic", 3), ("ties", 3), ("slerp", 2)):
        recipe = recipe_of(pool, operator, models, (13, 40))
        assert torch.equal(engine.build(recipe).weights.cpu(), streamed(engine, recipe))
