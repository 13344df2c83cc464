"""What `searcher list` shows: every registered component with the first line of its help."""

from __future__ import annotations

from typing import Any

from searcher.components import summary
from searcher.executor.base import EXECUTORS
from searcher.merge.operators.base import OPERATORS
from searcher.objectives.base import OBJECTIVES
from searcher.registry import Registry
from searcher.spaces.base import SPACES
from searcher.strategies.base import STRATEGIES

TABLES: dict[str, Registry[Any]] = {
    "strategies": STRATEGIES,
    "spaces": SPACES,
    "objectives": OBJECTIVES,
    "operators": OPERATORS,
    "executors": EXECUTORS,
}


def catalog(kind: str | None = None) -> dict[str, list[tuple[str, str]]]:
    """Names and summaries by kind; of one kind if given."""
    kinds = TABLES if kind is None else {kind: TABLES[kind]}
    found = {title: [(name, summary(table.get(name))) for name in table.names()] for title, table in kinds.items()}
    if "strategies" in found:
        found["strategies"].append(
            ("optuna:NAME", "Any Optuna sampler, such as optuna:TPESampler, with its own arguments.")
        )
    return found
