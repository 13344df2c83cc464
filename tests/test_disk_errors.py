"""What the operating system and SQLite say, in three lines that name the cause."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from searcher.disk_errors import damaged, database_error, file_error
from searcher.errors import RunError
from searcher.sqlite_storage import SqliteStorage

PATH = Path("runs/x/run.db")


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.ENOSPC, "full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EEXIST, "a file stands"),
        (errno.ENAMETOOLONG, "too long"),
        (errno.EIO, "Input/output"),
    ],
)
def test_causes_are_named(number: int, word: str) -> None:
    error = file_error(OSError(number, "Input/output error", "some/file"))
    assert word in error.what
    assert error.where == "some/file"
    assert len(str(error).splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "word", "fix"),
    [
        ("database or disk is full", "full", "Free disk space"),
        ("attempt to write a readonly database", "permission", "permissions"),
        ("unable to open database file", "cannot be opened", "permissions"),
        ("database disk image is malformed", "cannot be read", "backup"),
        ("file is not a database", "cannot be read", "backup"),
    ],
)
def test_a_full_disk_is_not_called_damage(text: str, word: str, fix: str) -> None:
    error = database_error(sqlite3.OperationalError(text), PATH)
    assert word in error.what
    assert fix in error.fix


def test_records_that_make_no_sense_are_damage() -> None:
    error = damaged(ValueError("candidate numbers have gaps"), PATH)
    assert "damaged" in error.what
    assert str(PATH) in error.where


def test_a_file_in_place_of_a_run_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("not a folder")
    for folder in (tmp_path / "run", tmp_path / "run" / "below"):
        with pytest.raises(RunError, match="a file stands where a folder is needed"):
            SqliteStorage(folder, write=True)
