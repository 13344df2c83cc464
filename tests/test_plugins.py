"""Other distributions join by an entry point of the group ``searcher.plugins``."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typing_extensions import override

from searcher import registry
from searcher.registry import PLUGIN_GROUP, load_plugins

ROOT = Path(__file__).parents[1]

MODULE = '''
from searcher.strategies.base import STRATEGIES, Proposal, Strategy
import numpy as np


@STRATEGIES.register("middle")
class Middle(Strategy):
    """Always the middle of the cube.

    Args:
        offset: Added to every gene.
    """

    def __init__(self, problem, *, offset: float = 0.0):
        self._genome = np.full(problem.dim, 0.5 + offset)

    def ask(self, n):
        return [Proposal(self._genome) for _ in range(n)]

    def tell(self, trials):
        pass
'''

USE = """
from pathlib import Path
from searcher.catalog import catalog
from searcher.config import load_config
from searcher.strategies.base import Problem
from searcher.strategies.factory import make_strategy

assert ("middle", "Always the middle of the cube.") in catalog("strategies")["strategies"]
config = load_config(Path("configs/quickstart.yaml"), ["strategy={name: middle, offset: 0.25}"])
settings = {k: v for k, v in config.strategy.items() if k != "name"}
[proposal] = make_strategy("middle", Problem(("a", "b"), ("x",), 10, 0), settings).ask(1)
print(proposal.genome.tolist())
"""


def install(folder: Path, module: str) -> None:
    """What an installer writes for a distribution with one module and one entry point."""
    (folder / "middle_plugin.py").write_text(module)
    info = folder / "middle_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: middle-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{PLUGIN_GROUP}]\nmiddle = middle_plugin\n")


def test_an_installed_plugin_is_listed_checked_and_made(tmp_path: Path) -> None:
    install(tmp_path, MODULE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    done = subprocess.run(
        [sys.executable, "-c", USE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[0.75, 0.75]\n"


def test_plugins_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    class Noted(EntryPoint):
        @override
        def load(self) -> None:
            loaded.append(self.name)

    def found(group: str) -> list[EntryPoint]:
        assert group == "searcher.plugins"
        return [Noted("one", "a", group), Noted("two", "b", group)]

    monkeypatch.setattr(registry, "entry_points", found)
    monkeypatch.setattr(registry, "_plugins_loaded", False)
    load_plugins()
    load_plugins()
    assert loaded == ["one", "two"]
