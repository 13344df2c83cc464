"""Heat maps: merge coefficients of the chosen points, genes of the front points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from searcher.report.data import CoefficientTable, ReportData
from searcher.report.figure_style import ReportFigure, new_figure, plotted
from searcher.report.wording import plotly_text

if TYPE_CHECKING:
    import plotly.graph_objects as go

ANNOTATED_CELLS: Final = 320  # in larger maps numbers would be too small to read
TALLEST: Final = 1400  # pixels
GENE_POINTS: Final = 40
GENE_LIMIT: Final = 80

_FROM_ZERO: Final[list[list[Any]]] = [[0.0, "#F5F9FC"], [0.35, "#A9CFE5"], [0.7, "#3C8DBF"], [1.0, "#0B3C5D"]]
_AROUND_ZERO: Final[list[list[Any]]] = [
    [0.0, "#A63C00"],
    [0.25, "#F0A678"],
    [0.5, "#F8F8F8"],
    [0.75, "#7FB8D9"],
    [1.0, "#0B4F7D"],
]


def coefficient_figures(data: ReportData) -> list[ReportFigure]:
    """One heat map (segments x models) per chosen point, all in the same colours."""
    numbers = [x for table in data.coefficients for row in table.coefficients for x in row]
    if not numbers:
        return []
    low, high = min(0.0, *numbers), max(0.0, *numbers)
    figures = []
    for i, table in enumerate(data.coefficients):
        figure = _heat_map(table.coefficients, table.segments, table.models, low, high, "coefficient")
        is_wide = len(table.models) > 8 or len(data.coefficients) == 1
        figures.append(ReportFigure(f"coefficients-{i}", _title(table), figure, is_wide))
    return figures


def gene_figure(data: ReportData) -> ReportFigure | None:
    """Genes of the front points, best in the first objective on top; None if there is nothing to compare."""
    points = [point for point in data.front_in_order if point.genes][:GENE_POINTS]
    genes = list(points[0].genes) if points else []
    if len(points) < 2 or len(genes) > GENE_LIMIT or any(list(point.genes) != genes for point in points):
        return None
    first = data.objectives[0]
    points.sort(key=lambda point: (-first.sign * point.search.value(first.name), point.candidate))
    rows = [tuple(point.genes.values()) for point in points]
    labels = [f"{point.candidate}{' ' + point.tags[0] if point.tags else ''}" for point in points]
    figure = _heat_map(rows, labels, genes, 0.0, 1.0, "gene")
    return ReportFigure("genes", f"Genes of the front, sorted by {first.name}", figure, is_wide=True)


def _title(table: CoefficientTable) -> str:
    return f"Point {table.candidate}: {table.title}"


def _heat_map(
    rows: Sequence[Sequence[float]], labels: Sequence[str], columns: Sequence[str], low: float, high: float, unit: str
) -> go.Figure:
    """Rows top down; names stand on numeric axes because plotly would join equal categories."""
    import plotly.graph_objects as go

    row_height = 24 if len(rows) <= 50 else max(2, 1200 // len(rows))
    figure = new_figure(min(TALLEST, 150 + max(3, len(rows)) * row_height))
    scale, ends = colours(low, high)
    names = [[f"{plotly_text(label)}, {plotly_text(column)}" for column in columns] for label in labels]
    figure.add_trace(
        go.Heatmap(
            z=[plotted(row) for row in rows],
            text=names if len(rows) * len(columns) <= 20000 else None,
            colorscale=scale,
            zmin=ends[0],
            zmax=ends[1],
            xgap=1,
            ygap=1 if row_height > 8 else 0,
            texttemplate="%{z:.2f}" if len(rows) * len(columns) <= ANNOTATED_CELLS and len(columns) <= 24 else None,
            hovertemplate=f"%{{text}}: %{{z:.4f}}<extra>{unit}</extra>",
            colorbar={
                "thickness": 12,
                "outlinewidth": 0,
                "title": {"text": unit, "side": "right", "font": {"size": 12}},
            },
        )
    )
    figure.update_layout(
        xaxis={**tick_names(columns, 60), "side": "top", "tickangle": -35 if len(columns) > 5 else 0},
        yaxis={**tick_names(labels, 60), "autorange": "reversed"},
        margin={"l": 24, "r": 16, "t": 48, "b": 16},
    )
    return figure


def colours(low: float, high: float) -> tuple[list[list[Any]], tuple[float, float]]:
    """Colour scale and its ends: from zero, or around it if there are negative numbers."""
    if low < 0:
        return _AROUND_ZERO, (-max(-low, high), max(-low, high))
    return _FROM_ZERO, (0.0, high or 1.0)


def tick_names(labels: Sequence[str], limit: int) -> dict[str, Any]:
    """Tick labels at whole numbers, evenly thinned if there are more than ``limit``."""
    shown = range(0, len(labels), max(1, -(-len(labels) // limit)))
    return {
        "tickmode": "array",
        "tickvals": list(shown),
        "ticktext": [plotly_text(labels[i], 22) for i in shown],
        "automargin": True,
        "showgrid": False,
        "zeroline": False,
        "ticks": "",
    }
