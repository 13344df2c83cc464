"""Files that are whole or absent: crashes in the middle, full disks, kills, leftovers."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from searcher.atomic import sweep_temporaries, write_atomically, write_text_atomically

ROOT = Path(__file__).parents[1]

KILLED = """
import os, signal, sys
from pathlib import Path
from searcher.atomic import write_atomically

def write(file):
    file.write(b"half of the ne")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

write_atomically(Path(sys.argv[1]), write)
"""


def test_new_content_replaces_old(tmp_path: Path) -> None:
    path = tmp_path / "front.json"
    write_text_atomically(path, "first")
    write_text_atomically(path, "zweite Fassung: µ, ∞, 模型")
    assert path.read_text(encoding="utf-8") == "zweite Fassung: µ, ∞, 模型"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("bad"), OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_crash_in_the_middle_leaves_the_old_content(tmp_path: Path, error: BaseException, old: bytes | None) -> None:
    path = tmp_path / "front.json"
    if old is not None:
        path.write_bytes(old)

    def write(file: BinaryIO) -> None:
        file.write(b"half of the ne")
        raise error

    with pytest.raises(type(error)):
        write_atomically(path, write)
    assert (path.read_bytes() if path.exists() else None) == old
    assert list(tmp_path.iterdir()) == ([] if old is None else [path])


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_sync_or_rename_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "front.json"
    path.write_text("old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    place: object = os if call == "fsync" else Path
    monkeypatch.setattr(place, call, fail)
    with pytest.raises(OSError, match="Input/output"):
        write_text_atomically(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_synced_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(handle: int) -> None:
        steps.append("folder" if os.path.isdir(f"/dev/fd/{handle}") else "file")
        fsync(handle)

    def noted_replace(source: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_text_atomically(tmp_path / "x", "text")
    assert steps == ["file", "rename", "folder"]


def test_a_killed_writer_leaves_the_old_content_and_a_temporary_that_is_swept(tmp_path: Path) -> None:
    path = tmp_path / "front.json"
    path.write_text("old")
    kept = [tmp_path / name for name in ("notes.tmp", ".hidden", ".lock")]
    for other in kept:
        other.touch()
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == len(kept) + 2
    sweep_temporaries(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([path, *kept])


def test_sweeping_an_absent_folder_does_nothing(tmp_path: Path) -> None:
    sweep_temporaries(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
