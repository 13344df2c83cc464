"""Scatter matrix of three and more objectives: all pairs at a glance, in one figure that brushing reaches as a whole.

Drawn with ordinary traces rather than plotly's ``splom``, which needs WebGL (``coordinate_figures.py`` says why not).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from searcher.report.data import ReportData
from searcher.report.figure_style import (
    BASELINE,
    CHOSEN,
    FRONT,
    ReportFigure,
    ShownCandidates,
    axis,
    faint_style,
    limits_of,
    new_figure,
    plotted,
    rim,
)
from searcher.report.wording import plotly_text

if TYPE_CHECKING:
    import plotly.graph_objects as go

FAINT_PANEL_LIMIT: Final = 400  # candidates in each panel; ten panels of thousands would be slow
GAP: Final = 0.035  # between panels, as a share of the figure


def matrix_figure(data: ReportData, shown: ShownCandidates) -> ReportFigure | None:
    """Every objective against every other, the lower triangle; None below three objectives or without scores."""
    names = [objective.name for objective in data.objectives]
    groups = _groups(data, shown)
    if len(names) < 3 or not groups:
        return None
    side = len(names) - 1
    figure = new_figure(170 + 190 * side)
    figure.update_layout(legend_y=1.01, legend_bgcolor="rgba(0,0,0,0)")
    for row in range(1, len(names)):
        for column in range(row):
            panel = (row - 1) * row // 2 + column + 1
            for values, style in groups:
                _add_panel(figure, panel, values, names[column], names[row], style, is_first=panel == 1)
            figure.update_layout(_axes(data, groups, column, row, panel, side))
    return ReportFigure("matrix", "All pairs of objectives", figure, is_wide=True)


def _groups(data: ReportData, shown: ShownCandidates) -> list[tuple[dict[int, Mapping[str, float]], dict[str, Any]]]:
    """Scores by candidate and the style of their marks, from the back to the front."""
    names = [objective.name for objective in data.objectives]
    faint = shown.rows[:: max(1, -(-len(shown.rows) // FAINT_PANEL_LIMIT))]
    groups: list[tuple[dict[int, Mapping[str, float]], dict[str, Any]]] = [
        ({row.number: {name: row.value(name) for name in names} for row in faint}, faint_style(faint))
    ]
    own = {row.candidate for row in data.baselines}
    baselines = {row.candidate: row.search for row in data.baselines if row.search is not None}
    front = {point.candidate: point for point in data.front_in_order if point.candidate not in own}
    knees = {point.candidate for point in data.front if "knee" in point.tags}
    marked: Sequence[tuple[str, Mapping[int, Any], dict[str, Any]]] = (
        ("baselines", baselines, {"color": BASELINE, "size": 8, "symbol": "diamond", "line": rim()}),
        ("front", {n: p.search for n, p in front.items() if n not in knees}, {"color": FRONT, "size": 6}),
        ("knee", {n: p.search for n, p in front.items() if n in knees}, {"color": CHOSEN, "size": 11, "line": rim()}),
    )
    for name, scores, marker in marked:
        rows: dict[int, Mapping[str, float]] = {n: {o: found.value(o) for o in names} for n, found in scores.items()}
        style = {"mode": "markers", "name": name, "hoverinfo": "text", "marker": marker}
        groups.append((rows, style))
    return [(rows, style) for rows, style in groups if rows]


def _add_panel(
    figure: go.Figure,
    panel: int,
    values: Mapping[int, Mapping[str, float]],
    x: str,
    y: str,
    style: Mapping[str, Any],
    *,
    is_first: bool,
) -> None:
    import plotly.graph_objects as go

    figure.add_trace(
        go.Scatter(
            **style,
            x=plotted(row[x] for row in values.values()),
            y=plotted(row[y] for row in values.values()),
            customdata=list(values),
            xaxis=_name("x", panel),
            yaxis=_name("y", panel),
            legendgroup=style["name"],
            showlegend=is_first,
        )
    )


def _name(letter: str, panel: int) -> str:
    return letter if panel == 1 else f"{letter}{panel}"


def _axes(
    data: ReportData,
    groups: Sequence[tuple[Mapping[int, Mapping[str, float]], Mapping[str, Any]]],
    column: int,
    row: int,
    panel: int,
    side: int,
) -> dict[str, Any]:
    """Both axes of a panel: where it stands, its limits, names at the left and below only."""
    found = {}
    width = (1 - GAP * (side - 1)) / side
    left, low = column * (width + GAP), (side - row) * (width + GAP)
    for letter, k, start, is_named in (("x", column, left, row == side), ("y", row, low, column == 0)):
        objective = data.objectives[k]
        limits = limits_of([scores[objective.name] for values, _ in groups for scores in values.values()])
        title = f"{plotly_text(objective.name, 24)} {'↑' if objective.sign > 0 else '↓'}" if is_named else ""
        other = "y" if letter == "x" else "x"
        more = {"domain": [start, start + width], "anchor": _name(other, panel), "showticklabels": is_named}
        found[f"{letter}axis{'' if panel == 1 else panel}"] = axis(title, limits, **more, nticks=5, mirror=True)
    return found
