"""Parallel coordinates of three and more objectives.

Drawn as ordinary lines rather than with plotly's ``parcoords``, which needs WebGL: that fails in many remote
desktops, does not print and would need a weaker content security policy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from searcher.report.data import ReportData
from searcher.report.figure_style import (
    BASELINE,
    CHOSEN,
    FAINT,
    FRONT,
    ReportFigure,
    ShownCandidates,
    new_figure,
    objective_decimals,
    rounded,
)
from searcher.report.wording import number, plotly_text

if TYPE_CHECKING:
    import plotly.graph_objects as go

TAGGED: Final = (FRONT, "#CC79A7", "#56B4E9", "#332288")
FAINT_LINES: Final = 300  # more make a grey carpet


def coordinate_figure(data: ReportData, shown: ShownCandidates) -> ReportFigure | None:
    """One line per model over all objectives, better always up; None below three objectives or without scores."""
    names = [objective.name for objective in data.objectives]
    faint = shown.rows[:: max(1, -(-len(shown.rows) // FAINT_LINES))]
    others = {row.number: [row.value(name) for name in names] for row in faint}
    baselines = {
        row.candidate: [row.search.value(name) for name in names] for row in data.baselines if row.search is not None
    }
    front = {point.candidate: [point.search.value(name) for name in names] for point in data.front}
    if len(names) < 3 or not (others or baselines or front):
        return None
    ranges = _ranges(data, [*_shown_scores(data, shown).values()])
    figure = new_figure(440, dragmode="select", meta={"brush": True})
    _add_lines(figure, "candidates", others, ranges, FAINT, width=1, opacity=0.25)
    _add_lines(figure, "baselines", baselines, ranges, BASELINE, width=1.5, dash="dot", opacity=0.8)
    tagged = {point.candidate: ", ".join(point.tags) for point in data.front_in_order if point.tags}
    plain = {candidate: values for candidate, values in front.items() if candidate not in tagged}
    _add_lines(figure, "front", plain, ranges, FRONT, width=1.5, opacity=0.55)
    for i, (candidate, tags) in enumerate(tagged.items()):
        colour = CHOSEN if "knee" in tags else TAGGED[i % len(TAGGED)]
        name = plotly_text(f"{candidate}: {tags}", 32)
        _add_lines(figure, name, {candidate: front[candidate]}, ranges, colour, width=3)
    _add_axes(figure, data, ranges)
    return ReportFigure("coordinates", "All objectives", figure, is_wide=True)


def heights(data: ReportData, shown: ShownCandidates) -> dict[str, list[float | None]]:
    """Height on every axis by candidate, for all that any figure draws: what brushing chooses by."""
    scores = _shown_scores(data, shown)
    ranges = _ranges(data, [*scores.values()])
    return {str(candidate): _heights(values, ranges) for candidate, values in scores.items()}


def _shown_scores(data: ReportData, shown: ShownCandidates) -> dict[int, list[float]]:
    """Search scores of ordinary candidates, baselines and front points."""
    names = [objective.name for objective in data.objectives]
    found = {row.number: [row.value(name) for name in names] for row in shown.rows}
    for candidate, scores in [
        *((row.candidate, row.search) for row in data.baselines),
        *((point.candidate, point.search) for point in data.front),
    ]:
        if scores is not None:
            found[candidate] = [scores.value(name) for name in names]
    return found


def _heights(values: Sequence[float], ranges: Sequence[tuple[float, float]]) -> list[float | None]:
    """0 for the worst score of an axis, 1 for the best; four digits."""
    shares = [
        (value - worst) / (best - worst) if best != worst else 0.5
        for value, (worst, best) in zip(values, ranges, strict=True)
    ]
    return [round(share, 4) if math.isfinite(share) else None for share in shares]


def _ranges(data: ReportData, rows: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """Worst and best score per objective."""
    ranges = []
    for k, objective in enumerate(data.objectives):
        values = [row[k] for row in rows if math.isfinite(row[k])] or [0.0, 1.0]
        low, high = min(values), max(values)
        ranges.append((low, high) if objective.sign > 0 else (high, low))
    return ranges


def _add_lines(
    figure: go.Figure,
    name: str,
    rows: Mapping[int, Sequence[float]],
    ranges: Sequence[tuple[float, float]],
    colour: str,
    *,
    width: float,
    opacity: float = 1.0,
    dash: str = "solid",
) -> None:
    """All lines of a group as one trace, with a gap after each."""
    import plotly.graph_objects as go

    xs: list[float | None] = []
    ys: list[float | None] = []
    numbers: list[int] = []
    for candidate, values in rows.items():
        xs += [*range(len(values)), None]
        ys += [*_heights(values, ranges), None]
        numbers += [candidate] * (len(values) + 1)
    if rows:
        figure.add_trace(
            go.Scatter(
                x=xs,
                y=ys,
                customdata=numbers,
                name=name,
                mode="lines+markers",
                hoverinfo="text",
                opacity=opacity,
                line={"color": colour, "width": width, "dash": dash},
                marker={"color": colour, "size": 3 + 1.5 * width},
            )
        )


def _add_axes(figure: go.Figure, data: ReportData, ranges: Sequence[tuple[float, float]]) -> None:
    """A vertical line per objective with its best score above and its worst below."""
    for k, (objective, (worst, best)) in enumerate(zip(data.objectives, ranges, strict=True)):
        figure.add_vline(x=k, line={"color": "#9AA5B1", "width": 1}, layer="below")
        shown = objective_decimals(data, objective)
        for y, value, side in ((1, best, "bottom"), (0, worst, "top")):
            text = number(rounded(value), shown)
            figure.add_annotation(x=k, y=y, text=text, showarrow=False, yanchor=side, yshift=5 if y else -5)
    titles = [
        f"<b>{plotly_text(o.name, 24)}</b><br>{plotly_text(o.unit, 24) or 'score'}"
        f"<br>{'more' if o.sign > 0 else 'less'} is better"
        for o in data.objectives
    ]
    ticks = {"tickmode": "array", "tickvals": list(range(len(titles))), "ticktext": titles}
    last = len(titles) - 1
    figure.update_layout(
        xaxis={
            **ticks,
            "range": [-0.15 * last / 2, last + 0.15 * last / 2],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        },
        yaxis={"range": [-0.14, 1.14], "visible": False},
    )
