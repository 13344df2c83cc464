"""Figures of a comparison: the fronts of several runs in one plot, and their hypervolume over evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from searcher.report.data import ObjectiveInfo
from searcher.report.figure_style import ReportFigure, axis, limits_of, new_figure, objective_title, plotted, rim
from searcher.report.wording import number, plotly_text
from searcher.run_comparison import ComparedRun, Comparison

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Okabe and Ito 2008, without yellow; shapes differ as well
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#1F2933")
SYMBOLS: Final = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star")
POINT_LIMIT: Final = 1000  # of a run and plot; the table counts all


def comparison_figures(comparison: Comparison) -> dict[str, list[ReportFigure]]:
    """The figures by section: ``fronts`` and ``progress``."""
    objectives = [ObjectiveInfo(o.name, o.direction, o.unit) for o in comparison.objectives]
    pairs = list(combinations(range(len(objectives)), 2))
    fronts = []
    for i, j in pairs:
        title = f"{objectives[j].name} against {objectives[i].name}"
        figure = _pair(comparison, objectives, i, j, is_wide=len(pairs) == 1)
        fronts.append(ReportFigure(f"front-{i}-{j}", title, figure, is_wide=len(pairs) == 1))
    return {"fronts": fronts, "progress": [ReportFigure("hypervolume", "Hypervolume", _curves(comparison), True)]}


def point_keys(comparison: Comparison) -> dict[tuple[str, int], int]:
    """A number of its own for every point of every run, by run and candidate."""
    points = [(run.name, number) for run in comparison.runs for number in run.numbers]
    return {point: i for i, point in enumerate(points)}


def point_texts(comparison: Comparison) -> dict[str, str]:
    """Hover label by point number, escaped for plotly."""
    texts = {}
    keys = point_keys(comparison)
    for run in comparison.runs:
        for row, candidate in enumerate(run.numbers):
            lines = [f"<b>{plotly_text(run.name)}, point {candidate}</b>"]
            for k, objective in enumerate(comparison.objectives):
                scores = {split: float(objective.sign * rows[row, k]) for split, rows in run.fitness.items()}
                line = f"{plotly_text(objective.name, 32)}: {number(scores['search'], 4)}"
                if "held_out" in scores:
                    line += f" (held-out {number(scores['held_out'], 4)})"
                lines.append(line)
            texts[str(keys[run.name, candidate])] = "<br>".join(lines)
    return texts


def _pair(comparison: Comparison, objectives: Sequence[ObjectiveInfo], i: int, j: int, *, is_wide: bool) -> go.Figure:
    """All fronts in two objectives; joined by a staircase if there are no others. Held-out on a click."""
    figure = new_figure(540 if is_wide else 440)
    keys = point_keys(comparison)
    signs = np.array([o.sign for o in objectives])
    values: list[list[float]] = [[], []]
    for k, run in enumerate(comparison.runs):
        for split, rows in run.fitness.items():
            scores = signs * rows
            order = [int(n) for n in np.argsort(scores[:, i], kind="stable") if np.isfinite(scores[n]).all()]
            order = order[:: max(1, -(-len(order) // POINT_LIMIT))]
            xs, ys = ([float(scores[n, axis_]) for n in order] for axis_ in (i, j))
            values = [values[0] + xs, values[1] + ys]
            numbers = [keys[run.name, run.numbers[n]] for n in order]
            is_joined = len(objectives) == 2 and split == "search"
            _add_points(figure, k, run, split, (xs, ys), numbers, "vh" if objectives[i].sign > 0 else "hv", is_joined)
    figure.update_layout(
        xaxis=axis(objective_title(objectives[i]), limits_of(values[0])),
        yaxis=axis(objective_title(objectives[j]), limits_of(values[1])),
    )
    return figure


def _add_points(
    figure: go.Figure,
    k: int,
    run: ComparedRun,
    split: str,
    xy: tuple[Sequence[float], Sequence[float]],
    numbers: Sequence[int],
    shape: str,
    is_joined: bool,
) -> None:
    import plotly.graph_objects as go

    colour, symbol = COLOURS[k % len(COLOURS)], SYMBOLS[k % len(SYMBOLS)]
    is_search = split == "search"
    marker: dict[str, Any] = {"color": colour, "size": 8, "symbol": symbol, "line": rim()}
    if not is_search:
        marker = {"color": colour, "size": 8, "symbol": f"{symbol}-open"}
    figure.add_trace(
        go.Scatter(
            x=plotted(xy[0]),
            y=plotted(xy[1]),
            customdata=numbers,
            mode="lines+markers" if is_joined else "markers",
            line={"color": colour, "width": 1.5, "shape": shape},
            name=plotly_text(run.name, 40) + ("" if is_search else ", held-out"),
            visible=True if is_search else "legendonly",
            hoverinfo="text",
            marker=marker,
        )
    )


def _curves(comparison: Comparison) -> go.Figure:
    """Hypervolume of the search front over the common reference point, after each evaluation."""
    import plotly.graph_objects as go

    figure = new_figure(380)
    for k, run in enumerate(comparison.runs):
        curve = [(n, volume) for n, volume in run.curve if math.isfinite(volume)]
        figure.add_trace(
            go.Scatter(
                x=[n for n, _ in curve],
                y=plotted(volume for _, volume in curve),
                mode="lines",
                line={"color": COLOURS[k % len(COLOURS)], "width": 2.5, "shape": "hv"},
                name=plotly_text(run.name, 40),
                hovertemplate="after %{x} evaluations: %{y:.4g}<extra></extra>",
            )
        )
    figure.update_layout(
        xaxis=axis("evaluations"), yaxis=axis("hypervolume, search", rangemode="tozero"), showlegend=True
    )
    return figure


def commands(comparison: Comparison, command: Mapping[str, str]) -> dict[str, str]:
    """Export command by point number; ``command`` has its beginning by run."""
    keys = point_keys(comparison)
    return {str(key): f"{command[run]} --point {n} --to export/point-{n}" for (run, n), key in keys.items()}
