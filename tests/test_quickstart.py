"""The shipped example, whole: what the first command of the README gives a new user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import searcher
from searcher import api
from searcher.multi_objective.hypervolume import hypervolume
from searcher.sqlite_storage import SqliteStorage
from tests.short_run import ROOT, made_once

NAMES = {"low", "high", "noisy"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> api.Run:
    """All 200 evaluations of configs/quickstart.yaml, with its export."""

    def optimize(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SEARCHER_CACHE", str(folder.parent / "cache of a new user"))
            assert searcher.optimize("configs/quickstart.yaml", run=folder).folder == folder

    return searcher.open_run(made_once(tmp_path_factory, "quickstart", optimize))


def fitness_of(run: api.Run, numbers: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    found = [f for n in numbers if (f := run.history.fitness(n)) is not None]
    return np.array(found, dtype=np.float64)


def test_the_budget_is_spent_and_nothing_fails(run: api.Run) -> None:
    assert run.history.n_searched == 200
    assert {e.error for e in run.history.evaluations.values()} == {None}
    assert len(run.history.baselines()) == 14


def test_the_search_beats_all_baselines_by_a_fifth(run: api.Run) -> None:
    baselines = fitness_of(run, [c.number for c in run.history.baselines()])
    assert run.history.hypervolume > 1.2 * hypervolume(baselines, run.history.reference)


def test_it_beats_them_on_examples_that_the_search_never_saw(run: api.Run) -> None:
    def held_out(numbers: list[int]) -> float:
        scores = [run.point(n).scores("held_out") for n in numbers]
        return hypervolume(np.array([[s[name] for name in sorted(NAMES)] for s in scores]), np.zeros(3))

    baselines = held_out([c.number for c in run.history.baselines()])
    assert held_out([p.number for p in run.front]) > 1.1 * baselines


def test_every_reported_point_has_held_out_scores(run: api.Run) -> None:
    assert len(run.front) >= 10
    for point in run.front:
        for split in ("search", "select", "held_out"):
            assert set(point.scores(split)) == NAMES
            assert all(0.0 <= value <= 1.0 for value in point.scores(split).values())
            assert all(error > 0 for error in point.stderr(split).values())


def test_splits_do_not_overlap_and_examples_are_recorded(run: api.Run) -> None:
    [number, *_] = [p.number for p in run.front if run.history.evaluations[p.number, "search"].copied_from is None]
    with SqliteStorage(run.folder) as storage:
        for split in ("search", "held_out"):
            examples = storage.examples(number, split)
            for info in run.history.objectives:
                assert examples[info.name].shape == (info.n_examples[split],)
                mean = float(examples[info.name].mean())
                assert run.point(number).scores(split)[info.name] == pytest.approx(mean)


def test_the_knee_is_exported_and_verified(run: api.Run) -> None:
    [row] = run.exports()
    knee = run.point("knee")
    assert (row.candidate, row.folder, row.format, row.verified) == (knee.number, "export/knee", "hf", True)
    manifest = json.loads((run.folder / "export" / "knee" / "manifest.json").read_text())
    verification = manifest["verification"]
    assert verification["passed"] is True
    assert verification["largest_difference"] <= verification["tolerance"]
    assert set(verification["scores"]) == {"search", "select", "held_out"}


def test_the_report_is_written_and_self_contained(run: api.Run) -> None:
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "hypervolume" in page
    assert '<script src="http' not in page
    assert '<link rel="stylesheet"' not in page


def test_the_run_folder_is_as_documented(run: api.Run) -> None:
    names = {path.name for path in run.folder.iterdir() if not path.name.startswith((".", "run.db-"))}
    assert names == {"run.db", "config.yaml", "front.json", "report.html", "examples", "log.jsonl", "export"}
    front = json.loads((run.folder / "front.json").read_text())
    assert front["evaluations"] == 200
    assert front["hypervolume"] == run.history.hypervolume
    events = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    assert sum(event["event"] == "evaluated" for event in events) == 200
    assert events[-1]["event"] in ("front", "finished")


@pytest.mark.slow
def test_the_tour_runs_as_a_script(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "examples/digits/tour.py"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "knee" in done.stdout
    assert "certainty.search" in done.stdout
    [exported] = [line.removeprefix("exported to ") for line in done.stdout.splitlines() if line.startswith("exported")]
    assert (Path(exported) / "model.safetensors").is_file()
    assert Path(exported).is_relative_to(tmp_path)
