"""The front of each pair of objectives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from searcher.report.data import ObjectiveInfo, ReportData, Scores
from searcher.report.figure_style import (
    BASELINE,
    FRONT,
    ReportFigure,
    ShownCandidates,
    axis,
    error_bars,
    faint_style,
    limits_of,
    new_figure,
    objective_title,
    plotted,
    rim,
)
from searcher.report.labels import Label, place_labels
from searcher.report.wording import plotly_text

if TYPE_CHECKING:
    import plotly.graph_objects as go

ERROR_BAR_LIMIT: Final = 60  # with more front points only the tagged ones have error bars

_Limits = tuple[float, float]


def front_figures(data: ReportData, shown: ShownCandidates) -> list[ReportFigure]:
    """One figure per pair of objectives; none if there is only one objective."""
    pairs = list(combinations(range(len(data.objectives)), 2))
    figures = []
    for i, j in pairs:
        x, y = data.objectives[i], data.objectives[j]
        figure = _pair(data, shown, x, y, is_wide=len(pairs) == 1)
        figures.append(ReportFigure(f"front-{i}-{j}", f"{y.name} against {x.name}", figure, is_wide=len(pairs) == 1))
    return figures


def _pair(data: ReportData, shown: ShownCandidates, x: ObjectiveInfo, y: ObjectiveInfo, *, is_wide: bool) -> go.Figure:
    import plotly.graph_objects as go

    figure = new_figure(520 if is_wide else 430)
    faint = [row.number for row in shown.rows]
    if faint:
        xs, ys = ([row.value(o.name) for row in shown.rows] for o in (x, y))
        figure.add_trace(go.Scatter(x=plotted(xs), y=plotted(ys), customdata=faint, **faint_style(shown.rows)))
    _add_front(figure, data, x, y)
    _add_baselines(figure, data, x, y)
    near, everything = _limits(data, None, x, y), _limits(data, shown, x, y)
    size = (1000.0, 400.0) if is_wide else (450.0, 320.0)
    figure.update_layout(
        xaxis=axis(objective_title(x), everything[0]),
        yaxis=axis(objective_title(y), everything[1]),
        meta={"zoom": [list(near[0]), list(near[1])], "all": [list(everything[0]), list(everything[1])]},
    )
    _add_names(figure, data, (x, y), everything, near, size)
    return figure


def _add_front(figure: go.Figure, data: ReportData, x: ObjectiveInfo, y: ObjectiveInfo) -> None:
    """Points with error bars, joined by the border of what they dominate if there are two objectives."""
    import plotly.graph_objects as go

    points = sorted(data.front, key=lambda p: (p.search.value(x.name), p.candidate))
    if not points:
        return
    searched = [point.search for point in points]
    is_exact = len(data.objectives) == 2
    barred = [p.search if p.tags or len(points) <= ERROR_BAR_LIMIT else Scores({}) for p in points]
    style = _error_style(barred, x, y, "rgba(0,114,178,0.45)")
    figure.add_trace(
        go.Scatter(
            **_position(searched, x, y),
            **style,
            customdata=[point.candidate for point in points],
            mode="lines+markers" if is_exact else "markers",
            line={"color": FRONT, "width": 1.5, "shape": "vh" if x.sign > 0 else "hv"},
            name="front",
            hoverinfo="text",
            marker={
                "color": FRONT,
                "opacity": 1,
                "size": [10 if p.tags else 7 if len(points) <= ERROR_BAR_LIMIT else 5 for p in points],
                "line": rim(),
            },
        )
    )
    held_out = [point for point in points if point.held_out is not None]
    tested = [point.held_out for point in held_out if point.held_out is not None]
    if tested:
        figure.add_trace(
            go.Scatter(
                **_position(tested, x, y),
                **_error_style(tested, x, y, "rgba(0,114,178,0.25)"),
                customdata=[point.candidate for point in held_out],
                mode="markers",
                name="front, held-out",
                visible="legendonly",
                hoverinfo="text",
                marker={"color": FRONT, "size": 8, "symbol": "circle-open"},
            )
        )


def _add_baselines(figure: go.Figure, data: ReportData, x: ObjectiveInfo, y: ObjectiveInfo) -> None:
    import plotly.graph_objects as go

    rows = [row for row in data.baselines if row.search is not None]
    if not rows:
        return
    figure.add_trace(
        go.Scatter(
            **_position([row.search for row in rows if row.search is not None], x, y),
            customdata=[row.candidate for row in rows],
            mode="markers",
            name="baselines",
            hoverinfo="text",
            marker={"color": BASELINE, "size": 9, "symbol": "diamond", "line": rim()},
        )
    )


def _add_names(
    figure: go.Figure,
    data: ReportData,
    objectives: tuple[ObjectiveInfo, ObjectiveInfo],
    everything: tuple[_Limits, _Limits],
    near: tuple[_Limits, _Limits],
    size: tuple[float, float],
) -> None:
    """Write tags and baseline names where there is room, for both zooms; the page switches between them."""
    import plotly.graph_objects as go

    x, y = objectives
    tags = {point.candidate: ", ".join(point.tags) for point in data.front_in_order if point.tags}
    own = {row.candidate for row in data.baselines}
    entries = [(p.search, tags[p.candidate], FRONT) for p in data.front_in_order if p.tags and p.candidate not in own]
    for row in data.baselines:
        name = f"{row.name} ({tags[row.candidate]})" if row.candidate in tags else row.name
        entries += [(row.search, name, BASELINE)] if row.search is not None else []
    entries = [(s, name, c) for s, name, c in entries if math.isfinite(s.value(x.name) + s.value(y.name))]
    if not entries:
        return
    labels = [Label(s.value(x.name), s.value(y.name), plotly_text(name, 28)) for s, name, _ in entries]
    marks = [(s.value(x.name), s.value(y.name)) for s in (p.search for p in data.front) if s is not None]
    marks = [mark for mark in marks if math.isfinite(sum(mark))] + [(label.x, label.y) for label in labels]
    placed = place_labels(labels, marks, *everything, size)
    zoomed = place_labels(labels, marks, *near, size)
    figure.add_trace(
        go.Scatter(
            **_position([s for s, _, _ in entries], x, y),
            mode="markers+text",  # invisible markers keep the text at a distance from the visible ones
            marker={"size": 12, "opacity": 0},
            hoverinfo="skip",
            showlegend=False,
            textfont={
                "size": 12,
                "shadow": "0 0 3px #fff, 0 0 3px #fff",
                "color": [colour for _, _, colour in entries],
            },
            text=_texts(labels, placed),
            textposition=[place or "middle right" for place in placed],
            meta={
                "all": [_texts(labels, placed), [place or "middle right" for place in placed]],
                "zoom": [_texts(labels, zoomed), [place or "middle right" for place in zoomed]],
            },
        )
    )


def _texts(labels: Sequence[Label], places: Sequence[str | None]) -> list[str]:
    return [label.text if place else "" for label, place in zip(labels, places, strict=True)]


def _limits(
    data: ReportData, shown: ShownCandidates | None, x: ObjectiveInfo, y: ObjectiveInfo
) -> tuple[_Limits, _Limits]:
    """Limits around what the search put on the front, with error bars; around everything if ``shown`` is given."""
    found = []
    own = {row.candidate for row in data.baselines}
    proposed = [point for point in data.front if point.candidate not in own]
    for objective in (x, y):
        values = []
        for point in data.front if shown is not None or not proposed else proposed:
            value, error = point.search.value(objective.name), point.search.error(objective.name)
            values += [value, value - error, value + error]
        if shown is not None or not data.front:
            values += [row.search.value(objective.name) for row in data.baselines if row.search is not None]
        if shown is not None:
            values += [row.value(objective.name) for row in shown.rows]
        found.append(limits_of(values, 0.12 if shown is None else 0.07))
    return found[0], found[1]


def _position(scores: Sequence[Scores], x: ObjectiveInfo, y: ObjectiveInfo) -> dict[str, Any]:
    return {o: plotted(s.value(objective.name) for s in scores) for o, objective in (("x", x), ("y", y))}


def _error_style(scores: Sequence[Scores], x: ObjectiveInfo, y: ObjectiveInfo, colour: str) -> dict[str, Any]:
    return {
        "error_x": error_bars([s.error(x.name) for s in scores], colour),
        "error_y": error_bars([s.error(y.name) for s in scores], colour),
    }
