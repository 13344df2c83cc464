from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from searcher.errors import ExportError
from searcher.export.manifest import MANIFEST, check_manifest, file_sha256, unlisted_files, write_manifest

FILLED = ("weights.bin", "sub/notes.txt")


def filled(folder: Path) -> Path:
    (folder / "sub").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 20)
    (folder / "sub" / "notes.txt").write_text("notes")
    (folder / "empty").write_bytes(b"")
    return folder


def test_a_manifest_lists_every_file_with_size_and_hash(tmp_path: Path) -> None:
    folder = filled(tmp_path / "export")
    write_manifest(folder, {"verification": {"passed": True}})
    record = check_manifest(folder)
    assert set(record["files"]) == {"weights.bin", "sub/notes.txt", "empty"}
    assert record["files"]["weights.bin"] == {"size": 5120, "sha256": file_sha256(folder / "weights.bin")}
    assert record["verification"] == {"passed": True}
    assert unlisted_files(folder, record) == []


@pytest.mark.parametrize(
    ("name", "fault"),
    [(name, fault) for name in FILLED for fault in ("missing", "flipped", "longer", "truncated", "link")]
    + [("empty", fault) for fault in ("missing", "longer", "link")],
)
def test_any_difference_is_found_and_the_file_is_named(tmp_path: Path, name: str, fault: str) -> None:
    folder = filled(tmp_path / "export")
    write_manifest(folder)
    path = folder / name
    content = path.read_bytes()
    if fault == "missing":
        path.unlink()
    elif fault == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        changed = {"flipped": bytes([content[0] ^ 1]) + content[1:] if content else b"", "truncated": content[:-1]}
        path.write_bytes(changed.get(fault, content + b"x"))
    with pytest.raises(ExportError) as caught:
        check_manifest(folder)
    assert name in caught.value.where


def test_every_truncation_of_a_manifest_is_found(tmp_path: Path) -> None:
    folder = filled(tmp_path / "export")
    content = write_manifest(folder).read_bytes()
    for length in range(len(content) - 2):  # without its last newline it is still whole
        (folder / MANIFEST).write_bytes(content[:length])
        with pytest.raises(ExportError):
            check_manifest(folder)


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", "null", '{"manifest": 1, "tool": "other", "files": {}}', '{"manifest": 2, "tool": "merge-searcher"}'],
)
def test_a_foreign_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(ExportError, match="not one of merge-searcher"):
        check_manifest(tmp_path)


def test_a_folder_without_a_manifest_is_not_whole(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="has no manifest") as caught:
        check_manifest(tmp_path)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "C:\\x", "..\\outside", "\\\\host\\share", "sub/../../x"]
)
def test_names_that_lead_outside_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_text("x")
    folder = tmp_path / "export"
    folder.mkdir()
    record = {"manifest": 1, "tool": "merge-searcher", "files": {name: {"size": 1, "sha256": "0"}}}
    (folder / MANIFEST).write_text(json.dumps(record))
    with pytest.raises(ExportError, match="outside"):
        check_manifest(folder)


def test_links_are_not_exported(tmp_path: Path) -> None:
    folder = filled(tmp_path / "export")
    os.symlink("weights.bin", folder / "alias")
    with pytest.raises(ExportError) as caught:
        write_manifest(folder)
    assert caught.value.where == "alias"


def test_files_that_came_later_are_reported(tmp_path: Path) -> None:
    folder = filled(tmp_path / "export")
    write_manifest(folder)
    (folder / "sub" / "mine.txt").write_text("mine")
    (folder / "new").mkdir()
    assert unlisted_files(folder, check_manifest(folder)) == ["new", "sub/mine.txt"]


def test_extra_keys_cannot_replace_the_file_list(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="files"):
        write_manifest(tmp_path, {"files": {}})
    with pytest.raises(ValueError, match="JSON"):
        write_manifest(tmp_path, {"score": float("nan")})
