"""From config to parts: everything that does not fit is an error in three lines; headers are JSON; scores repeat."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from searcher.assembly import (
    Parts,
    assemble,
    make_header,
    make_objectives,
    make_pool,
    rescore_folder,
    score_folder,
)
from searcher.candidate import SPLITS
from searcher.config import Config, make_config
from searcher.errors import ConfigError, PoolError, RunError, SearcherError
from searcher.merge.operators.base import OPERATORS
from searcher.run_header import data_hashes, package_versions, stored_config
from searcher.sqlite_storage import SqliteStorage
from searcher.yaml_file import YamlDocument
from tests.short_run import ROOT, quickstart, short_run

DIGITS = "examples/digits"


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def parts() -> Parts:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return assemble(quickstart())


def config(models: tuple[str, ...] = ("low", "high"), base: str | None = "base", **changes: Any) -> Config:
    """A config as from Python: a mapping without a file."""
    pool: dict[str, Any] = {"models": [f"{DIGITS}/{m}" for m in models], "loader": f"python:{DIGITS}/model.py:load"}
    if base is not None:
        pool["base"] = f"{DIGITS}/{base}"
    data: dict[str, Any] = {
        "pool": pool,
        "objectives": [{"name": "low", "type": "accuracy", "data": f"{DIGITS}/low.npz"}],
        **changes,
    }
    return make_config(YamlDocument(data))


def test_the_parts_fit_together(parts: Parts) -> None:
    assert [m.name for m in parts.pool.models] == ["low", "high", "noisy", "shifted"]
    assert parts.engine.layout.n_parameters == parts.pool.layout.n_parameters
    assert [i.name for i in parts.infos] == [o.name for o in parts.objectives] == ["low", "high", "noisy"]
    assert parts.evaluator.splits == SPLITS
    for info, objective in zip(parts.infos, parts.objectives, strict=True):
        assert objective.n_examples == sum(info.n_examples.values())
        assert (info.direction, info.unit) == ("maximize", "fraction")
    assert "3 objectives" in parts.strategy(0, 200).describe()


# (changes to the config, kind of error, words of it, where)
MISFITS: dict[str, tuple[dict[str, Any], type[SearcherError], str, str]] = {
    "no base for task arithmetic": ({"base": None}, ConfigError, "needs a base model", "pool"),
    "no base for ties": ({"base": None, "operator": {"name": "ties"}}, ConfigError, "'ties' needs a base", "pool"),
    "too many models for slerp": (
        {"models": ("low", "high", "noisy"), "operator": {"name": "slerp"}},
        ConfigError,
        "merges 1 to 2 models, but the pool has 3",
        "pool.models",
    ),
    "searched range": (
        {"operator": {"name": "ties", "density": {"search": [0.5, 7]}}},
        ConfigError,
        "cannot be searched in [0.5, 7]",
        "operator",
    ),
    "space range": ({"space": {"name": "model_wise", "range": [1, 0]}}, ConfigError, "low < high", "space"),
    "space granularity": (
        {"space": {"name": "layer_wise", "granularity": 0}},
        ConfigError,
        "The space cannot be made: Expected a granularity",
        "space",
    ),
    "strategy without its weights": (
        {"strategy": {"name": "cma_es"}, "objectives": [
            {"name": n, "type": "accuracy", "data": f"{DIGITS}/low.npz"} for n in ("one", "two")]},
        ConfigError,
        "the run has 2 objectives (one, two)",
        "strategy",
    ),
    "unknown optuna sampler": ({"strategy": {"name": "optuna:Nope"}}, ConfigError, "Nope", "strategy"),
    "wrong optuna argument": ({"strategy": {"name": "optuna:TPESampler", "x": 1}}, ConfigError, "x", "strategy"),
    "missing data": (
        {"objectives": [{"name": "low", "type": "accuracy", "data": "absent.npz"}]}, ConfigError, "absent.npz", ""
    ),
    "wrong array": (
        {"objectives": [{"name": "low", "type": "accuracy", "data": f"{DIGITS}/low.npz", "labels_key": "y"}]},
        ConfigError,
        "y",
        "",
    ),
    "wrong split": (
        {"objectives": [{"name": "low", "type": "accuracy", "data": f"{DIGITS}/low.npz", "split": {"search": 2.0}}]},
        ConfigError,
        "fraction",
        "",
    ),
    "missing function": (
        {"objectives": [{"name": "f", "type": "python", "function": f"{DIGITS}/model.py:nope"}]}, ConfigError, "nope", ""
    ),
    "missing model": ({"models": ("low", "absent")}, PoolError, "absent", ""),
    "missing base": ({"base": "absent"}, PoolError, "absent", ""),
    "same name twice": ({"models": ("low", "low")}, PoolError, "low", ""),
    "file for a folder": ({"models": ("low.npz",)}, PoolError, "low.npz", ""),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "kind", "what", "where"), MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_is_an_error_in_three_lines(
    changes: dict[str, Any], kind: type[SearcherError], what: str, where: str
) -> None:
    checked = config(**changes)
    with pytest.raises(kind) as caught:
        assemble(checked).strategy(0, 50)
    assert len(str(caught.value).splitlines()) == 3
    assert what in f"{caught.value.what} {caught.value.where}"
    assert f"key {where}" in caught.value.where or not where


def test_errors_name_the_line_of_the_file() -> None:
    with pytest.raises(ConfigError, match=r"quickstart\.yaml, line \d+, key space"):
        assemble(quickstart("space.range=[1, 0]"))
    with pytest.raises(ConfigError, match=r"quickstart\.yaml, line \d+, key pool\.models"):
        assemble(quickstart("operator=slerp"))


@pytest.mark.parametrize("name", OPERATORS.names())
def test_every_operator_fits_a_pool_of_its_size(name: str) -> None:
    operator = OPERATORS.get(name)
    models = ("low", "high")[: operator.n_models[1]]
    made = assemble(config(models, "base" if operator.needs_base else None, operator={"name": name}))
    assert made.space.names


def test_without_a_base_models_are_merged_linearly() -> None:
    made = assemble(config(base=None, operator={"name": "linear"}))
    assert made.pool.base is None
    assert len(made.space.names) == 2


def test_models_can_be_renamed() -> None:
    pool = {
        "base": f"{DIGITS}/base",
        "models": [{"path": f"{DIGITS}/low", "name": "left"}, f"{DIGITS}/high"],
        "loader": f"python:{DIGITS}/model.py:load",
    }
    assert [m.name for m in make_pool(config(pool=pool)).models] == ["left", "high"]


def test_reference_and_target_reach_the_record() -> None:
    objective = {"name": "low", "type": "accuracy", "data": f"{DIGITS}/low.npz", "reference": 0.25, "target": 0.9}
    [info] = assemble(config(objectives=[objective])).infos
    assert (info.reference, info.target) == (0.25, 0.9)
    assert info.n_examples.keys() == {"search", "held_out"}  # the default split


def test_a_header_is_json_and_enough_to_build_the_config_again(parts: Parts) -> None:
    header = make_header(parts, parts.strategy(0, 200))
    assert json.loads(json.dumps(header, allow_nan=False)) == header
    again = stored_config(header, Path("run"))
    assert again.resolved() == parts.config.resolved()
    assert again.root == parts.config.root
    assert header["genes"] == list(parts.space.names)
    assert sum(size for _, _, size, _, _ in header["layout"]) == parts.pool.layout.n_parameters
    assert header["hashes"] == dict(parts.pool.hashes)
    assert {"low", "high", "noisy"} == {o["name"] for o in header["objectives"]}
    files = ("low.npz", "high.npz", "noisy.npz", "model.py")
    assert set(header["data_hashes"]) == {f"{DIGITS}/{name}" for name in files}


def test_versions_are_those_installed() -> None:
    import numpy

    found = package_versions()
    assert found["numpy"] == numpy.__version__
    assert {"torch", "safetensors", "transformers"} <= set(found)


def test_data_outside_the_root_is_named_without_its_folder(tmp_path: Path) -> None:
    shutil.copy(f"{DIGITS}/low.npz", tmp_path / "secret.npz")
    objectives = make_objectives(
        config(objectives=[{"name": "x", "type": "accuracy", "data": str(tmp_path / "secret.npz")}])
    )
    assert set(data_hashes(objectives, "transformers", ROOT)) == {"secret.npz"}
    inside = data_hashes(make_objectives(config()), "transformers", ROOT)
    assert set(inside) == {f"{DIGITS}/low.npz"}
    assert list(inside.values()) == list(data_hashes(objectives, "transformers", ROOT).values())  # the same bytes


def test_the_loader_s_code_is_a_source_too() -> None:
    found = data_hashes(make_objectives(config()), f"python:{DIGITS}/model.py:load", ROOT)
    assert set(found) == {f"{DIGITS}/low.npz", f"{DIGITS}/model.py"}


def test_a_header_without_a_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="was stopped before it began"):
        stored_config({"schema": 1}, tmp_path)


def test_a_run_moved_to_another_machine_resolves_against_the_working_directory(parts: Parts) -> None:
    header = {**make_header(parts, parts.strategy(0, 200)), "root": "/nowhere/at/all"}
    assert stored_config(header, Path("run")).root == ROOT


def recorded(folder: Path) -> Mapping[str, dict[str, dict[str, float]]]:
    """Scores of the source models by name, split and objective."""
    with SqliteStorage(folder) as storage:
        names = {c.number: c.name for c in storage.candidates() if c.name}
        found: dict[str, dict[str, dict[str, float]]] = {}
        for e in storage.evaluations():
            if e.candidate in names:
                scores = {name: score.value for name, score in e.scores.items()}
                found.setdefault(names[e.candidate], {})[e.split] = scores
    return found


@pytest.mark.parametrize("name", ["base", "low", "high"])
def test_a_folder_scored_alone_has_the_scores_of_the_run(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = short_run(tmp_path_factory)
    run = recorded(folder)[name]
    splits = [s for s in SPLITS if s in run]
    assert {"search", "held_out"} <= set(splits)
    assert score_folder(quickstart(), ROOT / DIGITS / name, splits) == run
    assert rescore_folder(folder, Path(DIGITS) / name, ["held_out"]) == {"held_out": run["held_out"]}


def test_a_folder_without_a_model_cannot_be_scored(tmp_path: Path) -> None:
    with pytest.raises(PoolError):
        score_folder(quickstart(), tmp_path, ["search"])


@pytest.mark.parametrize(("kind", "expected"), [("loss", 1), ("accuracy", 0)])
def test_racing_without_anything_that_races_is_warned_of(kind: str, expected: int) -> None:
    objective = {"name": "low", "type": kind, "data": f"{DIGITS}/low.npz"}
    made = assemble(config(objectives=[objective], racing={"enabled": True}))
    warnings = make_header(made, made.strategy(0, 20))["warnings"]
    assert sum("no candidate will race" in warning for warning in warnings) == expected
