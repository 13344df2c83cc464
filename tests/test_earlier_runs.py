"""Earlier runs of the same problem warm-start a search, which then needs their folders no more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from searcher import session
from searcher.config import Config, load_config
from searcher.earlier_runs import earlier_trials
from searcher.errors import ConfigError, RunError
from searcher.sqlite_storage import SqliteStorage

ROOT = Path(__file__).parents[1]
# the last evaluation of a budget and the choice of a covariance depend on the budget
STRATEGY = "strategy={name: cma_es, scalarize: worst, warm_start: true, variant: full, final_mean: false}"


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def config(*overrides: str, n: int) -> Config:
    path = ROOT / "configs" / "quickstart.yaml"
    return load_config(path, [f"budget.evaluations={n}", "output.export=[]", *overrides])


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "earlier"
    session.start(config("strategy={name: random}", n=40), folder)
    return folder


def test_trials_of_an_earlier_run_are_told_and_kept(earlier: Path, tmp_path: Path) -> None:
    known = tmp_path / "known"
    shutil.copytree(earlier, known)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    asked = (STRATEGY, f"earlier_runs=[{known}]")
    session.start(config(*asked, n=22), whole)
    session.start(config(*asked, n=16), parts)
    shutil.rmtree(known)
    session.resume(parts, 6)
    with SqliteStorage(whole) as one, SqliteStorage(parts) as other, SqliteStorage(earlier) as first:
        trials = earlier_trials(one.header)
        scored = [c for c in first.candidates() if c.genome is not None]
        assert [t.candidate for t in trials] == list(range(-len(scored), 0))
        for told, candidate in zip(trials, scored, strict=True):
            assert told.genome is not None
            assert candidate.genome is not None
            assert told.genome.tolist() == candidate.genome.tolist()
        assert "known genomes" in one.header["strategy"]
        assert json.loads(json.dumps(one.header["earlier_runs"])) == other.header["earlier_runs"]
        assert [c.recipe.digest for c in one.candidates()] == [c.recipe.digest for c in other.candidates()]


def test_a_run_of_another_problem_is_refused(earlier: Path, tmp_path: Path) -> None:
    other = config(STRATEGY, f"earlier_runs=[{earlier}]", "space={name: layer_wise}", n=15)
    with pytest.raises(RunError, match=r"(?s)another problem: .*space differ.*earlier_runs"):
        session.start(other, tmp_path / "run")


def test_a_strategy_that_could_not_use_them_is_refused(earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)does not use earlier runs.*cma_es"):
        session.start(config("strategy={name: nsga2}", f"earlier_runs=[{earlier}]", n=15), tmp_path / "run")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        session.start(config(STRATEGY, f"earlier_runs=[{tmp_path / 'none'}]", n=15), tmp_path / "run")
