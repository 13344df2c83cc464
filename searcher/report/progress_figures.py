"""How a run went: the hypervolume, or with a single objective the best score, after each evaluation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from searcher.report.data import ObjectiveInfo, ReportData
from searcher.report.figure_style import (
    BASELINE,
    FRONT,
    ReportFigure,
    ShownCandidates,
    axis,
    error_bars,
    faint_style,
    new_figure,
    objective_title,
    plotted,
    rim,
)
from searcher.report.wording import plotly_text, significant

if TYPE_CHECKING:
    import plotly.graph_objects as go


def progress_figure(data: ReportData, shown: ShownCandidates) -> ReportFigure | None:
    """The best score so far for one objective, the hypervolume for more; None if nothing was recorded."""
    if len(data.objectives) == 1:
        return ReportFigure("best-so-far", "Best score so far", best_so_far(data, shown), is_wide=True)
    if not any(map(math.isfinite, data.hypervolume)):
        return None
    return ReportFigure("hypervolume", "Hypervolume", hypervolume(data), is_wide=True)


def hypervolume(data: ReportData) -> go.Figure:
    """A step line that holds its changes only, which is exact and small; the baselines as a level."""
    import plotly.graph_objects as go

    values, last = data.hypervolume, len(data.hypervolume) - 1
    kept = [i for i in range(len(values)) if i in (0, last) or values[i] != values[i - 1]]
    figure = new_figure(360, showlegend=False)
    figure.add_trace(
        go.Scatter(
            x=[i + 1 for i in kept],
            y=plotted(values[i] for i in kept),
            mode="lines",
            line={"color": FRONT, "width": 2.5, "shape": "hv"},
            fill="tozeroy",
            fillcolor="rgba(0,114,178,0.07)",
            hovertemplate="after %{x} evaluations: %{y:.4g}<extra></extra>",
        )
    )
    if math.isfinite(data.hypervolume_baselines):
        level = data.hypervolume_baselines
        add_level(figure, level, f"baselines alone: {significant(level)}")
    figure.update_layout(
        xaxis=axis("evaluations"), yaxis=axis("hypervolume", rangemode="tozero"), hovermode="x unified"
    )
    return figure


def best_so_far(data: ReportData, shown: ShownCandidates) -> go.Figure:
    """Every score over the run, the best so far as a line, the best baseline as a level."""
    import plotly.graph_objects as go

    objective = data.objectives[0]
    name = objective.name
    figure = new_figure(460)
    if shown.rows:
        ys = plotted(row.value(name) for row in shown.rows)
        numbers = [row.number for row in shown.rows]
        figure.add_trace(go.Scatter(x=numbers, y=ys, customdata=numbers, **faint_style(shown.rows)))
    steps = _improvements(data, objective)
    if steps:
        xs, ys = [step[0] for step in steps], plotted(step[1] for step in steps)
        line = {"color": FRONT, "width": 2.5, "shape": "hv"}
        figure.add_trace(go.Scatter(x=xs, y=ys, mode="lines", line=line, name="best so far", hoverinfo="skip"))
    _add_best(figure, data, name)
    rows = [row for row in data.baselines if row.search is not None and math.isfinite(row.search.value(name))]
    if rows:
        levels = [row.search.value(name) for row in rows if row.search is not None]
        best = max(range(len(rows)), key=lambda i: objective.sign * levels[i])
        marker = {"color": BASELINE, "size": 9, "symbol": "diamond", "line": rim()}
        numbers = [row.candidate for row in rows]
        ys = plotted(levels)
        figure.add_trace(
            go.Scatter(
                x=numbers, y=ys, customdata=numbers, mode="markers", name="baselines", hoverinfo="text", marker=marker
            )
        )
        add_level(figure, levels[best], f"best baseline: {plotly_text(rows[best].name)}")
    figure.update_layout(xaxis=axis("candidate"), yaxis=axis(objective_title(objective)))
    return figure


def _add_best(figure: go.Figure, data: ReportData, name: str) -> None:
    """The reported point or points with their error bars."""
    import plotly.graph_objects as go

    if not data.front:
        return
    numbers = [point.candidate for point in data.front]
    errors = error_bars([point.search.error(name) for point in data.front], FRONT)
    ys = plotted(point.search.value(name) for point in data.front)
    marker = {"color": FRONT, "size": 11, "line": rim()}
    figure.add_trace(
        go.Scatter(
            x=numbers,
            y=ys,
            error_y=errors,
            customdata=numbers,
            mode="markers",
            name="best",
            hoverinfo="text",
            marker=marker,
        )
    )


def add_level(figure: go.Figure, level: float, text: str) -> None:
    """A dashed line over the whole width with a name that is already escaped."""
    figure.add_hline(
        y=level,
        line={"color": BASELINE, "dash": "dash", "width": 1.5},
        annotation={"text": text, "font": {"color": BASELINE}, "bgcolor": "rgba(255,255,255,0.85)"},
        annotation_position="bottom right",
    )


def _improvements(data: ReportData, objective: ObjectiveInfo) -> list[tuple[int, float]]:
    """Candidate number and score at each improvement, estimates left out, and the last candidate with the best."""
    steps: list[tuple[int, float]] = []
    for row in data.candidates:
        value = math.nan if row.is_estimate else row.value(objective.name)
        if math.isfinite(value) and (not steps or objective.sign * (value - steps[-1][1]) > 0):
            steps.append((row.number, value))
    if steps and data.candidates[-1].number > steps[-1][0]:
        steps.append((data.candidates[-1].number, steps[-1][1]))
    return steps
