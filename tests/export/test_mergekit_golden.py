"""Every configuration of the golden cases: its text, and the weights that mergekit and our own reader made from it."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from searcher.export.mergekit_method import METHODS
from searcher.export.mergekit_yaml import mergekit_yaml
from searcher.merge.engine import MergeEngine
from searcher.mergekit.merge_file import MergeOptions, merge_file
from searcher.mergekit.methods import METHODS as READ_METHODS
from searcher.pool.layout import Layout, build_layout
from searcher.pool.pool import Pool
from searcher.recipe import Recipe
from tests.export.tiny_models import llama_config, llama_shapes, recipe_by, write_llamas, write_model
from tests.golden.make_mergekit_yaml_golden import (
    CASES,
    FOLDER,
    NAME,
    SOURCES,
    Case,
    on_one_line,
    open_case_pool,
    run_mergekit,
)

RECORD: dict[str, Any] = json.loads((FOLDER / f"{NAME}.json").read_text(encoding="utf-8"))
BY_NAME = {case.name: case for case in CASES}
EXACT = ("ties", "task_arithmetic", "breadcrumbs_ties", "dare_linear", "dare_ties", "della", "passthrough")
ROUNDED_APART = (
    "linear with depth", "task_arithmetic with depth", "della_linear", "nuslerp", "nuslerp by vector", "multislerp",
)  # fmt: skip


@cache
def golden() -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(FOLDER / f"{NAME}.safetensors")
    return tensors


def write(recipe: Recipe, layout: Layout, dtype: str) -> str:
    return mergekit_yaml(recipe, layout, sources=SOURCES, dtype=dtype)


def sources_of(pool_name: str, root: Path) -> Pool:
    """The pool whose weights are in the golden file."""
    spec = RECORD["pools"][pool_name]
    shapes = llama_shapes(spec["n_layers"], tied=spec["tied"])
    for model in SOURCES:
        line, tensors = golden()[f"{pool_name}/{model}"], {}
        for entry in build_layout(shapes, {}).tensors:
            tensors[entry.name] = line[entry.offset : entry.stop].reshape(entry.shape).clone()
        write_model(root / pool_name / model, tensors, llama_config(**spec))
    return open_case_pool(root / pool_name)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, MergeEngine]:
    root = tmp_path_factory.mktemp("golden")
    return {name: MergeEngine(sources_of(name, root), device="cpu") for name in RECORD["pools"]}


def largest_operand(case: Case, recipe: Recipe) -> torch.Tensor:
    """Per element, the largest number that enters the sum; rounding is relative to it, not to what is left of it."""
    lines = [golden()[f"{case.pool}/{name}"].to(torch.float32).abs() for name in (*recipe.models, recipe.base or "low")]
    return torch.stack(lines).amax(dim=0) * max(1.0, float(np.abs(recipe.coefficients).max()))


def test_every_case_has_a_golden_result_and_the_other_way_round() -> None:
    assert set(RECORD["cases"]) == set(BY_NAME)
    assert RECORD["mergekit"] == "0.1.5"
    assert set(golden()) == set(BY_NAME) | {f"{pool}/{model}" for pool in RECORD["pools"] for model in SOURCES}


@pytest.mark.parametrize("name", BY_NAME)
def test_the_text_is_the_one_that_was_given_to_mergekit(name: str, engines: dict[str, MergeEngine]) -> None:
    case, record = BY_NAME[name], RECORD["cases"][name]
    engine = engines[case.pool]
    recipe = recipe_by(
        engine.layout, case.operator, case.row, models=case.models, base=case.base, settings=case.settings
    )
    assert recipe == Recipe.from_json(record["recipe"])
    assert write(recipe, engine.layout, str(engine.dtype).removeprefix("torch.")) == record["yaml"]


@pytest.mark.parametrize("name", BY_NAME)
def test_mergekit_made_our_weights(name: str, engines: dict[str, MergeEngine]) -> None:
    """Bit for bit in bfloat16 and where task vectors are summed; float32 linear and slerp to 2 epsilons of the operands.

    mergekit fuses product and sum in linear, and takes the angle of slerp in float32. The others are near enough in
    float32 if they are within 2e-6 of the tensor's largest entry.
    """
    case = BY_NAME[name]
    recipe = Recipe.from_json(RECORD["cases"][name]["recipe"])
    ours = torch.cat([tensor.reshape(-1) for _, tensor in engines[case.pool].stream(recipe)])
    theirs = golden()[name]
    assert ours.dtype == theirs.dtype
    if case.operator in ("arcee_fusion", "karcher") and not on_golden_machine():
        pytest.skip("what cancellation leaves decides, which differs between machines")
    if (case.operator in EXACT and "rescale" not in case.settings) or ours.dtype == torch.bfloat16:
        assert torch.equal(ours, theirs)
    if case.operator not in ("linear", "slerp"):
        for entry in engines[case.pool].layout.tensors:
            mine, other = (line[entry.offset : entry.stop].float() for line in (ours, theirs))
            assert float((mine - other).abs().max()) <= 2e-6 * float(other.abs().max()), entry.name
        return
    allowed = 2 * torch.finfo(ours.dtype).eps * largest_operand(case, recipe)
    assert bool(((ours.to(torch.float32) - theirs.to(torch.float32)).abs() <= allowed).all())


def on_golden_machine() -> bool:
    """Whether torch rounds as where the goldens were made."""
    here = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}
    return bool(here == RECORD["versions"])


@pytest.mark.parametrize("name", BY_NAME)
def test_our_own_reader_makes_the_same_weights(name: str, engines: dict[str, MergeEngine], tmp_path: Path) -> None:
    """Bit for bit where the conventions compute the same way; elsewhere within 2e-6 of the tensor's largest entry.

    Scalars that were multiplied beforehand (depth, normalisation) and other formulas of the same angle are rounded apart.
    """
    case, record = BY_NAME[name], RECORD["cases"][name]
    engine = engines[case.pool]
    (tmp_path / "merge.yaml").write_text(record["yaml"], encoding="utf-8")
    assert engine.pool.base is not None
    root = engine.pool.base.path.parent
    merge_file(tmp_path / "merge.yaml", tmp_path / "out", options=MergeOptions(device="cpu", root=root))
    theirs = load_file(tmp_path / "out" / "model.safetensors")
    ours = dict(engine.stream(Recipe.from_json(record["recipe"])))
    assert set(ours) == set(theirs)
    for tensor, mine in ours.items():
        if name not in ROUNDED_APART:
            assert torch.equal(mine, theirs[tensor]), tensor
        difference = (mine.float() - theirs[tensor].float()).abs().max()
        assert float(difference) <= 2e-6 * float(mine.float().abs().max()), tensor


def test_every_operator_that_mergekit_has_is_written_and_read_back() -> None:
    assert set(METHODS) == set(READ_METHODS) == {case.operator for case in CASES}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ties with densities by block", "slerp tied", "task_arithmetic bfloat16", "sce"])
def test_the_installed_mergekit_accepts_our_configurations(name: str, tmp_path: Path) -> None:
    program = shutil.which("mergekit-yaml")
    if program is None:
        pytest.skip("mergekit is not installed")
    case = BY_NAME[name]
    write_llamas(tmp_path, **RECORD["pools"][case.pool])
    pool = open_case_pool(tmp_path)
    engine = MergeEngine(pool, device="cpu")
    recipe = recipe_by(pool.layout, case.operator, case.row, models=case.models, base=case.base, settings=case.settings)
    made = run_mergekit(program, write(recipe, pool.layout, pool.dtype), tmp_path, tmp_path / "out")
    theirs = on_one_line(pool, made).to(torch.float32)
    ours = torch.cat([tensor.reshape(-1) for _, tensor in engine.stream(recipe)]).to(torch.float32)
    torch.testing.assert_close(ours, theirs, rtol=2 * torch.finfo(engine.dtype).eps, atol=1e-6)
