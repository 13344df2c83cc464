from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from searcher.report.data import FrontRow, ReportData, Scores
from searcher.report.summary_table import ROW_LIMIT, summary_table

MakeReport = Callable[..., ReportData]


def test_cells_follow_objectives_and_splits(make_report: MakeReport) -> None:
    data = make_report(2)
    table = summary_table(data)
    assert table.splits == ("search", "held-out")
    assert [row.name for row in table.baselines] == [row.name for row in data.baselines]
    point = data.front_in_order[0]
    assert [cell.sort for cell in table.front[0].cells] == [
        repr(scores.value(name)) for name in ("low", "high") for scores in (point.search, point.held_out) if scores
    ]


def test_tagged_points_come_first(make_report: MakeReport) -> None:
    tags = [bool(row.tags) for row in summary_table(make_report()).front]
    assert tags == sorted(tags, reverse=True)
    assert tags[0]


def test_the_best_of_each_column_is_marked_in_its_direction(make_report: MakeReport) -> None:
    data = make_report(1)
    data = replace(data, objectives=(replace(data.objectives[0], direction="minimize"),))
    table = summary_table(data)
    rows = [*table.baselines, *table.front]
    best = [row for row in rows if row.cells[0].is_best]
    assert best
    assert {float(row.cells[0].sort) for row in best} == {min(float(row.cells[0].sort) for row in rows)}


def test_a_select_split_is_shown_if_there_are_no_held_out_scores(make_report: MakeReport) -> None:
    data = make_report(2)
    front = tuple(replace(point, select=point.search) for point in data.front)
    assert summary_table(replace(data, front=front)).splits == ("search", "held-out")
    front = tuple(replace(point, held_out=None) for point in front)
    baselines = tuple(replace(row, held_out=None) for row in data.baselines)
    assert summary_table(replace(data, front=front, baselines=baselines)).splits == ("search", "select")


def test_a_failed_baseline_has_dashes_and_its_error(make_report: MakeReport) -> None:
    data = make_report(2)
    failed = replace(data.baselines[0], search=None, held_out=None, error="NonFiniteWeights")
    row = summary_table(replace(data, baselines=(failed, *data.baselines[1:]))).baselines[0]
    assert row.error == "NonFiniteWeights"
    assert {cell.value for cell in row.cells} == {"–"}  # noqa: RUF001
    assert {cell.sort for cell in row.cells} == {""}


def test_a_huge_front_is_cut(make_report: MakeReport) -> None:
    front = tuple(FrontRow(i, (), Scores({"low": i / 1000})) for i in range(700))
    table = summary_table(make_report(1, front=front))
    assert (len(table.front), table.n_front) == (ROW_LIMIT, 700)


def test_nothing_at_all(make_report: MakeReport) -> None:
    table = summary_table(make_report(front=(), baselines=()))
    assert (table.splits, table.baselines, table.front) == ((), (), ())
