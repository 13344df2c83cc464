"""Whole runs that use known scores, or score on chosen examples first."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher import session
from searcher.cache_folder import cache_folder
from searcher.candidate import Score
from searcher.config import Config
from searcher.errors import ConfigError
from searcher.finished_run import open_run
from searcher.merge.live_model import LiveModel
from searcher.objectives.accuracy import Accuracy
from searcher.sqlite_storage import SqliteStorage
from tests.short_run import ROOT, made_once, quickstart
from tests.toy import content

ITEMS = ("item_selection.enabled=true", "item_selection.examples=40")
HALVING = "halving={enabled: true, first: 20}"
N = 40


def config(*overrides: str) -> Config:
    return quickstart(f"budget.evaluations={N}", "strategy=random", *overrides)


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache without scores that has the compiled kernels."""
    folder = tmp_path / "cache"
    folder.mkdir()
    for name in ("kernels", "tables"):
        (folder / name).symlink_to(cache_folder(name))
    monkeypatch.setenv("SEARCHER_CACHE", str(folder))
    return folder


def everything(folder: Path) -> tuple[str, Any]:
    with SqliteStorage(folder) as storage:
        return repr(content(storage)), json.loads((folder / "front.json").read_text())


def events(folder: Path, kind: str) -> list[Mapping[str, Any]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def counted(calls: list[int]) -> Callable[..., Score]:
    """An Accuracy.evaluate that notes the number of examples of each call."""
    original = Accuracy.evaluate

    def evaluate(self: Accuracy, model: LiveModel, examples: Any, seed: int) -> Score:
        calls.append(np.arange(self.n_examples)[examples].size)
        return original(self, model, examples, seed)

    return evaluate


def interrupted_at(n: int) -> Callable[..., Score]:
    """An Accuracy.evaluate that is interrupted at its n-th call."""
    original, left = Accuracy.evaluate, [n]

    def evaluate(self: Accuracy, model: LiveModel, examples: Any, seed: int) -> Score:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return original(self, model, examples, seed)

    return evaluate


@pytest.mark.parametrize("way", ["halving.enabled=false", HALVING, "racing={enabled: true, block: 8}", ITEMS[0]])
def test_a_second_run_knows_the_scores_of_the_first(
    way: str, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.start(config("cache.enabled=true", way), tmp_path / "first")
    calls: list[int] = []
    monkeypatch.setattr(Accuracy, "evaluate", counted(calls))
    session.start(config("cache.enabled=true", way), tmp_path / "second")
    assert everything(tmp_path / "second") == everything(tmp_path / "first")
    assert calls == []
    assert events(tmp_path / "first", "cache") == []
    (found,) = events(tmp_path / "second", "cache")
    assert found["rate"] == 1.0
    session.start(config("cache.enabled=true", way, "seed=1"), tmp_path / "other")
    assert calls  # another seed could have drawn other numbers


def test_a_run_without_the_cache_leaves_nothing_there(own_cache: Path, tmp_path: Path) -> None:
    session.start(config(), tmp_path / "run")
    assert not (own_cache / "scores").exists()


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "selected-run", lambda folder: session.start(config(*ITEMS), folder))


def test_chosen_examples_are_fewer_and_the_front_has_full_scores(selected: Path) -> None:
    run = open_run(selected)
    searched = [e for (_, split), e in run.history.evaluations.items() if split == "search"]
    stopped = {e.candidate: e.stopped for e in searched if e.stopped is not None}
    assert len(stopped) > 5
    assert all(stop.reason == "items" and set(stop.scored.values()) == {40} for stop in stopped.values())
    assert not stopped.keys() & {*run.history.front, *(c.number for c in run.history.baselines())}
    assert run.record()["example_evaluations_saved"] > 0


def test_an_interrupted_run_chooses_the_same_examples(
    selected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in (9, 40, 31):
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(Accuracy, "evaluate", interrupted_at(n))
            session.start(config(*ITEMS), tmp_path)
    session.resume(tmp_path)
    assert everything(tmp_path) == everything(selected)


@pytest.mark.parametrize("ways", [(*ITEMS, "racing.enabled=true"), (*ITEMS, HALVING), ("racing.enabled=true", HALVING)])
def test_only_one_way_of_sparing_examples(ways: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="in one way"):
        session.start(config(*ways), tmp_path)


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "halved-run", lambda folder: session.start(config(HALVING), folder))


def test_halving_spares_examples_and_the_front_has_full_scores(halved: Path) -> None:
    run = open_run(halved)
    searched = [e for (_, split), e in run.history.evaluations.items() if split == "search"]
    stopped = {e.candidate: e.stopped for e in searched if e.stopped is not None}
    assert len(stopped) > 5
    assert {stop.reason for stop in stopped.values()} == {"halving"}
    assert not stopped.keys() & {*run.history.front, *(c.number for c in run.history.baselines())}
    assert run.record()["example_evaluations_saved"] > 0


def test_an_interrupted_halving_goes_on_as_it_would_have(
    halved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in (50, 9):
        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(Accuracy, "evaluate", interrupted_at(n))
            session.start(config(HALVING), tmp_path)
    session.resume(tmp_path)
    assert everything(tmp_path) == everything(halved)
