"""Scores that were computed before, in this run or in another, found again by what they depend on.

One file per score, in ``scores/`` of the cache folder: written whole (temporary name, sync, rename), so that any
number of processes share it without locks, and a damaged file costs one score. A file carries a SHA-256 over its
name and content and is only believed if that fits; nothing is unpickled. See ``docs/design/score_cache.md``.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.atomic import write_atomically
from searcher.candidate import Score

MAX_GB = 1.0
Examples: TypeAlias = slice | NDArray[np.int64]
"""A stretch of an objective's examples, or the positions of some of them, shape ``(m,)``."""
_MAGIC = b"searcher score 1\n"
_NUMBERS = struct.Struct("<ddq")  # value, standard error, number of examples (-1: the objective has none)
_BLOCK = 4096  # bytes that even the smallest file occupies
_KEPT = 0.9  # fraction of the bound that is left after old entries were removed
_LOOK = 0.05  # fraction of the bound that a process writes between two looks at what the others wrote
_STALE_SECONDS = 3600.0  # a temporary file of this age was left by a killed process


class ScoreCache:
    """Scores by key and examples; shared by processes, bounded in size.

    Whatever is wrong with a file or the disk makes a miss, never an error: the score is computed again.

    Args:
        folder: Where the entries lie; made if missing.
        max_bytes: When the entries exceed this, those not used for longest are removed.
    """

    def __init__(self, folder: Path, max_bytes: int = int(MAX_GB * 2**30)) -> None:
        self.folder, self._max_bytes = folder, max_bytes
        self._unseen = 0  # bytes that may be written before the folder is looked at again

    def get(self, key: str, examples: Examples | None) -> Score | None:
        """The score of exactly these examples, bit for bit as it was put, or None."""
        path = self._path(key, examples)
        score = _read(path)
        if score is not None:
            _touch(path)
        return score

    def covering(self, key: str, examples: slice) -> tuple[int, Score] | None:
        """The shortest kept score of a stretch around these examples that has one score for each, and its start.

        A score of all examples covers every part, one of a prefix every shorter prefix.
        """
        for path, start, stop in self._stretches(key):
            if start <= examples.start and examples.stop <= stop:
                score = _read(path)
                if score is not None and score.example_scores is not None and score.example_scores.size == stop - start:
                    _touch(path)
                    return start, score
        return None

    def put(self, key: str, examples: Examples | None, score: Score) -> None:
        """Keep a score; on return it is on the disk, unless the disk is full or cannot be written."""
        path = self._path(key, examples)
        content = _pack(path.name, score)
        if _occupied(len(content)) > self._max_bytes:
            return
        with suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, lambda file: file.write(content))
            self._account(_occupied(len(content)))

    def _path(self, key: str, examples: Examples | None) -> Path:
        return self.folder / key[:2] / f"{key}.{_stretch(examples)}"

    def _stretches(self, key: str) -> list[tuple[Path, int, int]]:
        """Entries of a key with the stretch of each, the shortest first."""
        found = []
        with suppress(OSError):
            for entry in os.scandir(self.folder / key[:2]):
                name, _, stretch = entry.name.partition(".")
                start, dash, stop = stretch.partition("-")
                if name == key and dash and start.isdecimal() and stop.isdecimal():
                    found.append((Path(entry.path), int(start), int(stop)))
        return sorted(found, key=lambda item: (item[2] - item[1], item[1]))

    def _account(self, n_bytes: int) -> None:
        """Look at the folder again when enough was written; remove old entries when the bound is passed."""
        self._unseen -= n_bytes
        if self._unseen < 0:
            present = sum(size for _, _, size in self._files())
            left = self._remove_old() if present > self._max_bytes else present
            self._unseen = min(self._max_bytes - left, int(_LOOK * self._max_bytes))

    def _remove_old(self) -> int:
        """Bytes that are left."""
        files = sorted(self._files())
        n_bytes = sum(size for _, _, size in files)
        for used, path, size in files:
            is_leftover = path.endswith(".tmp") and used < time.time() - _STALE_SECONDS
            if is_leftover or (n_bytes > _KEPT * self._max_bytes and not path.endswith(".tmp")):
                with suppress(OSError):
                    os.unlink(path)
                n_bytes -= size
        return n_bytes

    def _files(self) -> list[tuple[float, str, int]]:
        """Time of last use, path and bytes of every entry."""
        found = []
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):  # another process may just have removed it
                    path = os.path.join(folder, name)
                    status = os.stat(path)
                    found.append((status.st_mtime, path, _occupied(status.st_size)))
        return found


def _stretch(examples: Examples | None) -> str:
    """The end of a file's name; a choice of examples is named by its digest."""
    if examples is None:
        return "all"
    if isinstance(examples, slice):
        return f"{examples.start}-{examples.stop}"
    return f"items{hashlib.sha256(np.ascontiguousarray(examples, dtype='<i8').tobytes()).hexdigest()}"


def _occupied(n_bytes: int) -> int:
    return -(-n_bytes // _BLOCK) * _BLOCK


def _touch(path: Path) -> None:
    with suppress(OSError):
        os.utime(path)


def _pack(name: str, score: Score) -> bytes:
    """The content of a file: magic, digest, compressed numbers."""
    found = score.example_scores
    numbers = _NUMBERS.pack(score.value, score.stderr, -1 if found is None else found.size)
    values = b"" if found is None else np.ascontiguousarray(found, dtype="<f8").tobytes()
    body = zlib.compress(numbers + values, 6)
    return _MAGIC + _digest(name, body) + body


def _read(path: Path) -> Score | None:
    """The score in a file, or None if there is none or one byte of it is not as it was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    head = len(_MAGIC)
    digest, body = content[head : head + 32], content[head + 32 :]
    if content[:head] != _MAGIC or digest != _digest(path.name, body):
        return None
    try:
        return _unpack(zlib.decompress(body))
    except (zlib.error, struct.error, ValueError):
        return None


def _unpack(data: bytes) -> Score:
    value, stderr, n = _NUMBERS.unpack_from(data)
    if n < 0:
        return Score(value, stderr)
    values = np.frombuffer(data, dtype="<f8", offset=_NUMBERS.size)
    if values.size != n:
        raise ValueError(f"Expected {n} example scores, but found {values.size}.")
    return Score(value, stderr, values.astype(np.float64))


def _digest(name: str, body: bytes) -> bytes:
    """SHA-256 over the file's name (key and stretch of examples) and its content."""
    return hashlib.sha256(name.encode() + b"\0" + body).digest()
