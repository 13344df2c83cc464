"""The table of baselines and front points, as rows of finished texts for the template."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from searcher.report.data import ReportData, Scores
from searcher.report.figure_style import objective_decimals
from searcher.report.wording import export_command, number

ROW_LIMIT: Final = 500  # front points in the page; front.json has all

_SPLITS: Final = (("search", "search"), ("select", "select"), ("held_out", "held-out"))
_Split = Literal["search", "select", "held_out"]


@dataclass(frozen=True)
class Cell:
    """One score: texts, whether it is the best of its column, and the raw value as text for sorting."""

    value: str
    error: str
    is_best: bool
    sort: str


@dataclass(frozen=True)
class Row:
    """One baseline or front point."""

    candidate: int
    name: str
    tags: tuple[str, ...]
    cells: tuple[Cell, ...]
    command: str
    error: str


@dataclass(frozen=True)
class SummaryTable:
    """Header texts and rows.

    Args:
        splits: Labels of the splits, repeated under every objective.
        baselines: In the order of the run.
        front: Tagged points first, at most ``ROW_LIMIT``.
        n_front: Number of front points in the run.
    """

    splits: tuple[str, ...]
    baselines: tuple[Row, ...]
    front: tuple[Row, ...]
    n_front: int


def summary_table(data: ReportData) -> SummaryTable:
    """Build the table; splits without any score are left out."""
    points = data.front_in_order[:ROW_LIMIT]
    entries = [{"search": row.search, "held_out": row.held_out} for row in data.baselines]
    entries += [{"search": p.search, "select": p.select, "held_out": p.held_out} for p in points]
    present = {key for key, _ in _SPLITS if any(entry.get(key) for entry in entries)}
    if "held_out" in present:
        present.discard("select")  # baselines have none, and the table would not fit a page; front.json has them
    splits = [(key, label) for key, label in _SPLITS if key in present]
    columns = [
        _column(data, k, (entry.get(key) for entry in entries))
        for k in range(len(data.objectives))
        for key, _ in splits
    ]
    cells = list(zip(*columns, strict=True)) if columns else [() for _ in entries]
    n = len(data.baselines)
    names = {row.candidate: row.name for row in data.baselines}
    baselines = [
        Row(row.candidate, row.name, (), tuple(own), export_command(data.run, row.candidate), row.error or "")
        for row, own in zip(data.baselines, cells[:n], strict=True)
    ]
    front = [
        Row(
            point.candidate,
            names.get(point.candidate, ""),
            point.tags,
            tuple(own),
            export_command(data.run, point.candidate),
            "",
        )
        for point, own in zip(points, cells[n:], strict=True)
    ]
    return SummaryTable(tuple(label for _, label in splits), tuple(baselines), tuple(front), len(data.front))


def _column(data: ReportData, k: int, scores: Iterable[Scores | None]) -> list[Cell]:
    """The cells of one objective and split, for all rows."""
    objective = data.objectives[k]
    decimals = objective_decimals(data, objective)
    column = [(s.value(objective.name), s.error(objective.name)) if s else (math.nan, math.nan) for s in scores]
    scored = [objective.sign * value for value, _ in column if math.isfinite(value)]
    best = max(scored) if len(scored) > 1 else math.inf
    return [
        Cell(
            number(value, decimals),
            f"± {number(error, decimals)}" if math.isfinite(value + error) else "",
            objective.sign * value == best,
            repr(value) if math.isfinite(value) else "",
        )
        for value, error in column
    ]
