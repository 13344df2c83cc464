"""The page in a real browser: nothing to complain of, a thousand points stay responsive, brushing chooses.

One start of headless Chromium serves all; without one the tests are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from searcher.analysis.optimism import Gap
from searcher.analysis.sensitivity import gene_effects
from searcher.report import CandidateRow, FrontRow, ReportData, Scores, write_report
from searcher.report.comparison_page import write_comparison
from searcher.report.insight_data import Differences, FrontCoefficients, Insight, SearchGap
from searcher.run_comparison import RunFront, compare_runs
from tests.records import COST, GAIN, make_history
from tests.report.browser import Browser, find_browser

MakeReport = Callable[..., ReportData]
N_POINTS = 1000
SECONDS = 20.0  # for what takes half a second on an idle core: a bound against freezing, not a benchmark


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium is installed")
    with Browser(path, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def large(data: ReportData) -> ReportData:
    """The report with a front of a thousand points on a sphere and everything that is known of it."""
    rng = np.random.default_rng(0)
    scores = np.abs(rng.normal(size=(N_POINTS, 3)))
    scores /= np.linalg.norm(scores, axis=1, keepdims=True)
    names, genes = [o.name for o in data.objectives], tuple(f"gene {k}" for k in range(6))
    genomes = rng.random((N_POINTS, len(genes)))
    first = len(data.candidates)
    rows = [dict(zip(names, map(float, row), strict=True)) for row in scores]
    errors = dict.fromkeys(names, 0.02)
    tags = {0: ("knee",), 1: ("best:low",)}
    front = [
        FrontRow(first + i, tags.get(i, ()), Scores(row, errors), None, Scores(row, errors))
        for i, row in enumerate(rows)
    ]
    candidates = [CandidateRow(first + i, "strategy", row, on_front=True) for i, row in enumerate(rows)]
    numbers = tuple(point.candidate for point in front)
    stderr = np.full((200, 200, 3), 0.02) * (1 - np.eye(200))[:, :, None]
    insight = Insight(
        FrontCoefficients(numbers, ("low", "high"), ("embedding", "head"), rng.random((N_POINTS, 2, 2))),
        genes,
        {"low": gene_effects(genomes, genomes[:, 0] + 0.1 * scores[:, 0])},
        Differences("held_out", numbers[:200], scores[:200], stderr, (True, True, True)),
        (SearchGap("low", Gap(0.03, 0.01), Gap(0.0, 0.01), Gap(0.03, 0.01)),),
    )
    return ReportData(
        **{**vars(data), "candidates": (*data.candidates, *candidates), "front": tuple(front), "insight": insight}
    )


@pytest.fixture(scope="module")
def opened(browser: Browser, make_report: MakeReport, tmp_path_factory: pytest.TempPathFactory) -> Browser:
    browser.open(write_report(large(make_report(3)), tmp_path_factory.mktemp("page") / "report.html"))
    return browser


def test_a_thousand_points_are_drawn_without_complaint(opened: Browser, tmp_path: Path) -> None:
    milliseconds = opened.value(
        "(() => { const t = performance.now(); dispatchEvent(new Event('beforeprint')); return performance.now() - t })()"
    )
    canvases, drawn = (opened.value(f"document.querySelectorAll('{s}').length") for s in (".canvas", ".js-plotly-plot"))
    assert canvases == drawn >= 12
    assert milliseconds < 1000 * SECONDS
    found = opened.value("[...document.querySelectorAll('.canvas')].map((canvas) => canvas.id)")
    assert {"coordinates", "matrix", "attained-0-1", "differences", "along-front", "sensitivity-0"} <= set(found)
    assert opened.screenshot(tmp_path / "report.png").stat().st_size > 20_000
    assert opened.complaints == []


def test_brushing_an_axis_chooses_models_everywhere(opened: Browser) -> None:
    opened.value("document.getElementById('coordinates').scrollIntoView({ block: 'center' })")
    box = "document.querySelector('#coordinates .nsewdrag').getBoundingClientRect()"
    left, top, width, height = (opened.value(f"{box}.{side}") for side in ("left", "top", "width", "height"))
    x = left + width * 0.15 / 2.3  # the first axis: the figure goes from -0.15 to 2.15
    opened.drag((x - 15, top + height * 0.1), (x + 15, top + height * 0.3))  # heights 1.0 to 0.75
    opened.wait("!document.getElementById('brushed').hidden", SECONDS)
    chosen = int(opened.value("document.querySelector('#brushed span').textContent.split(' ')[0]"))
    heights = opened.value("Object.values(JSON.parse(document.getElementById('report-data').textContent).heights)")
    assert 0 < chosen < len(heights)
    assert chosen == pytest.approx(sum(row[0] >= 0.756 for row in heights), abs=0.03 * len(heights))
    selected = opened.value(
        "document.getElementById('matrix').data.slice(0, 4).reduce((n, t) => n + t.selectedpoints.length, 0)"
    )
    assert 0 < selected <= chosen
    assert opened.value("document.querySelectorAll('tr.brushed-out').length") > 0
    opened.value("document.querySelector('.clear-brush').click()")
    opened.wait("document.getElementById('brushed').hidden", SECONDS)
    assert opened.value("document.querySelectorAll('tr.brushed-out').length") == 0
    assert opened.complaints == []


def test_a_comparison_draws_and_gives_export_commands(browser: Browser, tmp_path: Path) -> None:
    rows = [[(1.0, 9.0), (2.0, 10.0)], [(1.5, 9.5), (0.5, 3.0)]]
    runs = [RunFront(n, make_history([GAIN, COST], r, n_baselines=0), {}) for n, r in zip("AB", rows, strict=True)]
    browser.open(write_comparison(compare_runs(runs), {"A": "runs/A", "B": "runs/B"}, tmp_path / "compared.html"))
    assert browser.value("document.querySelectorAll('.js-plotly-plot').length") == 2
    browser.value("document.getElementById('front-0-1').emit('plotly_click', { points: [{ customdata: 2 }] })")
    assert browser.value("document.querySelector('#picker .command').textContent") == (
        "searcher export runs/B --point 0 --to export/point-0"
    )
    assert browser.complaints == []
