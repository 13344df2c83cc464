"""Whole runs that race, on the digits pool: what is recorded, resume in the middle of a candidate, old folders."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher import session
from searcher.candidate import Evaluation, Score
from searcher.config import Config
from searcher.errors import ConfigError
from searcher.finished_run import open_run
from searcher.front_file import find_point
from searcher.merge.live_model import LiveModel
from searcher.objectives.accuracy import Accuracy
from searcher.sqlite_storage import SqliteStorage
from tests.short_run import ROOT, made_once, quickstart, short_config, short_run
from tests.toy import content

RACING = ("racing.enabled=true", "racing.block=8", "racing.error=0.2", "racing.margin=0.05")
N = 60


def config(*overrides: str) -> Config:
    return quickstart(f"budget.evaluations={N}", "strategy=random", *overrides)


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def raced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "raced-run", lambda folder: session.start(config(*RACING), folder))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "full-run", lambda folder: session.start(config(), folder))


def everything(folder: Path) -> tuple[Any, ...]:
    with SqliteStorage(folder) as storage:
        stops = [None if e.stopped is None else e.stopped.to_json() for e in storage.evaluations()]
        return repr(content(storage)), stops, json.loads((folder / "front.json").read_text())


def searched(folder: Path) -> dict[int, tuple[Evaluation, Any]]:
    with SqliteStorage(folder) as storage:
        found = [e for e in storage.evaluations() if e.split == "search"]
        return {e.candidate: (e, storage.examples(e.candidate, "search")) for e in found}


def test_candidates_that_were_not_stopped_score_as_without_racing_bit_for_bit(raced: Path, full: Path) -> None:
    with_race, without = searched(raced), searched(full)
    assert with_race.keys() == without.keys()
    n_stopped = 0
    for number, (evaluation, examples) in with_race.items():
        other, all_examples = without[number]
        if evaluation.stopped is not None:
            n_stopped += 1
            for name, n in evaluation.stopped.scored.items():
                np.testing.assert_array_equal(examples[name][:n], all_examples[name][:n])
                assert np.isnan(examples[name][n:]).all()
            continue
        assert {n: (s.value, s.stderr) for n, s in evaluation.scores.items()} == {
            n: (s.value, s.stderr) for n, s in other.scores.items()
        }
        assert all(np.array_equal(examples[name], all_examples[name]) for name in all_examples)
    assert n_stopped > 10


def test_stopped_candidates_are_counted_and_on_no_front(raced: Path) -> None:
    run = open_run(raced)
    stopped = [e for (_, split), e in run.history.evaluations.items() if split == "search" and e.stopped]
    numbers = {e.candidate for e in stopped}
    assert not numbers & {*run.history.front, *(c.number for c in run.history.baselines())}
    assert all((n, split) not in run.history.evaluations for n in numbers for split in ("select", "held_out"))
    record = json.loads((raced / "front.json").read_text())
    assert record["stopped_early"] == sum(1 for e in stopped if e.copied_from is None)
    sizes = {o.name: o.n_examples["search"] for o in run.history.objectives}
    stops = [e.stopped for e in stopped if e.stopped is not None and e.copied_from is None]
    saved = sum(sizes[name] - n for stop in stops for name, n in stop.scored.items())
    assert record["example_evaluations_saved"] == saved > 0
    searched_all = [e for (_, split), e in run.history.evaluations.items() if split == "search"]
    copies = sum(1 for e in searched_all if e.copied_from is not None)
    assert record["example_evaluations"] + saved == sum(sizes.values()) * (N - copies)
    assert "stopped early" in run.report_data().budget
    assert "stopped" in (raced / "log.jsonl").read_text()
    with pytest.raises(ConfigError, match="stopped early"):
        find_point(run.history, min(numbers))


def test_strategies_are_told_estimates(raced: Path) -> None:
    history = open_run(raced).history
    stopped = [e for (_, split), e in history.evaluations.items() if split == "search" and e.stopped]
    for evaluation in stopped:
        trial = history.trial(evaluation.candidate)
        assert trial.is_estimate
        assert trial.error is None
        assert trial.fitness is not None
        assert trial.fitness.tolist() == [evaluation.scores[o.name].value for o in history.objectives]
        assert history.fitness(evaluation.candidate) is None


def interrupt_at(call: int) -> Callable[..., Score]:
    """An Accuracy.evaluate that is interrupted at its n-th call, in whichever block that is."""
    original, calls = Accuracy.evaluate, [0]

    def evaluate(self: Accuracy, model: LiveModel, examples: slice | None, seed: int) -> Score:
        calls[0] += 1
        if calls[0] == call:
            raise KeyboardInterrupt
        return original(self, model, examples, seed)

    return evaluate


def test_a_run_interrupted_in_the_middle_of_a_raced_candidate_resumes_to_the_same(
    raced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in (45, 100, 333, 77, 500):
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(Accuracy, "evaluate", interrupt_at(call))
            session.start(config(*RACING), tmp_path)
    session.resume(tmp_path)
    assert everything(tmp_path) == everything(raced)


def test_a_strategy_that_learns_from_estimates_replays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = quickstart(f"budget.evaluations={N}", "strategy={name: nsga2, population: 10}", *RACING)
    session.start(made, tmp_path / "whole")
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(Accuracy, "evaluate", interrupt_at(400))
        session.start(made, tmp_path / "broken")
    session.start(made, tmp_path / "broken")
    assert everything(tmp_path / "broken") == everything(tmp_path / "whole")


def make_schema_1(folder: Path, run: Path) -> None:
    """A run folder as it was before evaluations could be stopped."""
    folder.mkdir()
    with sqlite3.connect(run / "run.db") as source, sqlite3.connect(folder / "run.db") as db:
        source.backup(db)
        db.execute("ALTER TABLE evaluations DROP COLUMN stopped")
        db.execute("UPDATE header SET value = '1' WHERE key = 'schema'")
        config_text = db.execute("SELECT value FROM header WHERE key = 'config'").fetchone()[0]
        old = {
            k: v
            for k, v in json.loads(config_text).items()
            if k not in ("racing", "cache", "item_selection", "halving")
        } | {"racing": {"enabled": False}}
        db.execute("UPDATE header SET value = ? WHERE key = 'config'", (json.dumps(old),))
    db.close()


def test_a_folder_of_the_first_schema_is_read_and_continued(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    make_schema_1(tmp_path / "old", short_run(tmp_path_factory))
    with SqliteStorage(tmp_path / "old") as storage:
        assert storage.header["schema"] == 1
        assert all(e.stopped is None for e in storage.evaluations())
    session.start(short_config(34), tmp_path / "old")
    with SqliteStorage(tmp_path / "old") as storage:
        assert storage.header["schema"] == 2
        assert sum(e.split == "search" for e in storage.evaluations()) == 34
