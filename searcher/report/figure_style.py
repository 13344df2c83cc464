"""What all figures of a report share: colours, layout, axes, the candidates they show, hover labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from searcher.report.data import CandidateRow, FrontRow, ObjectiveInfo, ReportData
from searcher.report.wording import decimals_for, number, plotly_text, with_error

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Okabe and Ito 2008: distinguishable with every common kind of colour blindness; shapes differ as well.
FRONT: Final = "#0072B2"
BASELINE: Final = "#D55E00"
CHOSEN: Final = "#009E73"
FAINT: Final = "#8A94A0"
INK: Final = "#1F2933"
GRID: Final = "#E4E9EE"

FAINT_LIMIT: Final = 3000  # more marks make a browser slow and tell no more


@dataclass(frozen=True, eq=False)
class ReportFigure:
    """A plotly figure with its place in the page.

    Args:
        key: Fixed name of its element, unique in the page, so that equal data give equal files.
        title: Heading, plain text.
        figure: The plotly figure.
        is_wide: Whether it takes the whole width.
    """

    key: str
    title: str
    figure: go.Figure
    is_wide: bool = False


@dataclass(frozen=True, eq=False)
class ShownCandidates:
    """The candidates that figures draw faintly: scored, neither baseline nor on the front.

    Args:
        rows: At most ``FAINT_LIMIT``, evenly spread over the run.
        n_scored: How many there are.
    """

    rows: tuple[CandidateRow, ...]
    n_scored: int

    @classmethod
    def of(cls, data: ReportData) -> ShownCandidates:
        """Choose them; the choice depends on nothing but the data."""
        special = {row.candidate for row in data.baselines} | {point.candidate for point in data.front}
        names = [objective.name for objective in data.objectives]
        scored = [
            row
            for row in data.candidates
            if row.number not in special and all(math.isfinite(row.value(name)) for name in names)
        ]
        n_shown = min(len(scored), FAINT_LIMIT)
        rows = tuple(scored[i * len(scored) // n_shown] for i in range(n_shown))
        return cls(rows, len(scored))


def new_figure(height: int, **layout: object) -> go.Figure:
    """An empty figure in the style of the report; ``height`` in pixels."""
    import plotly.graph_objects as go

    font = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif", "size": 13}
    return go.Figure(
        layout={
            "template": None,
            "height": height,
            "margin": {"l": 64, "r": 24, "t": 60, "b": 56},
            "font": {**font, "color": INK},
            "paper_bgcolor": "#FFFFFF",
            "plot_bgcolor": "#FFFFFF",
            "hovermode": "closest",
            "hoverlabel": {"bgcolor": "#FFFFFF", "bordercolor": "#9AA5B1", "align": "left", "font": {"color": INK}},
            "legend": {"orientation": "h", "x": 0, "y": 1.0, "xanchor": "left", "yanchor": "bottom"},
            "dragmode": "zoom",
            **layout,
        }
    )


def axis(title: str, limits: tuple[float, float] | None = None, **more: object) -> dict[str, Any]:
    """An axis with a title that is already escaped."""
    found: dict[str, Any] = {
        "title": {"text": title, "standoff": 10, "font": {"size": 13}},
        "gridcolor": GRID,
        "linecolor": "#9AA5B1",
        "showline": True,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": "#9AA5B1",
        "automargin": True,
        **more,
    }
    if limits is not None:
        found["range"] = list(limits)
    return found


def objective_title(objective: ObjectiveInfo) -> str:
    """Name, unit and direction of an objective, escaped for plotly."""
    unit = f", {plotly_text(objective.unit, 24)}" if objective.unit else ""
    better = "more" if objective.sign > 0 else "less"
    return f"{plotly_text(objective.name, 32)}{unit} ({better} is better)"


def limits_of(values: Iterable[float], margin: float = 0.07) -> tuple[float, float]:
    """Axis limits around the finite values."""
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    pad = margin * ((high - low) or abs(high) or 1.0)
    return rounded(low - pad), rounded(high + pad)


def rounded(value: float) -> float:
    """Six significant digits: enough for a screen, and a smaller file."""
    return float(f"{value:.6g}")


def plotted(values: Iterable[float]) -> list[float | None]:
    """Rounded values; None, which leaves a gap, for nan."""
    return [rounded(value) if math.isfinite(value) else None for value in values]


def error_bars(values: Sequence[float], colour: str) -> dict[str, Any]:
    """Error bars of one standard error; none where it is unknown."""
    array = [rounded(value) if math.isfinite(value) else 0.0 for value in values]
    return {"type": "data", "array": array, "color": colour, "thickness": 1, "width": 0, "visible": any(array)}


def faint_style(rows: Sequence[CandidateRow]) -> dict[str, Any]:
    """Style of the trace that shows ordinary candidates; those with estimates instead of scores are rings."""
    marker: dict[str, Any] = {"color": FAINT, "size": 5, "opacity": 0.35}
    is_mixed = any(row.is_estimate for row in rows)
    if is_mixed:
        marker["symbol"] = ["circle-open" if row.is_estimate else "circle" for row in rows]
    return {
        "mode": "markers",
        "name": "candidates (rings: estimates)" if is_mixed else "candidates",
        "hoverinfo": "text",
        "marker": marker,
    }


def rim() -> dict[str, Any]:
    """A white edge that keeps neighbouring marks apart."""
    return {"color": "#FFFFFF", "width": 1}


def hover_texts(data: ReportData, rows: Iterable[CandidateRow]) -> dict[str, str]:
    """Hover label by candidate number for the given candidates, the baselines and the front, escaped for plotly."""
    names = {row.candidate: f" · {plotly_text(row.name)}" for row in data.baselines}
    by_number = {row.number: row for row in data.candidates}
    decimals = {o.name: objective_decimals(data, o) for o in data.objectives}
    texts = {str(row.number): _hover(data, row.number, names, row, None, decimals) for row in rows}
    points = {point.candidate: point for point in data.front}
    for special in (*names, *points):
        texts[str(special)] = _hover(data, special, names, by_number.get(special), points.get(special), decimals)
    return texts


def _hover(
    data: ReportData,
    candidate: int,
    names: Mapping[int, str],
    row: CandidateRow | None,
    point: FrontRow | None,
    decimals: Mapping[str, int],
) -> str:
    tags = f" · {plotly_text(', '.join(point.tags))}" if point and point.tags else ""
    lines = [f"<b>point {candidate}</b>{names.get(candidate, '')}{tags}"]
    for objective in data.objectives:
        shown = decimals[objective.name]
        value = point.search.value(objective.name) if point else row.value(objective.name) if row else math.nan
        error = point.search.error(objective.name) if point else math.nan
        line = f"{plotly_text(objective.name, 32)}: {with_error(value, error, shown)}"
        if point and point.held_out:
            line += f" (held-out {number(point.held_out.value(objective.name), shown)})"
        lines.append(line)
    if row and row.is_estimate:
        lines.append("stopped early: estimates from a part of the examples")
    if row and row.summary:
        lines.append(f"<i>{plotly_text(row.summary, 90)}</i>")
    return "<br>".join(lines)


def objective_decimals(data: ReportData, objective: ObjectiveInfo) -> int:
    """Decimals for all scores of an objective, so that columns line up."""
    rows = [*(point.search for point in data.front), *(row.search for row in data.baselines)]
    scores = [row for row in rows if row is not None]
    return decimals_for([s.value(objective.name) for s in scores], [s.error(objective.name) for s in scores])
