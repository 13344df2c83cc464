"""The file that makes a folder whole: names, sizes and SHA-256 of everything in it, written last."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from searcher.atomic import write_text_atomically
from searcher.errors import ExportError

MANIFEST = "manifest.json"
TOOL = "merge-searcher"
VERSION = 1
_BLOCK = 1 << 20  # bytes hashed at a time


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def write_manifest(folder: Path, extra: Mapping[str, Any] | None = None) -> Path:
    """List every file below a folder in its ``manifest.json``; write, sync, rename.

    Args:
        folder: The folder, with everything else already in it.
        extra: Further keys, such as what a verification found; they must be JSON without NaN.

    Raises:
        ExportError: If the folder holds a link or something that is not a file; such an export cannot travel.
        ValueError: If ``extra`` is not JSON, holds NaN or claims a key of the manifest.
    """
    entries = {name: {"size": path.stat().st_size, "sha256": file_sha256(path)} for name, path in _files(folder)}
    record = {"manifest": VERSION, "tool": TOOL, "files": entries}
    taken = sorted(set(record) & set(extra or {}))
    if taken:
        raise ValueError(f"Expected extra manifest keys other than {sorted(record)}, but got {taken}.")
    path = folder / MANIFEST
    write_text_atomically(path, json.dumps({**record, **(extra or {})}, indent=2, allow_nan=False) + "\n")
    return path


def check_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a whole folder; files it does not list are not looked at (see :func:`unlisted_files`).

    Raises:
        ExportError: If there is no manifest, it is not ours, or a listed file is missing or differs; the file
            is named.
    """
    path = folder / MANIFEST
    record = _read(path)
    for name, entry in record["files"].items():
        _check_file(folder, name, entry)
    return record


def unlisted_files(folder: Path, record: Mapping[str, Any]) -> list[str]:
    """Files below a folder that its manifest does not list, sorted; links and empty folders count."""
    known = {*record["files"], MANIFEST}
    found = [p for p in folder.rglob("*") if p.is_symlink() or not p.is_dir() or not any(p.iterdir())]
    return sorted({p.relative_to(folder).as_posix() for p in found} - known)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name relative to the folder and path of each file except the manifest, by name."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ExportError(
                "An export holds plain files only, but this is a link or a special file.",
                where=name,
                fix="Replace it by a copy of the file it points to.",
            )
        if path.is_file() and name != MANIFEST:
            yield name, path


def _read(path: Path) -> dict[str, Any]:
    """The manifest's content, checked for form."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _not_whole(path.parent, MANIFEST, "it has no manifest") from error
    except (OSError, ValueError) as error:
        raise _not_whole(path.parent, MANIFEST, "its manifest cannot be read") from error
    entries = record.get("files") if isinstance(record, dict) else None
    if not isinstance(entries, dict) or record.get("tool") != TOOL or record.get("manifest") != VERSION:
        raise _not_whole(path.parent, MANIFEST, f"its manifest is not one of {TOOL}, version {VERSION}")
    return dict(record)


def _check_file(folder: Path, name: str, entry: object) -> None:
    """Compare one listed file with the disk."""
    if _escapes(name) or not isinstance(entry, dict):
        raise _not_whole(folder, name, "its manifest names a file outside it or without size and hash")
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise _not_whole(folder, name, "a file is missing")
    size = os.stat(path).st_size
    if size != entry.get("size"):
        raise _not_whole(folder, name, f"a file has {size} bytes instead of {entry.get('size')}")
    if file_sha256(path) != entry.get("sha256"):
        raise _not_whole(folder, name, "a file's content differs from its SHA-256")


def _escapes(name: str) -> bool:
    """Whether a name could lead out of its folder under POSIX or Windows rules."""
    windows = PureWindowsPath(name)
    return bool(not name or ".." in windows.parts or windows.drive or windows.root or PurePosixPath(name).is_absolute())


def _not_whole(folder: Path, name: str, why: str) -> ExportError:
    return ExportError(
        f"This export is not whole: {why}.",
        where=f"{folder.name}/{name}",
        fix="Export the point again; a folder without a matching manifest must not be used.",
    )
