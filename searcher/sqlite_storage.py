"""A run folder with its ``run.db``: one SQLite file is the truth.

Write-ahead log and ``synchronous=FULL``; an evaluation is durable when ``append`` returns. What a strategy was
asked travels in the same transaction as the evaluation that follows it: a process killed in between asks again
on resume and, being a function of its history, gets the same answer. Per-example scores are one compressed array
file per evaluation beside the database.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from typing_extensions import override

from searcher.atomic import sweep_temporaries, write_atomically
from searcher.candidate import Candidate, EarlyStop, Evaluation, Origin, Score, Split
from searcher.disk_errors import damaged, database_error, file_error
from searcher.errors import RunError
from searcher.recipe import Recipe
from searcher.run_lock import take_lock
from searcher.storage import Event, RunStorage, recorded_twice

SCHEMA_VERSION = 2  # 2 added evaluations.stopped; a folder of schema 1 is read as it is and brought to 2 by a writer
_READABLE = (1, 2)

_TABLES = """
CREATE TABLE IF NOT EXISTS header (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS candidates (
    number INTEGER PRIMARY KEY, origin TEXT NOT NULL, name TEXT NOT NULL, genome BLOB, parents TEXT NOT NULL,
    recipe TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS evaluations (
    id INTEGER PRIMARY KEY, candidate INTEGER NOT NULL REFERENCES candidates(number), split TEXT NOT NULL,
    scores TEXT NOT NULL, seconds REAL NOT NULL, error TEXT, message TEXT NOT NULL, copied_from INTEGER,
    stopped TEXT, UNIQUE (candidate, split));
CREATE TABLE IF NOT EXISTS events (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, candidate INTEGER NOT NULL, requested INTEGER NOT NULL,
    count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS leases (role TEXT PRIMARY KEY, pid INTEGER NOT NULL, host TEXT NOT NULL);
"""
_INSERT_EVENT = "INSERT INTO events (kind, candidate, requested, count) VALUES (?, ?, ?, ?)"
_INSERT_EVALUATION = (
    "INSERT INTO evaluations (candidate, split, scores, seconds, error, message, copied_from, stopped) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)


class SqliteStorage(RunStorage, AbstractContextManager["SqliteStorage"]):
    """A run folder; use as a context manager. Readers see one snapshot, however long a writer goes on.

    Args:
        folder: The run folder; created if ``write``.
        write: Take the folder's lock; a second writer is refused with the pid and host of the first.

    Raises:
        RunError: If the folder is in use, is no run, is of another schema version, is damaged or cannot be used.
    """

    def __init__(self, folder: Path, *, write: bool = False) -> None:
        self.folder = folder
        self._path = folder / "run.db"
        self._pending: list[tuple[str, tuple[Any, ...]]] = []
        self._has_tables = self._has_stopped = False
        self._lock = self._prepare() if write else None
        if not write and not self._path.is_file():
            raise RunError(
                "There is no run here.",
                where=f"{folder} (no run.db)",
                fix="Give the run folder that `searcher optimize` wrote (key `run` of its config).",
            )
        try:
            with self._explained():
                self._db = _open_for_writing(self._path) if write else _open_for_reading(self._path)
                self.header = self._read_header()
        except BaseException:
            self._release()
            raise
        self._check_version()
        if write and not self._has_stopped:
            self._upgrade()

    def _upgrade(self) -> None:
        """Bring a folder of schema 1 to 2, in one transaction."""
        self._commit(
            [
                ("ALTER TABLE evaluations ADD COLUMN stopped TEXT", ()),
                ("UPDATE header SET value = ? WHERE key = 'schema'", (json.dumps(SCHEMA_VERSION),)),
            ]
        )
        self._has_stopped = True
        if "schema" in self.header:
            self.header["schema"] = SCHEMA_VERSION

    def _prepare(self) -> Any:  # noqa: ANN401 - a filelock lock
        """Make the folder, lock it, remove what killed processes left."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = take_lock(self.folder)
            sweep_temporaries(self.folder)
            sweep_temporaries(self.folder / "examples")
        except OSError as error:
            raise file_error(error, self.folder) from error
        return lock

    def _read_header(self) -> dict[str, Any]:
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master").fetchall()}
        self._has_tables = "events" in tables
        columns = self._db.execute("SELECT name FROM pragma_table_info('evaluations')").fetchall()
        self._has_stopped = ("stopped",) in columns  # schema 1 had no such column
        if not self._has_tables:  # a writer has only just made the file
            return {}
        return {key: json.loads(value) for key, value in self._db.execute("SELECT key, value FROM header").fetchall()}

    def _check_version(self) -> None:
        version = self.header.get("schema", SCHEMA_VERSION)
        if version not in _READABLE:
            self.close()
            known = " and ".join(map(str, _READABLE))
            raise RunError(
                f"This run was written with storage schema {version}, but this version reads {known}.",
                where=str(self._path),
                fix="Open it with the searcher version named in its header, or start a new run.",
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite and the decoding of its rows raise into run errors."""
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise database_error(error, self._path) from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise damaged(error, self._path) from error

    def write_header(self, header: Mapping[str, Any]) -> None:
        """Write the header, durable on return."""
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
            self._pending.append((_INSERT_EVENT, ("ask", candidates[0].number, requested, len(candidates))))

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
            None if evaluation.stopped is None else json.dumps(evaluation.stopped.to_json()),
        )
        statements = [*self._pending, (_INSERT_EVALUATION, row)]
        if told:
            statements.append((_INSERT_EVENT, ("tell", evaluation.candidate, 1, 1)))
        try:
            self._commit(statements)
        except sqlite3.IntegrityError as error:
            raise recorded_twice(evaluation) from error
        self._pending = []

    def _commit(self, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """Run statements in one transaction."""
        try:
            with self._explained():
                self._db.execute("BEGIN IMMEDIATE")
                for sql, row in statements:
                    self._db.execute(sql, row)
                self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _write_examples(self, evaluation: Evaluation) -> None:
        """One file per evaluation; objectives are numbered because their names may not be fit for keywords."""
        arrays = {n: s.example_scores for n, s in evaluation.scores.items() if s.example_scores is not None}
        if not arrays or evaluation.copied_from is not None:
            return
        numbered: dict[str, Any] = {f"scores_{i}": values for i, values in enumerate(arrays.values())}
        path = self._examples_path(evaluation.candidate, evaluation.split)
        try:
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, lambda file: np.savez_compressed(file, names=np.array(list(arrays)), **numbered))
        except OSError as error:
            raise file_error(error, path) from error

    def _examples_path(self, candidate: int, split: Split) -> Path:
        return self.folder / "examples" / f"{candidate:06d}.{split}.npz"

    @override
    def candidates(self) -> Iterator[Candidate]:
        query = "SELECT number, origin, name, genome, parents, recipe FROM candidates ORDER BY number"
        with self._explained():
            rows = self._db.execute(query).fetchall() if self._has_tables else []
            found = [
                Candidate(
                    number,
                    Recipe.from_json(json.loads(recipe)),
                    None if genome is None else np.frombuffer(genome, dtype="<f8").astype(np.float64),
                    tuple(json.loads(parents)),
                    cast(Origin, origin),
                    name,
                )
                for number, origin, name, genome, parents, recipe in rows
            ]
            if [c.number for c in found] != list(range(len(found))):
                raise ValueError("candidate numbers have gaps")
        return iter(found)

    @override
    def evaluations(self) -> Iterator[Evaluation]:
        columns = "candidate, split, scores, seconds, error, message, copied_from"
        query = f"SELECT {columns}, {'stopped' if self._has_stopped else 'NULL'} FROM evaluations ORDER BY id"
        with self._explained():
            rows = self._db.execute(query).fetchall() if self._has_tables else []
            found = [
                Evaluation(
                    candidate,
                    cast(Split, split),
                    {n: Score(_nan(value), _nan(stderr)) for n, (value, stderr) in json.loads(scores).items()},
                    float(seconds),
                    error,
                    message,
                    copied_from,
                    None if stopped is None else EarlyStop(**json.loads(stopped)),
                )
                for candidate, split, scores, seconds, error, message, copied_from, stopped in rows
            ]
        return iter(found)

    @override
    def events(self) -> Iterator[Event]:
        with self._explained():
            query = "SELECT kind, candidate, requested, count FROM events ORDER BY id"
            rows = self._db.execute(query).fetchall() if self._has_tables else []
        return iter([Event(*row) for row in rows])

    @override
    def examples(self, candidate: int, split: Split) -> Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]:
        path = self._examples_path(candidate, split)
        if not path.is_file():
            return {}
        with np.load(path, allow_pickle=False) as file:
            names = [str(name) for name in file["names"]]
            return {name: np.asarray(file[f"scores_{i}"], dtype=np.float64) for i, name in enumerate(names)}

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


def _open_for_writing(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=30, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.executescript(_TABLES)
    [(state,), *_] = db.execute("PRAGMA quick_check(1)").fetchall()
    if state != "ok":
        raise sqlite3.DatabaseError(state)
    db.execute("INSERT OR REPLACE INTO leases VALUES ('coordinator', ?, ?)", (os.getpid(), socket.gethostname()))
    return db


def _open_for_reading(path: Path) -> sqlite3.Connection:
    """A read-only connection in one snapshot, so that candidates and evaluations belong together."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    db = sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)
    try:
        db.execute("BEGIN")
        db.execute("SELECT 1 FROM sqlite_master").fetchall()
    except sqlite3.OperationalError:
        log = path.with_name("run.db-wal")
        if os.access(path.parent, os.W_OK) or (log.exists() and log.stat().st_size > 0):
            raise
        db.close()  # a finished run where nothing can be written: SQLite cannot make its shared-memory file
        db = sqlite3.connect(f"{uri}&immutable=1", uri=True, isolation_level=None)
    return db


def _null(value: float) -> float | None:
    """Nan as null; infinities are refused by the JSON writer."""
    return None if math.isnan(value) else float(value)


def _nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
