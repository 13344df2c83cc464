"""The record of a run: header, candidates, evaluations, and the order of asks and tells.

One SQLite file per run (write-ahead log, ``synchronous=FULL``) is the truth; an evaluation is durable when
``append`` returns. What a strategy was asked travels in the same transaction as the evaluation that follows it:
a process killed in between asks again on resume and, being a function of its history, gets the same answer.
Per-example scores are one compressed array per evaluation beside the database.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, cast

import numpy as np
from typing_extensions import override

from searcher.atomic import sweep_temporaries, write_atomically
from searcher.candidate import Candidate, Evaluation, Origin, Score, Split
from searcher.errors import RunError
from searcher.recipe import Recipe
from searcher.run_lock import take_lock

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Event:
    """One step of the conversation with the strategy.

    Args:
        kind: ``ask`` or ``tell``.
        candidate: First candidate asked, or the candidate told.
        requested: Size of the request (asks only).
        count: Number of candidates it concerns.
    """

    kind: Literal["ask", "tell"]
    candidate: int
    requested: int = 1
    count: int = 1


class RunStorage(ABC):
    """Where a run is recorded. One writer; evaluations are durable when ``append`` returns."""

    header: dict[str, Any]

    @abstractmethod
    def record(self, candidates: Sequence[Candidate], requested: int = 0) -> None:
        """Note new candidates; ``requested > 0`` says that a strategy was asked for that many.

        They become durable with the next ``append``.
        """

    @abstractmethod
    def append(self, evaluation: Evaluation, *, told: bool = False) -> None:
        """Record an evaluation, durable on return; ``told`` says that the strategy learns of it now.

        Raises:
            RunError: If it cannot be written (disk full) or this candidate already has one for this split.
        """

    @abstractmethod
    def candidates(self) -> Iterator[Candidate]:
        """All candidates by number."""

    @abstractmethod
    def evaluations(self) -> Iterator[Evaluation]:
        """All evaluations in recorded order; example scores may be left out (see ``examples``)."""

    @abstractmethod
    def events(self) -> Iterator[Event]:
        """Asks and tells in recorded order."""

    @abstractmethod
    def examples(self, candidate: int, split: Split) -> Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]:
        """Per-example scores by objective name; empty if there are none."""


class MemoryStorage(RunStorage):
    """A run that is forgotten with the process; for tests and benchmarks."""

    def __init__(self, header: Mapping[str, Any] | None = None) -> None:
        self.header = dict(header or {})
        self._candidates: list[Candidate] = []
        self._evaluations: dict[tuple[int, Split], Evaluation] = {}
        self._events: list[Event] = []

    @override
    def record(self, candidates: Sequence[Candidate], requested: int = 0) -> None:
        self._candidates += candidates
        if requested:
            self._events.append(Event("ask", candidates[0].number, requested, len(candidates)))

    @override
    def append(self, evaluation: Evaluation, *, told: bool = False) -> None:
        key = (evaluation.candidate, evaluation.split)
        if key in self._evaluations:
            raise _twice(evaluation)
        self._evaluations[key] = evaluation
        if told:
            self._events.append(Event("tell", evaluation.candidate))

    @override
    def candidates(self) -> Iterator[Candidate]:
        return iter(list(self._candidates))

    @override
    def evaluations(self) -> Iterator[Evaluation]:
        return iter(list(self._evaluations.values()))

    @override
    def events(self) -> Iterator[Event]:
        return iter(list(self._events))

    @override
    def examples(self, candidate: int, split: Split) -> Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]:
        evaluation = self._evaluations.get((candidate, split))
        scores = {} if evaluation is None else evaluation.scores
        return {name: s.example_scores for name, s in scores.items() if s.example_scores is not None}


_TABLES = """
CREATE TABLE IF NOT EXISTS header (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS candidates (
    number INTEGER PRIMARY KEY, origin TEXT NOT NULL, name TEXT NOT NULL, genome BLOB, parents TEXT NOT NULL,
    recipe TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS evaluations (
    id INTEGER PRIMARY KEY, candidate INTEGER NOT NULL REFERENCES candidates(number), split TEXT NOT NULL,
    scores TEXT NOT NULL, seconds REAL NOT NULL, error TEXT, message TEXT NOT NULL, copied_from INTEGER,
    UNIQUE (candidate, split));
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, candidate INTEGER NOT NULL, requested INTEGER NOT NULL,
    count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS leases (role TEXT PRIMARY KEY, pid INTEGER NOT NULL, host TEXT NOT NULL);
"""


class SqliteStorage(RunStorage, AbstractContextManager["SqliteStorage"]):
    """A run folder with its ``run.db``; use as a context manager.

    Args:
        folder: The run folder; created if ``write``.
        write: Take the folder's lock; a second writer is refused with the pid and host of the first.

    Raises:
        RunError: If the folder is in use, is no run, is of another schema version or is damaged.
    """

    def __init__(self, folder: Path, *, write: bool = False) -> None:
        self.folder = folder
        self._write = write
        self._lock: Any = None
        if write:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = take_lock(folder)
            sweep_temporaries(folder)
            sweep_temporaries(folder / "examples")
        elif not (folder / "run.db").is_file():
            raise RunError(
                "There is no run here.",
                where=f"{folder} (no run.db)",
                fix="Give the run folder that `searcher optimize` wrote (key `run` of its config).",
            )
        try:
            self._db = self._connect()
            rows = dict(self._db.execute("SELECT key, value FROM header").fetchall())
            self.header = {key: json.loads(value) for key, value in rows.items()}
        except sqlite3.DatabaseError as error:
            self._release()
            raise RunError(
                f"The run's database cannot be read: {error}.",
                where=str(folder / "run.db"),
                fix="Restore run.db and run.db-wal from a backup, or start a new run in another folder.",
            ) from error
        version = self.header.get("schema", SCHEMA_VERSION)
        if version != SCHEMA_VERSION:
            self.close()
            raise RunError(
                f"This run was written with storage schema {version}, but this version reads {SCHEMA_VERSION}.",
                where=str(folder / "run.db"),
                fix="Open it with the searcher version named in its header, or start a new run.",
            )

    def _connect(self) -> sqlite3.Connection:
        path = self.folder / "run.db"
        if not self._write:
            return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)
        db = sqlite3.connect(path, timeout=30, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.executescript(_TABLES)
        db.execute("INSERT OR REPLACE INTO leases VALUES ('coordinator', ?, ?)", (os.getpid(), socket.gethostname()))
        self._pending: list[tuple[str, tuple[Any, ...]]] = []
        return db

    def write_header(self, header: Mapping[str, Any]) -> None:
        """Write the header of a new run, durable on return."""
        self.header = {"schema": SCHEMA_VERSION, **header}
        rows = [(key, json.dumps(value, allow_nan=False)) for key, value in self.header.items()]
        self._commit([("INSERT OR REPLACE INTO header VALUES (?, ?)", row) for row in rows])

    @override
    def record(self, candidates: Sequence[Candidate], requested: int = 0) -> None:
        for c in candidates:
            genome = None if c.genome is None else c.genome.astype("<f8").tobytes()
            recipe = json.dumps(c.recipe.to_json(), allow_nan=False, separators=(",", ":"))
            row = (c.number, c.origin, c.name, genome, json.dumps(c.parents), recipe)
            self._pending.append(("INSERT INTO candidates VALUES (?, ?, ?, ?, ?, ?)", row))
        if requested:
            event = ("ask", candidates[0].number, requested, len(candidates))
            self._pending.append(("INSERT INTO events (kind, candidate, requested, count) VALUES (?, ?, ?, ?)", event))

    @override
    def append(self, evaluation: Evaluation, *, told: bool = False) -> None:
        self._write_examples(evaluation)
        row = (
            evaluation.candidate,
            evaluation.split,
            json.dumps({n: [_null(s.value), _null(s.stderr)] for n, s in evaluation.scores.items()}, allow_nan=False),
            evaluation.seconds,
            evaluation.error,
            evaluation.message,
            evaluation.copied_from,
        )
        insert = (
            "INSERT INTO evaluations (candidate, split, scores, seconds, error, message, copied_from) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)"
        )
        statements = [*self._pending, (insert, row)]
        if told:
            event = ("tell", evaluation.candidate, 0, 1)
            statements.append(("INSERT INTO events (kind, candidate, requested, count) VALUES (?, ?, ?, ?)", event))
        try:
            self._commit(statements)
        except sqlite3.IntegrityError as error:
            raise _twice(evaluation) from error
        self._pending = []

    def _commit(self, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """Run statements in one transaction."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for sql, row in statements:
                self._db.execute(sql, row)
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._rollback()
            raise RunError(
                f"The evaluation could not be recorded: {error}.",
                where=str(self.folder / "run.db"),
                fix="Free disk space or mend the permissions, then `searcher resume` this folder; nothing is lost.",
            ) from error
        except BaseException:
            self._rollback()
            raise

    def _rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _write_examples(self, evaluation: Evaluation) -> None:
        arrays: dict[str, Any] = {
            name: score.example_scores for name, score in evaluation.scores.items() if score.example_scores is not None
        }
        if not arrays or evaluation.copied_from is not None:
            return
        folder = self.folder / "examples"
        folder.mkdir(exist_ok=True)
        path = self._examples_path(evaluation.candidate, evaluation.split)
        try:
            write_atomically(path, lambda file: np.savez_compressed(file, **arrays))
        except OSError as error:
            raise RunError(
                f"Per-example scores could not be written: {error}.",
                where=str(path),
                fix="Free disk space or mend the permissions, then `searcher resume` this folder; nothing is lost.",
            ) from error

    def _examples_path(self, candidate: int, split: Split) -> Path:
        return self.folder / "examples" / f"{candidate:06d}.{split}.npz"

    @override
    def candidates(self) -> Iterator[Candidate]:
        query = "SELECT number, origin, name, genome, parents, recipe FROM candidates ORDER BY number"
        for number, origin, name, genome, parents, recipe in self._db.execute(query).fetchall():
            yield Candidate(
                number,
                Recipe.from_json(json.loads(recipe)),
                None if genome is None else np.frombuffer(genome, dtype="<f8").astype(np.float64),
                tuple(json.loads(parents)),
                cast(Origin, origin),
                name,
            )

    @override
    def evaluations(self) -> Iterator[Evaluation]:
        query = "SELECT candidate, split, scores, seconds, error, message, copied_from FROM evaluations ORDER BY id"
        for candidate, split, scores, seconds, error, message, copied_from in self._db.execute(query).fetchall():
            read = {n: Score(_nan(value), _nan(stderr)) for n, (value, stderr) in json.loads(scores).items()}
            yield Evaluation(candidate, cast(Split, split), read, seconds, error, message, copied_from)

    @override
    def events(self) -> Iterator[Event]:
        query = "SELECT kind, candidate, requested, count FROM events ORDER BY id"
        for kind, candidate, requested, count in self._db.execute(query).fetchall():
            yield Event(kind, candidate, requested, count)

    @override
    def examples(self, candidate: int, split: Split) -> Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]:
        path = self._examples_path(candidate, split)
        if not path.is_file():
            return {}
        with np.load(path, allow_pickle=False) as file:
            return {name: np.asarray(file[name], dtype=np.float64) for name in file.files}

    def close(self) -> None:
        """Close the database and give the folder back."""
        self._db.close()
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()

    @override
    def __enter__(self) -> Self:
        return self

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _twice(evaluation: Evaluation) -> RunError:
    return RunError(
        f"Candidate {evaluation.candidate} already has a {evaluation.split} evaluation.",
        where="run.db, table evaluations",
        fix="This is a defect of searcher; please report it with the run's log.jsonl.",
    )


def _null(value: float) -> float | None:
    """Nan as null; infinities are refused by the JSON writer."""
    return None if math.isnan(value) else float(value)


def _nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
