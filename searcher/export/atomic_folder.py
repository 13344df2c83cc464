"""Folders that are whole or absent: built in a temporary sibling, synced, renamed into place."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from searcher.atomic import sync_folder
from searcher.errors import ExportError
from searcher.export.manifest import MANIFEST, check_manifest, unlisted_files


@contextmanager
def atomic_folder(destination: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``destination`` and rename it into place when the block ends well.

    If the block raises, nothing remains. A process killed in the middle leaves a sibling whose name starts with
    a dot and carries the host and the pid; the next call removes it. The caller writes the manifest last, inside
    the block.

    Args:
        destination: Must not exist, or be an empty folder, or (with ``overwrite``) an earlier export of ours.
        overwrite: Replace an earlier export; until the new one is complete the old one stays.

    Raises:
        ExportError: If the destination may not be replaced, or the disk is full or read-only.
    """
    destination = Path(os.path.abspath(destination))
    check_destination(destination, overwrite=overwrite)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        sweep_leftovers(destination)
        temporary = destination.with_name(_sibling(destination.name, "partial"))
        temporary.mkdir()
    except OSError as error:
        raise _cannot_write(destination, error) from error
    try:
        yield temporary
        _sync_tree(temporary)
        _put_in_place(temporary, destination, overwrite=overwrite)
    except OSError as error:
        raise _cannot_write(destination, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_destination(destination: Path, *, overwrite: bool) -> None:
    """Refuse a destination that an export may not replace.

    Raises:
        ExportError: If it is a link or a file, or a folder with files that are not a whole earlier export.
    """
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise ExportError(
            "An export needs a folder, but this is a link or a file.",
            where=str(destination),
            fix="Choose another folder with --to.",
        )
    if not destination.exists() or not any(destination.iterdir()):
        return
    if not overwrite and (destination / MANIFEST).is_file():
        fix = "Choose a new folder with --to or give --overwrite."
        raise ExportError("There is already an export here.", where=str(destination), fix=fix)
    fix = "Choose a new folder with --to, or remove this one yourself."
    try:
        record = check_manifest(destination)
    except ExportError as error:
        message = "This folder is not empty and is not a whole export, so it is not touched."
        raise ExportError(message, where=str(destination), fix=fix) from error
    extra = unlisted_files(destination, record)
    if extra:
        message = f"This export also holds files that are not part of it: {', '.join(extra[:3])}."
        raise ExportError(message, where=str(destination), fix=fix)


def sweep_leftovers(destination: Path) -> None:
    """Remove what dead processes of this host left beside a destination.

    An old export that was moved aside by a process killed just before the new one took its place is put back.
    """
    pattern = re.compile(rf"\.{re.escape(destination.name)}\.(partial|old)-{_host()}-(\d+)-[0-9a-f]+")
    for path in sorted(destination.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if match is None or _is_alive(int(match[2])):
            continue
        if match[1] == "old" and not destination.exists():
            path.rename(destination)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _put_in_place(temporary: Path, destination: Path, *, overwrite: bool) -> None:
    """Rename the finished folder to its name; an earlier export is moved aside first and put back on failure."""
    check_destination(destination, overwrite=overwrite)  # it may have appeared while this one was built
    old = destination.with_name(_sibling(destination.name, "old"))
    if destination.exists():
        destination.rename(old)
    try:
        temporary.rename(destination)
    except OSError:
        if old.exists():
            old.rename(destination)
        raise
    sync_folder(destination.parent)
    shutil.rmtree(old, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    """Make every file and folder below ``folder`` durable."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(folder)


def _sibling(name: str, kind: str) -> str:
    """Name of a temporary folder; it says which host and process made it."""
    return f".{name}.{kind}-{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def _host() -> str:
    """A short name of this host, as pids of other hosts say nothing here (shared file systems)."""
    return sha256(socket.gethostname().encode()).hexdigest()[:8]


def _is_alive(pid: int) -> bool:
    """Whether a process of this host exists; this one counts as alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it exists but belongs to someone else
    return True


def _cannot_write(destination: Path, error: OSError) -> ExportError:
    fix = "Choose a folder that can be written with --to."
    if error.errno == errno.ENOSPC:
        fix = "Free disk space or choose another disk with --to, then export again; nothing half-written remains."
    return ExportError(f"The export could not be written: {error.strerror or error}.", where=str(destination), fix=fix)
