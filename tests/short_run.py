"""Real runs of the quickstart config, each made once and shared by all tests that only read it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from searcher import session
from searcher.config import Config, load_config

ROOT = Path(__file__).parents[1]
N_EVALUATIONS = 30


def quickstart(*overrides: str) -> Config:
    """The shipped config without its export; must be called in the repository's folder.

    Every score is computed: one known from an earlier run would hide what differs.
    """
    return load_config(Path("configs/quickstart.yaml"), ["output.export=[]", "cache.enabled=false", *overrides])


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first caller of this test session makes in the repository's folder, also of several workers."""
    own = factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    finished = shared / f"{name}.finished"
    with FileLock(shared / f"{name}.lock"), pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        if not finished.exists():
            make(shared / name)
            finished.touch()
    return shared / name


def short_config(n_evaluations: int = N_EVALUATIONS) -> Config:
    """Config of `short_run`; its strategy varies every layer from the start, which "auto" would not within 30."""
    return quickstart(f"budget.evaluations={n_evaluations}", "strategy=optuna:TPESampler")


def short_run(factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run of 30 evaluations; read it, or copy it before changing anything."""
    return made_once(factory, "short-run", lambda folder: session.start(short_config(), folder))
