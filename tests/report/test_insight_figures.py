"""Figures and tables of trade-offs: closed forms, what is left out, hostile names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from searcher.analysis.optimism import Gap
from searcher.analysis.sensitivity import gene_effects
from searcher.report import CandidateRow, ObjectiveInfo, ReportData
from searcher.report.attainment_figures import attained
from searcher.report.difference_figures import alike_rows
from searcher.report.gap_table import gap_rows
from searcher.report.insight_data import Differences, FrontCoefficients, Insight, SearchGap
from searcher.report.page import render_report
from searcher.report.sensitivity_figures import sensitivity_figures, unexplained

MakeReport = Callable[..., ReportData]
EVIL = '</script><script>window.pwned=1</script><a href="https://evil.example">x</a>'


def with_insight(data: ReportData, text: str = "") -> ReportData:
    """All parts of it for the first two front points, with ``text`` in every name."""
    numbers = tuple(point.candidate for point in data.front)
    p, m = len(numbers), len(data.objectives)
    rng = np.random.default_rng(0)
    genomes = rng.random((60, 2))
    name = data.objectives[0].name
    insight = Insight(
        FrontCoefficients(numbers, (f"low{text}", f"high{text}"), (f"head{text}",), rng.random((p, 1, 2))),
        (f"first{text}", f"second{text}"),
        {name: gene_effects(genomes, genomes[:, 0]), data.objectives[1].name: gene_effects(genomes, rng.random(60))},
        Differences("held_out", numbers, rng.random((p, m)), np.full((p, p, m), 0.5), (True,) * m),
        (SearchGap(name, Gap(0.03, 0.01)),),
    )
    return replace(data, insight=insight)


def figures(page: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.split('id="report-data">')[1].split("</script>")[0])["figures"]
    return found


def test_attained_is_the_border_in_two_objectives() -> None:
    gain, cost = ObjectiveInfo("gain", "maximize"), ObjectiveInfo("cost", "minimize")
    rows = [(1.0, 5.0), (2.0, 6.0), (1.5, 7.0), (3.0, 9.0), (2.0, 6.0), (9.0, 0.0), (8.0, 1.0)]
    made = [CandidateRow(i, "strategy", {"gain": a, "cost": b}) for i, (a, b) in enumerate(rows)]
    made[5], made[6] = replace(made[5], is_estimate=True), replace(made[6], error="NonFiniteWeights")
    assert attained(made, gain, cost) == ([1.0, 2.0, 3.0], [5.0, 6.0, 9.0])
    assert attained([], gain, cost) == ([], [])


def test_gaps_in_words(make_report: MakeReport) -> None:
    gaps = (
        SearchGap("low", Gap(0.03, 0.01), Gap(0.0, 0.01), Gap(0.03, 0.01)),
        SearchGap("high", Gap(0.03, 0.01), None, Gap(0.01, 0.01)),
        SearchGap("noisy", Gap(-0.03, 0.01, is_bound=True)),
    )
    rows = gap_rows(make_report(3, insight=Insight(gaps=gaps)))
    assert [row.reading for row in rows] == [
        "search scores flatter",
        "no gap that the examples show",
        "held-out scores are better",
    ]
    assert rows[0].front == "+0.030 (0.010 to 0.050)"
    assert rows[2].front.endswith("at most")
    assert (rows[1].baselines, rows[2].excess) == ("–", "–")  # noqa: RUF001 - an en dash


def test_all_sections_appear_only_with_their_data(make_report: MakeReport) -> None:
    plain, full = render_report(make_report(3)), render_report(with_insight(make_report(3)))
    for name in ("certainty", "sensitivity"):
        assert f'<section id="{name}"' in full
        assert f'<section id="{name}"' not in plain
    assert {"along-front", "differences", "sensitivity-0", "attained-0-1", "matrix"} <= set(figures(full))
    assert {"attained-0-1", "matrix"} <= set(figures(plain))
    assert not {"along-front", "differences", "sensitivity-0"} & set(figures(plain))


def test_a_fit_that_explains_nothing_is_named_and_not_drawn(make_report: MakeReport) -> None:
    data = with_insight(make_report(3))
    assert [figure.key for figure in sensitivity_figures(data)] == ["sensitivity-0"]
    assert unexplained(data) == [data.objectives[1].name]


def test_points_that_nothing_tells_apart(make_report: MakeReport) -> None:
    data = with_insight(make_report(3))
    rows = alike_rows(data)
    tagged = [point.candidate for point in data.front if point.tags]
    assert sorted(row.candidate for row in rows) == tagged
    assert all(len(row.others) + len(row.baselines) == len(data.front) - 1 for row in rows)


def test_hostile_names_stay_texts(make_report: MakeReport) -> None:
    page = render_report(with_insight(make_report(3), EVIL))
    assert "<script>window" not in page
    labels = re.findall(r"<[^>]*>?", json.dumps(figures(page)))
    assert set(labels) <= {"<b>", "</b>", "<br>", "<extra>", "</extra>"}


def test_every_number_of_objectives_is_drawn(make_report: MakeReport) -> None:
    for m in (2, 5):
        found = figures(render_report(with_insight(make_report(m))))
        assert ("matrix" in found) == (m > 2)
        assert sum(key.startswith("attained") for key in found) == min(6, m * (m - 1) // 2)
