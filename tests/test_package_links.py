"""`spaces` and `objectives` lie at the top and are sub-packages; a wheel holds them and the report's files."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINKED = ("spaces", "objectives")


@pytest.mark.parametrize("folder", LINKED)
def test_top_level_folder_is_the_subpackage(folder: str) -> None:
    spec = find_spec(f"searcher.{folder}")
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).resolve() == ROOT / folder / "__init__.py"


@pytest.mark.parametrize("folder", LINKED)
def test_the_link_is_relative_so_that_a_clone_can_lie_anywhere(folder: str) -> None:
    link = ROOT / "searcher" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..") / folder


@pytest.mark.parametrize("folder", LINKED)
def test_modules_have_one_name_only(folder: str) -> None:
    """`import spaces` would load a second copy, whose components are not in the registries."""
    code = f"import sys, searcher.{folder} as p; from searcher.catalog import catalog; catalog(); print('{folder}' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def python_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.py")}


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="the wheel's build backend is not installed")
def test_a_wheel_holds_all_packages_and_files(tmp_path: Path) -> None:
    source, wheels = tmp_path / "source", tmp_path / "wheels"
    source.mkdir()
    for name in ("searcher", *LINKED):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*command, "--wheel-dir", str(wheels), str(source)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    [wheel] = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    wanted = {f"searcher/{folder}/{path}" for folder in LINKED for path in python_files(ROOT / folder)}
    wanted |= {f"searcher/{path}" for path in python_files(ROOT / "searcher")}
    wanted |= {f"searcher/report/report.{kind}" for kind in ("html", "css", "js")} | {"searcher/py.typed"}
    assert wanted <= held
    assert {name.split("/")[0].split("-")[0] for name in held} == {"searcher", "merge_searcher"}
