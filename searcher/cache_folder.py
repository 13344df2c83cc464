"""Where things are kept that can be computed again: side tables, compiled kernels."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """A folder, made if missing: in ``$SEARCHER_CACHE``, else ``$XDG_CACHE_HOME/searcher``, else ``~/.cache/searcher``.

    Raises:
        OSError: If it cannot be made.
        RuntimeError: If the user has no home.
    """
    root = os.environ.get("SEARCHER_CACHE")
    if not root:
        shared = os.environ.get("XDG_CACHE_HOME", "")  # the specification has relative ones ignored
        root = str((Path(shared) if os.path.isabs(shared) else Path.home() / ".cache") / "searcher")
    folder = Path(root) / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
