"""One process at a time writes a run folder."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from searcher.errors import RunError


def take_lock(folder: Path) -> Any:  # noqa: ANN401 - a filelock lock; its package is imported late
    """Lock a run folder until the process ends or ``release()`` is called.

    The lock is the operating system's, so that it ends with its process however that dies; the database only
    says whose it is.

    Raises:
        RunError: If another process holds it; names its pid and host.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(
            f"Another process is running this search: {_owner(folder)}.",
            where=str(folder),
            fix="Wait for it to end, or stop it; to search beside it choose another folder with --run.",
        ) from error
    return lock


def _owner(folder: Path) -> str:
    """Pid and host of the process that holds the lock."""
    try:
        uri = f"{(folder / 'run.db').resolve().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=5)) as db:
            pid, host = db.execute("SELECT pid, host FROM leases WHERE role = 'coordinator'").fetchone()
        return f"pid {pid} on {host}"
    except (sqlite3.Error, TypeError):
        return "a process that is just starting"
