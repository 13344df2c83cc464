"""Which front points the examples tell apart: a map of all pairs, in the order of the first objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from searcher.report.data import ReportData
from searcher.report.figure_style import FRONT, ReportFigure, new_figure
from searcher.report.heat_map_figures import tick_names
from searcher.report.wording import plotly_text

POINT_LIMIT: Final = 120  # in the map, evenly spread
_SHADES: Final = ("#E1EAF1", "#CBD9E4", "#B9CBD9", "#A9BFD0", "#9BB4C8")  # told apart in one objective, in two, ...


@dataclass(frozen=True)
class Alike:
    """A tagged point and those that no objective tells apart from it.

    Args:
        candidate: The point.
        tags: Its tags.
        others: Front points.
        baselines: Names of baselines.
    """

    candidate: int
    tags: tuple[str, ...]
    others: tuple[int, ...]
    baselines: tuple[str, ...]


def alike_rows(data: ReportData) -> list[Alike]:
    """One row per tagged front point."""
    known = data.insight.differences
    if known is None:
        return []
    front, names = {p.candidate for p in data.front}, {row.candidate: row.name for row in data.baselines}
    rows = []
    for point in data.front_in_order:
        if point.tags and point.candidate in known.candidates:
            same = known.alike(point.candidate)
            baselines = tuple(names[c] for c in same if c in names)
            others = tuple(c for c in same if c in front and c not in names)
            rows.append(Alike(point.candidate, point.tags, others, baselines))
    return rows


def difference_figure(data: ReportData) -> ReportFigure | None:
    """In how many objectives two points are told apart; blue: in none. None below three points."""
    import plotly.graph_objects as go

    known = data.insight.differences
    front = [p.candidate for p in data.front if known is not None and p.candidate in known.candidates]
    if known is None or len(front) < 3:
        return None
    places = np.array([known.candidates.index(c) for c in front])
    places = places[np.argsort(known.fitness[places, 0], kind="stable")]
    places = places[np.unique(np.linspace(0, len(places) - 1, POINT_LIMIT).round().astype(int))]
    apart = known.told_apart()[np.ix_(places, places)]
    labels = [str(known.candidates[i]) for i in places]
    m = len(data.objectives)
    figure = new_figure(min(760, 190 + 12 * len(labels)))
    figure.add_trace(
        go.Heatmap(
            z=apart.tolist(),
            text=[[f"{a} and {b}" for b in labels] for a in labels],
            zmin=-0.5,
            zmax=m + 0.5,
            colorscale=_scale(m),
            hovertemplate="points %{text}: told apart in %{z} objectives<extra></extra>",
            colorbar={
                "thickness": 12,
                "outlinewidth": 0,
                "tickvals": list(range(m + 1)),
                "ticktext": ["told apart in none", "in 1 objective", *(f"in {k}" for k in range(2, m + 1))],
            },
        )
    )
    first = plotly_text(data.objectives[0].name, 32)
    figure.update_layout(
        xaxis={
            **tick_names(labels, 40),
            "tickangle": -90,
            "title": {"text": f"front points, best in {first} at the right", "font": {"size": 13}},
        },
        yaxis={**tick_names(labels, 40), "autorange": "reversed"},
        margin={"l": 24, "r": 16, "t": 16, "b": 24},
    )
    return ReportFigure("differences", "Which points the examples tell apart", figure, is_wide=True)


def _scale(m: int) -> list[list[Any]]:
    """Steps: one colour per number of objectives."""
    colours = [FRONT, *(_SHADES[min(k, len(_SHADES) - 1)] for k in range(m))]
    return [[edge / (m + 1), colour] for k, colour in enumerate(colours) for edge in (k, k + 1)]
