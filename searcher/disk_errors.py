"""What the operating system and SQLite say of files, in three lines."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

from searcher.errors import RunError

_CAUSES = {
    errno.ENOSPC: ("the disk is full", "Free disk space, then run the same command again; what is recorded is safe."),
    errno.EDQUOT: ("the disk quota is used up", "Free disk space, then run the same command again."),
    errno.EROFS: ("the disk is read-only", "Mount it for writing, or choose another folder with --run."),
    errno.EACCES: ("permission is denied", "Mend the permissions, or choose another folder with --run."),
    errno.EPERM: ("permission is denied", "Mend the permissions, or choose another folder with --run."),
    errno.ENAMETOOLONG: ("its name is too long", "Choose a shorter folder with --run."),
    errno.EEXIST: ("a file stands where a folder is needed", "Remove the file, or choose another folder with --run."),
    errno.ENOTDIR: ("a file stands where a folder is needed", "Remove the file, or choose another folder with --run."),
    errno.EISDIR: ("a folder stands where a file is needed", "Remove the folder, or choose another one with --run."),
}
DAMAGED_FIX = "Restore run.db and run.db-wal from a backup, or start a new run in another folder."


def file_error(error: OSError, path: Path | None = None) -> RunError:
    """A file that cannot be read or written, as an error that a user can act on."""
    where = str(error.filename or path or "a file of the run")
    cause, fix = _CAUSES.get(
        error.errno or 0, (error.strerror or str(error), "Mend it, then run the same command again.")
    )
    return RunError(f"A file cannot be used: {cause}.", where=where, fix=fix)


def database_error(error: sqlite3.Error, path: Path) -> RunError:
    """A database that cannot be used: full disk, no permission, or damage."""
    text = str(error)
    if "full" in text:
        return file_error(OSError(errno.ENOSPC, text), path)
    if "readonly" in text or "read-only" in text:
        return file_error(OSError(errno.EACCES, text), path)
    if "unable to open" in text or "disk I/O" in text:
        what = f"The run's database cannot be opened: {text}."
        return RunError(what, where=str(path), fix="Check the disk, its permissions and the length of the path.")
    return RunError(f"The run's database cannot be read: {text}.", where=str(path), fix=DAMAGED_FIX)


def damaged(error: Exception, path: Path) -> RunError:
    """Records that make no sense."""
    what = f"The run's database is damaged: {type(error).__name__}, {error}."
    return RunError(what, where=str(path), fix=DAMAGED_FIX)
