from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from searcher.report.data import CandidateRow, ReportData
from searcher.report.figure_style import FAINT_LIMIT, ShownCandidates, faint_style, hover_texts, limits_of

MakeReport = Callable[..., ReportData]


@pytest.mark.parametrize("n", [0, 1, FAINT_LIMIT - 1, FAINT_LIMIT, FAINT_LIMIT + 1, 2 * FAINT_LIMIT + 7])
def test_candidates_are_thinned_evenly(make_report: MakeReport, n: int) -> None:
    rows = tuple(CandidateRow(i, "strategy", {"low": 0.5}) for i in range(n))
    shown = ShownCandidates.of(make_report(1, candidates=rows, front=(), baselines=()))
    assert (len(shown.rows), shown.n_scored) == (min(n, FAINT_LIMIT), n)
    numbers = [row.number for row in shown.rows]
    gaps = {b - a for a, b in pairwise(numbers)}
    assert max(gaps, default=0) - min(gaps, default=0) <= 1


def test_failed_and_half_scored_candidates_are_not_drawn(make_report: MakeReport) -> None:
    rows = (
        CandidateRow(1, "strategy", {}, "NonFiniteWeights"),
        CandidateRow(2, "strategy", {"low": 0.5}),
        CandidateRow(3, "strategy", {"low": 0.5, "high": float("inf")}),
        CandidateRow(4, "strategy", {"low": 0.5, "high": 0.5}),
    )
    shown = ShownCandidates.of(make_report(2, candidates=rows, front=(), baselines=()))
    assert [row.number for row in shown.rows] == [4]


def test_hover_labels_tell_number_scores_and_recipe(make_report: MakeReport) -> None:
    data = make_report(2)
    point = next(point for point in data.front if "knee" in point.tags)
    text = hover_texts(data, ())[str(point.candidate)]
    assert text.startswith(f"<b>point {point.candidate}</b> · knee")
    assert f"low: {point.search.value('low'):.3f} ± {point.search.error('low'):.3f} (held-out " in text
    assert "<i>task_arithmetic, low " in text


def test_hover_labels_of_baselines_have_their_names(make_report: MakeReport) -> None:
    data = make_report(2)
    assert hover_texts(data, ())["5"].startswith("<b>point 5</b> · uniform")


def test_limits_are_wider_than_the_values() -> None:
    assert limits_of([1.0, 2.0], 0.1) == pytest.approx((0.9, 2.1))
    low, high = limits_of([0.0, 0.0])
    assert low < 0 < high
    assert limits_of([float("nan")]) == pytest.approx((-0.07, 1.07))


def test_estimates_are_rings_and_say_so(make_report: MakeReport) -> None:
    rows = (
        CandidateRow(7, "strategy", {"low": 0.5}, is_estimate=True),
        CandidateRow(8, "strategy", {"low": 0.4}),
    )
    style = faint_style(rows)
    assert style["marker"]["symbol"] == ["circle-open", "circle"]
    assert "estimates" in style["name"]
    assert "symbol" not in faint_style(rows[1:])["marker"]
    data = make_report(1, candidates=rows, front=(), baselines=())
    texts = hover_texts(data, rows)
    assert "stopped early" in texts["7"]
    assert "stopped early" not in texts["8"]
