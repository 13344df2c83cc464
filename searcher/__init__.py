"""searcher: find the best way to merge neural networks.

``searcher.optimize("config.yaml")`` runs a search; ``searcher.open_run("runs/quickstart")`` opens its result.
Everything else is imported when first used, so that ``import searcher`` stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from searcher.version import __version__

if TYPE_CHECKING:
    from searcher.api import optimize
    from searcher.finished_run import Point, Run, open_run
    from searcher.objectives.python import objective

__all__ = ["Point", "Run", "__version__", "objective", "open_run", "optimize"]

_HOMES = {
    "Point": "searcher.finished_run",
    "Run": "searcher.finished_run",
    "open_run": "searcher.finished_run",
    "optimize": "searcher.api",
    "objective": "searcher.objectives.python",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type depends on the name
    if name not in _HOMES:
        raise AttributeError(f"module 'searcher' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
