"""Pools of tiny models, and a shorthand for merging them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from searcher.mergekit.merge_file import MergeOptions, MergeSummary, merge_file
from tests.mergekit.tiny_models import WRITERS

Merge: TypeAlias = Callable[..., MergeSummary]


@pytest.fixture(scope="session")
def pools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every pool of tiny models; not to be written to."""
    roots = {}
    for name, write in WRITERS.items():
        write(root := tmp_path_factory.mktemp(name))
        roots[name] = root
    return roots


@pytest.fixture
def merge(pools: dict[str, Path], tmp_path: Path) -> Merge:
    """Merge a configuration over a pool into ``tmp_path / "out"``."""

    def run(pool: str | Path, text: str, **options: object) -> MergeSummary:
        path = tmp_path / "config.yml"
        path.write_text(text)
        root = pools[pool] if isinstance(pool, str) else pool
        return merge_file(path, tmp_path / "out", options=MergeOptions(root=root, **options))  # type: ignore[arg-type]

    return run
