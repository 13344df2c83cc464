from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from searcher.errors import ExportError
from searcher.export.atomic_folder import atomic_folder, sweep_leftovers
from searcher.export.manifest import MANIFEST, check_manifest, write_manifest

ROOT = Path(__file__).resolve().parents[2]


def export(destination: Path, text: str, *, overwrite: bool = False) -> None:
    with atomic_folder(destination, overwrite=overwrite) as folder:
        (folder / "model.txt").write_text(text)
        write_manifest(folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_whole_and_alone(tmp_path: Path) -> None:
    export(tmp_path / "a" / "b" / "out", "one")
    assert names(tmp_path / "a" / "b") == ["out"]
    assert set(check_manifest(tmp_path / "a" / "b" / "out")["files"]) == {"model.txt"}


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(tmp_path / "out", "one")
    check_manifest(tmp_path / "out")


@pytest.mark.parametrize("error", [RuntimeError("boom"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_nothing_remains_of_a_failed_export(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "model.txt").write_text("half")
            raise error

    with pytest.raises((type(error), ExportError)):
        fail()
    assert names(tmp_path) == []


def test_a_full_disk_is_an_export_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="No space left") as caught, atomic_folder(tmp_path / "out"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "Free disk space" in caught.value.fix


def test_an_earlier_export_is_replaced_only_on_request(tmp_path: Path) -> None:
    export(tmp_path / "out", "one")
    with pytest.raises(ExportError, match="already an export"):
        export(tmp_path / "out", "two")
    assert (tmp_path / "out" / "model.txt").read_text() == "one"
    export(tmp_path / "out", "two", overwrite=True)
    assert (tmp_path / "out" / "model.txt").read_text() == "two"
    assert names(tmp_path) == ["out"]


def test_an_earlier_export_survives_a_failed_replacement(tmp_path: Path) -> None:
    export(tmp_path / "out", "one")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "out", overwrite=True):
        raise RuntimeError("boom")
    assert (tmp_path / "out" / "model.txt").read_text() == "one"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ["foreign", "changed", "extra", "file", "link"])
def test_what_is_not_ours_is_never_touched(tmp_path: Path, content: str, overwrite: bool) -> None:
    out = tmp_path / "out"
    if content == "file":
        out.write_text("precious")
    elif content == "link":
        (tmp_path / "elsewhere").mkdir()
        out.symlink_to(tmp_path / "elsewhere")
    elif content == "foreign":
        out.mkdir()
        (out / "model.txt").write_text("precious")
    else:
        export(out, "one")
        (out / ("model.txt" if content == "changed" else "mine.txt")).write_text("precious")
    before = names(tmp_path)
    with pytest.raises(ExportError):
        export(out, "two", overwrite=overwrite)
    assert names(tmp_path) == before
    if out.is_dir() and content != "link":
        assert "precious" in {path.read_text() for path in out.iterdir()}


def test_a_folder_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    def late() -> None:
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "model.txt").write_text("late")
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "model.txt").write_text("first")

    with pytest.raises(ExportError):
        late()
    assert (tmp_path / "out" / "model.txt").read_text() == "first"
    assert names(tmp_path) == ["out"]


def killed(code: str, tmp_path: Path) -> None:
    """Run code in another process, which kills itself."""
    program = f"import os, signal\nfrom pathlib import Path\ntmp = Path({str(tmp_path)!r})\n{code}\n"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_killed_export_leaves_nothing_whole_and_is_swept_by_the_next(tmp_path: Path) -> None:
    killed(
        "from searcher.export.atomic_folder import atomic_folder\n"
        "with atomic_folder(tmp / 'out') as folder:\n"
        "    (folder / 'model.txt').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)",
        tmp_path,
    )
    (left,) = names(tmp_path)
    assert left.startswith(".out.partial-")
    assert not (tmp_path / left / MANIFEST).exists()
    (tmp_path / ".out.partial-notes").mkdir()  # not one of ours
    export(tmp_path / "out", "one")
    assert names(tmp_path) == [".out.partial-notes", "out"]


def test_an_export_killed_between_the_two_renames_is_put_back(tmp_path: Path) -> None:
    export(tmp_path / "out", "one")
    killed(
        "import searcher.export.atomic_folder as module\n"
        "rename = Path.rename\n"
        "def once(self, target):\n"
        "    rename(self, target)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "Path.rename = once\n"
        "with module.atomic_folder(tmp / 'out', overwrite=True) as folder:\n"
        "    (folder / 'model.txt').write_text('two')",
        tmp_path,
    )
    assert not (tmp_path / "out").exists()
    sweep_leftovers(tmp_path / "out")
    with pytest.raises(ExportError, match="already an export"):
        export(tmp_path / "out", "three")
    assert (tmp_path / "out" / "model.txt").read_text() == "one"
    assert names(tmp_path) == ["out"]


def test_work_of_living_processes_and_other_hosts_is_left_alone(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out") as folder:
        host, pid = re.findall(r"partial-([0-9a-f]+)-(\d+)-", folder.name)[0]
        assert int(pid) == os.getpid()
        other = tmp_path / folder.name.replace(host, "0" * len(host))
        other.mkdir()
        sweep_leftovers(tmp_path / "out")
        assert folder.exists()
        assert other.exists()
