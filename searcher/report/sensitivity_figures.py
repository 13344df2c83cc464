"""What moves an objective: the effects of the genes that the search's own candidates show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from searcher.analysis.sensitivity import Direction, GeneEffects
from searcher.report.data import ReportData
from searcher.report.figure_style import BASELINE, FAINT, FRONT, INK, ReportFigure, axis, new_figure, plotted
from searcher.report.wording import plotly_text, significant

if TYPE_CHECKING:
    import plotly.graph_objects as go

GENE_LIMIT: Final = 12  # strongest first
ENOUGH_EXPLAINED: Final = 0.05  # of the variance of left-out candidates; less is no fit

_GROUPS: Final[tuple[tuple[Direction, str, str], ...]] = (
    ("rises", "score rises with it", FRONT),
    ("falls", "falls", BASELINE),
    ("bends", "bends in between", FAINT),
)


def sensitivity_figures(data: ReportData) -> list[ReportFigure]:
    """One figure per objective whose fit explains left-out candidates."""
    figures = []
    for k, objective in enumerate(data.objectives):
        found = data.insight.effects.get(objective.name)
        if found is not None and found.explained >= ENOUGH_EXPLAINED:
            title = f"{objective.name}: fit explains {found.explained:.0%} of left-out candidates' variance"
            unit = plotly_text(objective.unit, 24)
            figures.append(ReportFigure(f"sensitivity-{k}", title, _bars(found, data.insight.genes, unit)))
    return figures


def unexplained(data: ReportData) -> list[str]:
    """Objectives with candidates enough but a fit that explains nothing."""
    effects = data.insight.effects
    return [o.name for o in data.objectives if o.name in effects and effects[o.name].explained < ENOUGH_EXPLAINED]


def _bars(found: GeneEffects, genes: tuple[str, ...], unit: str) -> go.Figure:
    import plotly.graph_objects as go

    order = np.argsort(-found.effects, kind="stable")[:GENE_LIMIT]
    figure = new_figure(184 + 26 * len(order), barmode="overlay", margin={"l": 24, "r": 16, "t": 74, "b": 52})
    for direction, name, colour in _GROUPS:
        places = [i for i, k in enumerate(order) if found.directions[k] == direction]
        chosen = order[places]
        if not places:
            continue
        effects = found.effects[chosen]
        figure.add_trace(
            go.Bar(
                x=plotted(effects.tolist()),
                y=places,
                orientation="h",
                width=0.66,  # plotly takes the distance between bars of one trace for the width
                name=name,
                marker={"color": colour},
                error_x={
                    "type": "data",
                    "array": plotted(np.maximum(found.high[chosen] - effects, 0.0).tolist()),
                    "arrayminus": plotted(np.maximum(effects - found.low[chosen], 0.0).tolist()),
                    "color": INK,
                    "thickness": 1,
                    "width": 3,
                },
                text=[plotly_text(genes[k], 60) for k in chosen],
                textposition="none",
                hovertemplate="%{text}: %{x:.3g}<extra></extra>",
            )
        )
    figure.add_vline(x=found.noise, line={"color": INK, "dash": "dot", "width": 1})
    text = f"noise: {significant(found.noise, 2)}"
    figure.add_annotation(x=found.noise, y=len(order) - 0.4, text=text, showarrow=False, xanchor="left", xshift=4)
    labels = [plotly_text(genes[k], 24) for k in order]
    ticks = {"tickmode": "array", "tickvals": list(range(len(order))), "ticktext": labels}
    figure.update_layout(
        xaxis=axis(f"effect{', ' + unit if unit else ''} (standard deviation of its part)", rangemode="tozero"),
        yaxis={**ticks, "range": [len(order) - 0.1, -0.6], "automargin": True, "showgrid": False, "zeroline": False},
    )
    return figure
