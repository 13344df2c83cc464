"""Storages: what goes in comes out, one writer, damage is named."""

from __future__ import annotations

import math
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from searcher.candidate import Candidate, EarlyStop, Evaluation, Score
from searcher.errors import RunError
from searcher.recipe import Recipe
from searcher.sqlite_storage import SqliteStorage
from searcher.storage import Event, MemoryStorage, RunStorage

RECIPE = Recipe("ties", ("a", "b"), "base", np.array([0, 3, 9]), np.array([[0.1, 0.2], [0.3, -0.4]]), {"density": 0.5})


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunStorage]:
    if request.param == "memory":
        yield MemoryStorage()
        return
    with SqliteStorage(tmp_path, write=True) as opened:
        opened.write_header({"seed": 1})
        yield opened


def test_round_trip(storage: RunStorage) -> None:
    genome = np.array([0.1 + 0.2, 1 / 3, 1.0])
    storage.record([Candidate(0, RECIPE, None, (), "baseline", "a")])
    score = Score(0.5, math.nan, np.array([0.0, 1.0, math.nan]))
    storage.append(Evaluation(0, "search", {"x": score, "y": Score(-1e300)}, 0.25))
    storage.record([Candidate(1, RECIPE, genome, (0, 0), "strategy")], requested=3)
    storage.append(Evaluation(1, "search", {}, 0.5, "OutOfMemory", "no room\nleft"), told=True)
    storage.append(Evaluation(0, "held_out", {"x": Score(math.nan, 0.1)}, copied_from=0))

    first, second = storage.candidates()
    assert (first.number, first.origin, first.name, first.genome) == (0, "baseline", "a", None)
    assert first.recipe == second.recipe == RECIPE
    assert second.parents == (0, 0)
    assert second.genome is not None
    np.testing.assert_array_equal(second.genome, genome)
    searched, failed, held_out = storage.evaluations()
    assert searched.scores["x"].value == 0.5
    assert math.isnan(searched.scores["x"].stderr)  # missing stays missing, it does not become 0
    assert searched.scores["y"].value == -1e300
    assert (failed.error, failed.message, dict(failed.scores)) == ("OutOfMemory", "no room\nleft", {})
    assert math.isnan(held_out.scores["x"].value)
    assert held_out.copied_from == 0
    assert list(storage.events()) == [Event("ask", 1, 3, 1), Event("tell", 1, list(storage.events())[1].requested, 1)]
    np.testing.assert_array_equal(storage.examples(0, "search")["x"], [0.0, 1.0, math.nan])
    assert storage.examples(1, "search") == {}


def test_an_early_stop_round_trips(storage: RunStorage) -> None:
    stop = EarlyStop("race", {"x": 2, "ünï": 0}, 4)
    storage.record([Candidate(0, RECIPE)])
    storage.append(Evaluation(0, "search", {"x": Score(0.5, 0.1, np.array([0.0, 1.0, math.nan]))}, stopped=stop))
    [found] = storage.evaluations()
    assert found.stopped == stop
    np.testing.assert_array_equal(storage.examples(0, "search")["x"], [0.0, 1.0, math.nan])


def test_one_evaluation_per_split(storage: RunStorage) -> None:
    storage.record([Candidate(0, RECIPE)])
    storage.append(Evaluation(0, "search", {"x": Score(0.5)}))
    with pytest.raises(RunError, match="already has a search evaluation"):
        storage.append(Evaluation(0, "search", {"x": Score(0.6)}))
    assert [e.scores["x"].value for e in storage.evaluations()] == [0.5]


def test_candidates_are_durable_only_with_an_evaluation(tmp_path: Path) -> None:
    with SqliteStorage(tmp_path, write=True) as storage:
        storage.write_header({})
        storage.record([Candidate(0, RECIPE)], requested=1)
    with SqliteStorage(tmp_path) as storage:
        assert list(storage.candidates()) == []
        assert list(storage.events()) == []


def test_a_second_writer_is_refused_with_pid_and_host(tmp_path: Path) -> None:
    with SqliteStorage(tmp_path, write=True):
        with pytest.raises(RunError) as caught:
            SqliteStorage(tmp_path, write=True)
        assert f"pid {os.getpid()} on {socket.gethostname()}" in str(caught.value)
        SqliteStorage(tmp_path).close()  # readers are welcome
    SqliteStorage(tmp_path, write=True).close()


def test_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no run here"):
        SqliteStorage(tmp_path / "nowhere")


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.db").write_bytes(b"not a database at all" * 100)
    for write in (False, True):
        with pytest.raises(RunError, match="cannot be read"):
            SqliteStorage(tmp_path, write=write)
    (tmp_path / "run.db").unlink()
    SqliteStorage(tmp_path, write=True).close()  # the failed attempt gave the lock back


def test_a_database_that_was_only_just_created_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "run.db").write_bytes(b"")
    with SqliteStorage(tmp_path) as storage:
        assert storage.header == {}
        assert not [*storage.candidates(), *storage.evaluations(), *storage.events()]


def test_every_truncation_is_read_or_named(tmp_path: Path) -> None:
    with SqliteStorage(tmp_path / "run", write=True) as storage:
        storage.write_header({"seed": 1})
        for number in range(30):
            storage.record([Candidate(number, RECIPE)], requested=1)
            storage.append(Evaluation(number, "search", {"x": Score(float(number))}), told=True)
    whole = (tmp_path / "run" / "run.db").read_bytes()
    rng = np.random.default_rng(0)
    for i in range(60):
        damaged = bytearray(whole[: rng.integers(len(whole))] if i % 2 else whole)
        if i % 2 == 0:
            damaged[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        folder = tmp_path / str(i)
        folder.mkdir()
        (folder / "run.db").write_bytes(damaged)
        with suppress(RunError), SqliteStorage(folder) as storage:
            list(storage.candidates()), list(storage.evaluations()), list(storage.events())


def test_a_reader_sees_one_snapshot_while_a_writer_goes_on(tmp_path: Path) -> None:
    with SqliteStorage(tmp_path, write=True) as writer:
        writer.write_header({"seed": 1})
        writer.record([Candidate(0, RECIPE)])
        writer.append(Evaluation(0, "search", {"x": Score(0.0)}))
        with SqliteStorage(tmp_path) as reader:
            assert len(list(reader.candidates())) == 1
            writer.record([Candidate(1, RECIPE)])
            writer.append(Evaluation(1, "search", {"x": Score(1.0)}))
            assert len(list(reader.candidates())) == len(list(reader.evaluations())) == 1


def test_objectives_may_have_any_name(storage: RunStorage) -> None:
    storage.record([Candidate(0, RECIPE)])
    names = ["file", "a/b", "names", "scores_0", "ünï"]
    storage.append(Evaluation(0, "search", {n: Score(0.5, 0.1, np.full(3, float(i))) for i, n in enumerate(names)}))
    found = storage.examples(0, "search")
    assert [found[n].tolist() for n in names] == [[float(i)] * 3 for i in range(5)]


def test_another_schema_version_is_refused(tmp_path: Path) -> None:
    with SqliteStorage(tmp_path, write=True) as storage:
        storage.write_header({})
    with sqlite3.connect(tmp_path / "run.db") as db:
        db.execute("UPDATE header SET value = '99' WHERE key = 'schema'")
    with pytest.raises(RunError, match="schema 99"):
        SqliteStorage(tmp_path)


def test_a_torn_write_ahead_log_loses_at_most_the_last_evaluations(tmp_path: Path) -> None:
    source = tmp_path / "run"
    with SqliteStorage(source, write=True) as storage:
        storage.write_header({})
        for number in range(20):
            storage.record([Candidate(number, RECIPE)], requested=1)
            storage.append(Evaluation(number, "search", {"x": Score(float(number))}), told=True)
        database, log = (source / "run.db").read_bytes(), (source / "run.db-wal").read_bytes()
    for i, cut in enumerate(np.random.default_rng(0).integers(0, len(log), 40)):
        copy = tmp_path / f"copy{i}"
        copy.mkdir()
        (copy / "run.db").write_bytes(database)
        (copy / "run.db-wal").write_bytes(log[:cut])
        with SqliteStorage(copy, write=True) as storage:
            values = [e.scores["x"].value for e in storage.evaluations()]
            assert values == [float(n) for n in range(len(values))]
            assert len(list(storage.candidates())) == len(values)
