from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest

from searcher.report.coordinate_figures import FAINT_LINES, coordinate_figure
from searcher.report.data import ReportData
from searcher.report.figure_style import ShownCandidates

MakeReport = Callable[..., ReportData]


def test_needs_three_objectives_and_something_to_show(make_report: MakeReport) -> None:
    data = make_report(2)
    assert coordinate_figure(data, ShownCandidates.of(data)) is None
    assert coordinate_figure(make_report(3, front=(), baselines=()), ShownCandidates((), 0)) is None


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_better_is_up(make_report: MakeReport, direction: Literal["maximize", "minimize"]) -> None:
    data = make_report(3)
    data = replace(data, objectives=(replace(data.objectives[0], direction=direction), *data.objectives[1:]))
    figure = coordinate_figure(data, ShownCandidates.of(data))
    assert figure is not None
    heights: dict[int, float] = {}
    for trace in figure.figure.data:
        for x, y, candidate in zip(trace.x, trace.y, trace.customdata, strict=True):
            if x == 0:
                heights[candidate] = y
            assert y is None or 0 <= y <= 1
    sign = data.objectives[0].sign
    shown = {row.number: sign * row.value("low") for row in data.candidates if row.number in heights}
    by_height = sorted(shown, key=lambda n: heights[n])
    assert [shown[n] for n in by_height] == pytest.approx(sorted(shown.values()), abs=1e-5)
    assert heights[max(shown, key=lambda n: shown[n])] == 1
    assert heights[min(shown, key=lambda n: shown[n])] == 0


def test_faint_lines_are_few(make_report: MakeReport) -> None:
    data = make_report(3, 2000)
    figure = coordinate_figure(data, ShownCandidates.of(data))
    assert figure is not None
    assert len(set(figure.figure.data[0].customdata)) <= FAINT_LINES


def test_equal_scores_stand_in_the_middle(make_report: MakeReport) -> None:
    data = make_report(3, front=make_report(3).front[:1], baselines=())
    figure = coordinate_figure(data, ShownCandidates((), 0))
    assert figure is not None
    assert list(figure.figure.data[0].y) == [0.5, 0.5, 0.5, None]
