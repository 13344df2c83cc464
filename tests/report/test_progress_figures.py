from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest

from searcher.report.data import CandidateRow, ReportData
from searcher.report.figure_style import ShownCandidates
from searcher.report.progress_figures import hypervolume, progress_figure

MakeReport = Callable[..., ReportData]


def best_line(data: ReportData) -> Any:
    figure = progress_figure(data, ShownCandidates.of(data))
    assert figure is not None
    return next((trace for trace in figure.figure.data if trace.name == "best so far"), None)


def test_only_changes_are_drawn(make_report: MakeReport) -> None:
    figure = hypervolume(make_report(2, hypervolume=(0.1, 0.1, 0.2, 0.2, 0.2, 0.5, 0.5)))
    assert list(figure.data[0].x) == [1, 3, 6, 7]
    assert list(figure.data[0].y) == pytest.approx([0.1, 0.2, 0.5, 0.5])
    assert figure.data[0].line.shape == "hv"


def test_the_baselines_are_a_level(make_report: MakeReport) -> None:
    figure = hypervolume(make_report(2))
    assert [shape.y0 for shape in figure.layout.shapes] == [0.741]
    assert not hypervolume(make_report(2, hypervolume_baselines=float("nan"))).layout.shapes


@pytest.mark.parametrize(("direction", "expected"), [("maximize", [0.2, 0.6, 0.6]), ("minimize", [0.2, 0.1, 0.1])])
def test_best_so_far_follows_the_direction(
    make_report: MakeReport, direction: Literal["maximize", "minimize"], expected: list[float]
) -> None:
    rows = tuple(CandidateRow(i, "strategy", {"low": value}) for i, value in enumerate((0.2, 0.6, 0.1, 0.3)))
    failed = CandidateRow(4, "strategy", {"low": 9.0}, "Broken")
    data = make_report(1, candidates=(*rows, failed), baselines=(), front=())
    data = replace(data, objectives=(replace(data.objectives[0], direction=direction),))
    line = best_line(data)
    assert list(line.y) == pytest.approx(expected)
    assert line.x[-1] == 4


def test_estimates_are_no_improvement(make_report: MakeReport) -> None:
    rows = tuple(
        CandidateRow(i, "strategy", {"low": value}, is_estimate=value > 0.5) for i, value in enumerate((0.2, 0.6, 0.3))
    )
    data = make_report(1, candidates=rows, baselines=(), front=())
    assert list(best_line(data).y) == pytest.approx([0.2, 0.3])


def test_nothing_recorded(make_report: MakeReport) -> None:
    assert progress_figure(make_report(2, hypervolume=()), ShownCandidates((), 0)) is None
    assert best_line(make_report(1, candidates=(), baselines=(), front=())) is None
