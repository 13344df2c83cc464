"""Run folders: kill -9 at random moments, resume, refusal of what would mix runs; on the real digits pool."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from searcher import session
from searcher.config import Config, load_config
from searcher.errors import PoolError, RunError, SearcherError
from searcher.sqlite_storage import SqliteStorage
from tests.toy import content

ROOT = Path(__file__).parents[1]
WEIGHTED = ("strategy.inner={name: cma_es, weights: [1.0, 1.0, 1.0]}",)


def config(*overrides: str, n: int = 40) -> Config:
    return load_config(
        ROOT / "configs" / "quickstart.yaml",
        [f"budget.evaluations={n}", "output.export=[]", "cache.enabled=false", *overrides],
    )


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def read(folder: Path) -> tuple[list[tuple[Any, ...]], Any]:
    with SqliteStorage(folder) as storage:
        return content(storage), json.loads((folder / "front.json").read_text())


@pytest.mark.parametrize(
    ("n_kills", "overrides"),
    [
        (12, ()),
        (8, ("strategy=natural_niches", "racing={enabled: true, block: 8}")),  # per-example scores, half of them nan
        (6, ("strategy={name: coarse_to_fine, inner: cma_es, evaluations: [20]}", *WEIGHTED)),
    ],
    ids=["nsga2", "m2n2, raced", "coarse to fine"],
)
def test_killed_runs_resume_to_the_unbroken_content_and_front(
    n_kills: int, overrides: tuple[str, ...], tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    session.start(config(*overrides, n=60), whole)
    n_killed = kill(killed, n_kills, 1, overrides)
    while n_killed < n_kills:  # a fast machine may finish early; kill further runs then
        again = tmp_path / f"again{n_killed}"
        more = kill(again, n_kills - n_killed, n_killed, overrides)
        assert more > 0
        n_killed += more
        assert read(again) == read(whole)
    assert read(killed) == read(whole)
    assert not list(killed.glob("**/*.tmp"))
    lines = (killed / "log.jsonl").read_text().splitlines()
    assert sum(_is_json(line) for line in lines) >= 60


def kill(folder: Path, n_kills: int, seed: int, overrides: tuple[str, ...]) -> int:
    """Run a search there to its end through that many kills at most; how many there were."""
    command = [str(ROOT / "tests" / "kill_driver.py"), str(folder), "60", str(n_kills), str(seed), *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def test_a_finished_run_is_not_run_again_but_can_be_extended(tmp_path: Path) -> None:
    session.start(config(n=20), tmp_path)
    before = read(tmp_path)
    session.start(config(n=20), tmp_path)
    session.resume(tmp_path)
    assert read(tmp_path) == before
    session.resume(tmp_path, 5)
    with SqliteStorage(tmp_path) as storage:
        assert sum(e.split == "search" for e in storage.evaluations()) == 25
    session.resume(tmp_path)  # the extended budget is the run's budget now


def test_a_new_budget_and_output_are_taken_from_the_config(tmp_path: Path) -> None:
    session.start(config(n=16), tmp_path)
    session.start(config("output.export=[knee]", n=18), tmp_path)
    with SqliteStorage(tmp_path) as storage:
        assert sum(e.split == "search" for e in storage.evaluations()) == 18
        assert storage.header["config"]["output"]["export"] == ["knee"]
        assert storage.header["first_budget"] == 16


def test_a_changed_loader_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    session.start(config(n=15), tmp_path / "run")
    model = tmp_path / "examples" / "digits" / "model.py"
    model.write_text(model.read_text() + "# another architecture\n")
    with pytest.raises(PoolError, match="changed since the run began"):
        session.resume(tmp_path / "run", 1)


def test_another_config_is_refused_and_named(tmp_path: Path) -> None:
    session.start(config(n=16), tmp_path)
    with pytest.raises(RunError, match="another config; seed, space changed"):
        session.start(config("seed=5", "space=model_wise", n=16), tmp_path)


def test_changed_sources_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    for changed in ("high/model.safetensors", "low.npz"):
        run = tmp_path / changed.replace("/", "-")
        session.start(config(n=15), run)
        path = tmp_path / "examples" / "digits" / changed
        original = path.read_bytes()
        if changed.endswith("npz"):
            shutil.copy(path.with_name("shifted.npz"), path)
        else:
            path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        with pytest.raises(PoolError, match="changed since the run began"):
            session.resume(run, 5)
        path.write_bytes(original)
        session.resume(run, 1)


def test_a_run_can_be_resumed_from_another_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session.start(config(n=15), tmp_path)
    monkeypatch.chdir("/")
    session.resume(tmp_path, 2)


def test_config_yaml_of_a_run_is_a_config_with_hashes(tmp_path: Path) -> None:
    first = config(n=15)
    session.start(first, tmp_path)
    assert load_config(tmp_path / "config.yaml").resolved() == first.resolved()
    text = (tmp_path / "config.yaml").read_text()
    assert "# SHA-256" in text
    assert "#   high/model.safetensors: " in text
    assert "#   torch: " in text


def test_unknown_placeholders_of_the_run_folder_are_errors() -> None:
    assert session.run_folder(config("run=runs/s{seed}", "seed=7")).name == "s7"
    with pytest.raises(SearcherError, match="unknown placeholder"):
        session.run_folder(config("run='runs/{sead}'"))


def test_nothing_recorded_yet_is_said(tmp_path: Path) -> None:
    SqliteStorage(tmp_path, write=True).close()
    with pytest.raises(RunError, match="was stopped before it began"):
        session.resume(tmp_path)
