"""One writer per run folder: a second process is told whose it is; the lock ends with its holder, however it dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from searcher.errors import RunError
from searcher.run_lock import take_lock
from searcher.sqlite_storage import SqliteStorage

ROOT = Path(__file__).parents[1]

HOLD = """
import sys
from pathlib import Path
from searcher.run_lock import take_lock
from searcher.sqlite_storage import SqliteStorage

folder = Path(sys.argv[2])
held = SqliteStorage(folder, write=True) if sys.argv[1] == "storage" else take_lock(folder)
print("held", flush=True)
sys.stdin.read()
"""

TRY = """
import sys
from pathlib import Path
from searcher.errors import RunError
from searcher.run_lock import take_lock

try:
    take_lock(Path(sys.argv[1]))
except RunError as error:
    print(error)
else:
    print("taken")
"""


@contextmanager
def holder(kind: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder until its stdin is closed or it is killed."""
    command = [sys.executable, "-c", HOLD, kind, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def attempt(folder: Path) -> str:
    """What a process that tries to lock the folder prints."""
    command = [sys.executable, "-c", TRY, str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_second_process_is_refused_with_pid_and_host(tmp_path: Path) -> None:
    with SqliteStorage(tmp_path, write=True):
        refused = attempt(tmp_path).splitlines()
    assert len(refused) == 3
    assert f"pid {os.getpid()} on {socket.gethostname()}" in refused[0]
    assert str(tmp_path) in refused[1]
    assert "--run" in refused[2]
    assert attempt(tmp_path) == "taken\n"  # the lock was given back


def test_a_lock_ends_with_its_holder_even_by_sigkill(tmp_path: Path) -> None:
    with holder("storage", tmp_path) as process:
        with pytest.raises(RunError, match=f"pid {process.pid} on {socket.gethostname()}"):
            take_lock(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        take_lock(tmp_path).release()
        with SqliteStorage(tmp_path, write=True), pytest.raises(RunError, match=f"pid {os.getpid()} on"):
            take_lock(tmp_path)  # the new owner is named, not the dead one


def test_a_holder_that_has_not_opened_its_database_yet_is_said_to_be_starting(tmp_path: Path) -> None:
    with holder("lock", tmp_path), pytest.raises(RunError, match="a process that is just starting"):
        take_lock(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"not a database at all" * 100])
def test_a_damaged_database_does_not_hide_that_the_folder_is_in_use(tmp_path: Path, damage: bytes) -> None:
    with holder("lock", tmp_path):
        (tmp_path / "run.db").write_bytes(damage)
        with pytest.raises(RunError, match="Another process is running this search"):
            take_lock(tmp_path)
        assert (tmp_path / "run.db").read_bytes() == damage
