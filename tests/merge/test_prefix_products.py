"""Inner products over prefixes of the parameter line, against float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from searcher.merge.engine import MergeEngine
from searcher.merge.prefix_products import PrefixProducts
from searcher.merge.tables.store import TableStore
from searcher.recipe import Recipe

if TYPE_CHECKING:
    from searcher.pool.pool import Pool

SHAPES = {"a": (70, 90), "empty": (0, 3), "b": (5,), "c": (3, 4)}
NOWHERE = TableStore(None)


def vectors(pool: Pool) -> np.ndarray:
    """The base and the task vectors, or the models' weights, as stored; float64, shape (V, P)."""

    def line(source: Any) -> torch.Tensor:
        return torch.cat([source.read(e.name).reshape(-1) for e in pool.layout.tensors]).float()

    if pool.base is None:
        return torch.stack([line(m) for m in pool.models]).double().numpy()
    base = line(pool.base)
    taus = [line(m) if m.is_delta else line(m) - base for m in pool.models]
    return torch.stack([base, *taus]).double().numpy()


@pytest.mark.parametrize(("has_base", "n_adapters"), [(True, 0), (True, 2), (False, 0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_they_are_those_of_the_stored_values(
    make_pool: Callable[..., Pool], has_base: bool, n_adapters: int, dtype: torch.dtype
) -> None:
    pool = make_pool(3, dtype, n_adapters=n_adapters, has_base=has_base, shapes=SHAPES)
    products = PrefixProducts(pool, "cpu", dtype, NOWHERE)
    if n_adapters:
        for source in pool.models[-n_adapters:]:  # adapters are stored in the pool's type too
            tensors: dict[str, torch.Tensor] = source.tensors  # type: ignore[attr-defined]
            tensors.update({name: t.to(dtype) for name, t in tensors.items()})
    rows = vectors(pool)
    for position in (0, 1, 4095, 4096, 5000, 6299, 6300, 6302, 6305, 6306, rows.shape[1]):
        expected = rows[:, :position] @ rows[:, :position].T
        found = products(position)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(found, products(position))
        found[:] = 0.0  # the caller's own
    for outside in (-1, rows.shape[1] + 1):
        with pytest.raises(ValueError, match="position"):
            products(outside)


def test_sources_are_read_when_asked_and_once(make_pool: Callable[..., Pool], tmp_path: Path) -> None:
    def n_reads(pool: Pool) -> int:
        return sum(source.n_reads for source in (pool.base, *pool.models))  # type: ignore[union-attr]

    def make() -> tuple[Pool, PrefixProducts]:
        pool = make_pool(2, shapes=SHAPES)
        for k, source in enumerate((pool.base, *pool.models)):
            source.files = {"weights": f"{k}"}  # type: ignore[union-attr, misc]
        return pool, PrefixProducts(pool, "cpu", torch.float32, TableStore(tmp_path))

    pool, products = make()
    assert n_reads(pool) == 0
    products(6300)
    assert n_reads(pool) == 9  # three sources of three tensors that are not empty
    products(6305)
    assert n_reads(pool) == 9
    inside = products(17)
    assert n_reads(pool) == 12
    products(17)
    assert n_reads(pool) == 12
    again, from_disk = make()
    np.testing.assert_array_equal(from_disk(6305), products(6305))
    assert n_reads(again) == 0
    np.testing.assert_array_equal(from_disk(17), inside)


def test_the_engines_tables_are_the_same(make_pool: Callable[..., Pool], tmp_path: Path) -> None:
    """An operator that asks for angles leaves tables on disk that crossover finds."""
    pool = make_pool(2, shapes=SHAPES)
    products = PrefixProducts(pool, "cpu", torch.float32, NOWHERE)
    engine = MergeEngine(pool, device="cpu")
    recipe = Recipe("model_stock", ("m0", "m1"), "base", np.array([0, pool.layout.n_parameters]), np.ones((1, 2)))
    dict(engine.stream(recipe))
    whole = engine._tables.of("base").get("gram None", ("m0", "m1"), "a", lambda: None)
    assert whole is not None
    np.testing.assert_array_equal(products(6300), whole.products[0])
