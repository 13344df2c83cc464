from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest

from searcher.report.data import ReportData
from searcher.report.figure_style import ShownCandidates
from searcher.report.front_figures import ERROR_BAR_LIMIT, front_figures

MakeReport = Callable[..., ReportData]


def traces(data: ReportData) -> dict[str, Any]:
    figure = front_figures(data, ShownCandidates.of(data))[0].figure
    return {trace.name or "names": trace for trace in figure.data}


def test_points_stand_at_their_search_scores(make_report: MakeReport) -> None:
    data = make_report(2)
    found = traces(data)
    by_number = dict(zip(found["front"].customdata, zip(found["front"].x, found["front"].y, strict=True), strict=True))
    for point in data.front:
        expected = (point.search.value("low"), point.search.value("high"))
        assert by_number[point.candidate] == pytest.approx(expected, rel=1e-5)
    assert list(found["baselines"].customdata) == [row.candidate for row in data.baselines]
    special = {row.candidate for row in data.baselines} | {point.candidate for point in data.front}
    assert not special & set(found["candidates"].customdata)


def test_error_bars_are_one_standard_error(make_report: MakeReport) -> None:
    data = make_report(2)
    front = traces(data)["front"]
    errors = {point.candidate: point.search.error("low") for point in data.front}
    expected = [errors[number] for number in front.customdata]
    assert list(front.error_x.array) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("direction", "shape"), [("maximize", "vh"), ("minimize", "hv")])
def test_two_objectives_show_the_border_of_what_is_dominated(
    make_report: MakeReport, direction: Literal["maximize", "minimize"], shape: str
) -> None:
    data = make_report(2)
    objectives = tuple(replace(objective, direction=direction) for objective in data.objectives)
    front = traces(replace(data, objectives=objectives))["front"]
    assert (front.mode, front.line.shape) == ("lines+markers", shape)
    assert list(front.x) == sorted(front.x)


def test_more_objectives_have_no_border(make_report: MakeReport) -> None:
    assert traces(make_report(3))["front"].mode == "markers"


def test_held_out_scores_wait_in_the_legend(make_report: MakeReport) -> None:
    assert traces(make_report(2))["front, held-out"].visible == "legendonly"
    front = tuple(replace(point, held_out=None) for point in make_report(2).front)
    assert "front, held-out" not in traces(make_report(2, front=front))


def test_baselines_are_named(make_report: MakeReport) -> None:
    data = make_report(2)
    names = {text.split(" (")[0] for text in traces(data)["names"].text if text}
    assert len(names & {row.name for row in data.baselines}) >= 8


def test_a_large_front_has_error_bars_on_tagged_points_only(make_report: MakeReport) -> None:
    data = make_report(2)
    point = data.front[0]
    many = tuple(
        replace(point, candidate=1000 + i, tags=("knee",) if i == 0 else ()) for i in range(ERROR_BAR_LIMIT + 1)
    )
    front = traces(replace(data, front=many))["front"]
    assert [bool(error) for error in front.error_x.array].count(True) == 1


def test_the_zoom_shows_what_the_search_found(make_report: MakeReport) -> None:
    data = make_report(2)
    meta = front_figures(data, ShownCandidates.of(data))[0].figure.layout.meta
    own = {row.candidate for row in data.baselines}
    for (low, high), (everything_low, everything_high), name in zip(
        meta["zoom"], meta["all"], ("low", "high"), strict=True
    ):
        values = [point.search.value(name) for point in data.front if point.candidate not in own]
        assert low < min(values) <= max(values) < high
        assert everything_low < min(row.value(name) for row in data.candidates if row.error is None)
        assert everything_high > max(row.value(name) for row in data.candidates if row.error is None)


def test_one_figure_per_pair(make_report: MakeReport) -> None:
    data = make_report(4)
    figures = front_figures(data, ShownCandidates.of(data))
    assert len({figure.key for figure in figures}) == 6
    assert figures[0].title == "high against low"
