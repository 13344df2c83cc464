"""How the recipe changes along the front: coefficients of every point, in the order of the first objective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from searcher.report.data import ReportData
from searcher.report.figure_style import ReportFigure, axis, new_figure, objective_title, plotted
from searcher.report.heat_map_figures import colours, tick_names
from searcher.report.insight_data import FrontCoefficients
from searcher.report.wording import plotly_text

if TYPE_CHECKING:
    import plotly.graph_objects as go

POINT_LIMIT: Final = 150  # columns; more are thinner than a few pixels
ROW_LIMIT: Final = 80  # with more, every model has one row for the whole network
SCORE_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def along_front_figure(data: ReportData) -> ReportFigure | None:
    """Scores above, coefficients below, one column per front point; None if points cannot be compared."""
    found = data.insight.coefficients
    if found is None or len(found.candidates) < 2:
        return None
    kept = np.unique(np.linspace(0, len(found.candidates) - 1, POINT_LIMIT).round().astype(int))
    candidates = [found.candidates[i] for i in kept]
    labels, rows = _rows(found)
    rows = rows[:, kept]
    figure = new_figure(300 + max(6, len(labels)) * 17)
    share = 170 / (190 + max(6, len(labels)) * 17)
    _add_scores(figure, data, candidates)
    _add_coefficients(figure, candidates, labels, rows)
    first = data.objectives[0]
    numbers = [str(candidate) for candidate in candidates]
    below = axis(f"front points, {objective_title(first)} to the right", (-0.5, len(candidates) - 0.5))
    figure.update_layout(
        xaxis={
            **below,
            **tick_names(numbers, 40),
            "anchor": "y",
            "ticks": "",
            "tickangle": -90 if kept.size > 20 else 0,
        },
        yaxis={**tick_names(labels, 80), "domain": [0, 1 - share - 0.03], "autorange": "reversed"},
        yaxis2=axis(
            "scaled score",
            (-0.06, 1.06),
            domain=[1 - share, 1],
            anchor="x",
            tickvals=[0, 1],
            ticktext=["worst", "best"],
        ),
        margin={"l": 24, "r": 16, "t": 48, "b": 64},
    )
    return ReportFigure("along-front", f"Coefficients along the front, by {first.name}", figure, is_wide=True)


def _rows(found: FrontCoefficients) -> tuple[list[str], np.ndarray]:
    """Names, and coefficients of shape ``(rows, points)``, model by model."""
    if len(found.models) * len(found.parts) > ROW_LIMIT:
        return list(found.models), found.values.mean(axis=1).T
    labels = [f"{model} · {part}" for model in found.models for part in found.parts]
    return labels, found.values.transpose(2, 1, 0).reshape(len(labels), -1)


def _add_coefficients(figure: go.Figure, candidates: Sequence[int], labels: Sequence[str], rows: np.ndarray) -> None:
    import plotly.graph_objects as go

    low, high = min(0.0, float(rows.min())), max(0.0, float(rows.max()))
    scale, ends = colours(low, high)
    names = [[f"{plotly_text(label)}, point {candidate}" for candidate in candidates] for label in labels]
    figure.add_trace(
        go.Heatmap(
            z=[plotted(row) for row in rows.tolist()],
            text=names if rows.size <= 20_000 else None,
            colorscale=scale,
            zmin=ends[0],
            zmax=ends[1],
            xgap=1 if len(candidates) <= 60 else 0,
            ygap=1,
            hovertemplate="%{text}: %{z:.3f}<extra>coefficient</extra>",
            colorbar={"thickness": 12, "outlinewidth": 0, "len": 0.6, "y": 0, "yanchor": "bottom"},
        )
    )


def _add_scores(figure: go.Figure, data: ReportData, candidates: Sequence[int]) -> None:
    """A line per objective, scaled to its worst and best on the front."""
    import plotly.graph_objects as go

    points = {point.candidate: point.search for point in data.front}
    for k, objective in enumerate(data.objectives):
        values = np.array([objective.sign * points[c].value(objective.name) for c in candidates if c in points])
        width = np.ptp(values) if values.size == len(candidates) else 0.0
        if not width > 0:
            continue
        figure.add_trace(
            go.Scatter(
                x=list(range(len(candidates))),
                y=plotted(((values - values.min()) / width).tolist()),
                yaxis="y2",
                customdata=list(candidates),
                name=plotly_text(objective.name, 24),
                mode="lines+markers",
                hoverinfo="text",
                line={"color": SCORE_COLOURS[k % len(SCORE_COLOURS)], "width": 1.5},
                marker={"size": 4},
            )
        )
