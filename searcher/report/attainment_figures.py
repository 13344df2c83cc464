"""Attainment over time: what the search had reached after a quarter, half, three quarters and all of its evaluations.

Each line is the border of what had been attained (Grunert da Fonseca, Fonseca and Hall 2001, for a single run),
seen in two objectives alone.
"""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, Final

import numpy as np

from searcher.multi_objective.dominance import non_dominated
from searcher.report.data import CandidateRow, ObjectiveInfo, ReportData
from searcher.report.figure_style import (
    BASELINE,
    ReportFigure,
    axis,
    limits_of,
    new_figure,
    objective_title,
    plotted,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

QUARTERS: Final = (0.25, 0.5, 0.75, 1.0)
COLOURS: Final = ("#B3CDE3", "#7FA8CF", "#3E7CB5", "#08306B")  # light to dark: early to late
PAIR_LIMIT: Final = 6  # figures; four objectives have as many pairs
ENOUGH: Final = 8  # candidates of the search


def attainment_figures(data: ReportData) -> list[ReportFigure]:
    """One figure per pair of objectives, the first six; none for one objective or a handful of candidates."""
    searched = [row for row in data.candidates if row.origin != "baseline"]
    if len(data.objectives) < 2 or len(searched) < ENOUGH:
        return []
    pairs = list(combinations(range(len(data.objectives)), 2))[:PAIR_LIMIT]
    figures = []
    for i, j in pairs:
        x, y = data.objectives[i], data.objectives[j]
        figure = _pair(data, x, y, is_wide=len(pairs) == 1)
        if figure is not None:
            title = f"{y.name} against {x.name}"
            figures.append(ReportFigure(f"attained-{i}-{j}", title, figure, is_wide=len(pairs) == 1))
    return figures


def _pair(data: ReportData, x: ObjectiveInfo, y: ObjectiveInfo, *, is_wide: bool) -> go.Figure | None:
    figure = new_figure(460 if is_wide else 400)
    baselines = [row for row in data.candidates if row.origin == "baseline"]
    lines = [("baselines alone", BASELINE, "dot", baselines)]
    for share, colour in zip(QUARTERS, COLOURS, strict=True):
        n = max(1, round(share * len(data.candidates)))
        lines.append((f"after {n:,} evaluations", colour, "solid", list(data.candidates[:n])))
    drawn: list[tuple[list[float], list[float]]] = []
    for name, colour, dash, rows in lines:
        xs, ys = attained(rows, x, y)
        if xs:
            drawn.append((xs, ys))
            _add_line(figure, (xs, ys), name, colour, dash, "vh" if x.sign > 0 else "hv")
    if not drawn:
        return None
    figure.update_layout(
        xaxis=axis(objective_title(x), limits_of(value for xs, _ in drawn for value in xs)),
        yaxis=axis(objective_title(y), limits_of(value for _, ys in drawn for value in ys)),
    )
    return figure


def attained(rows: list[CandidateRow], x: ObjectiveInfo, y: ObjectiveInfo) -> tuple[list[float], list[float]]:
    """The points that no other dominates in these two objectives, by the first; estimates do not count."""
    scores = [(row.value(x.name), row.value(y.name)) for row in rows if not row.is_estimate]
    found = np.array([pair for pair in scores if math.isfinite(sum(pair))], dtype=np.float64).reshape(-1, 2)
    front = np.unique(found[non_dominated(found * (x.sign, y.sign))], axis=0) if len(found) else found
    return front[:, 0].tolist(), front[:, 1].tolist()


def _add_line(
    figure: go.Figure, xy: tuple[list[float], list[float]], name: str, colour: str, dash: str, shape: str
) -> None:
    import plotly.graph_objects as go

    figure.add_trace(
        go.Scatter(
            x=plotted(xy[0]),
            y=plotted(xy[1]),
            mode="lines+markers",
            name=name,
            line={"color": colour, "width": 2, "dash": dash, "shape": shape},
            marker={"color": colour, "size": 5},
            hovertemplate="%{x:.4g}, %{y:.4g}<extra>" + name + "</extra>",
        )
    )
