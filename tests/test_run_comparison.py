"""`searcher compare`: measures against closed forms, refusals, doubts that are said, table and page."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher.compare_command import comparison_tables
from searcher.errors import ConfigError
from searcher.history import History, ObjectiveInfo
from searcher.report.comparison_page import render_comparison, write_comparison
from searcher.run_comparison import Comparison, RunFront, compare_runs
from tests.records import ACCURACY, COST, GAIN, Row, make_history

LEFT, RIGHT = replace(ACCURACY, name="left"), replace(ACCURACY, name="right")


def run(name: str, rows: list[Row], held_out: dict[int, Row] | None = None, **changes: Any) -> RunFront:
    objectives = changes.pop("objectives", [LEFT, RIGHT])
    return RunFront(name, make_history(objectives, rows, n_baselines=0, held_out=held_out), changes)


@pytest.fixture
def two() -> Comparison:
    """A: the corners and a middle; B: one point that dominates the middle in search, and is dominated in held-out."""
    first = run("A", [(0.9, 0.1), (0.4, 0.4), (0.1, 0.9)], {0: (0.8, 0.1), 1: (0.6, 0.6), 2: (0.1, 0.7)})
    second = run("B", [(0.5, 0.5), None, (0.2, 0.2)], {0: (0.3, 0.3)})
    return compare_runs([first, second])


def test_measures_are_closed_forms(two: Comparison) -> None:
    a, b = two.runs
    assert (a.search.points, b.search.points, b.evaluations) == (3, 1, 3)
    assert a.search.hypervolume == pytest.approx(0.1 * 0.9 + 0.3 * 0.4 + 0.5 * 0.1)
    assert b.search.hypervolume == pytest.approx(0.25)
    assert (a.search.dominated, b.search.dominated) == (1, 0)
    assert a.held_out is not None
    assert b.held_out is not None
    assert (a.held_out.dominated, b.held_out.dominated) == (0, 1)
    assert b.held_out.hypervolume == pytest.approx(0.09)
    assert a.held_out.best == {"left": 0.8, "right": 0.7}  # of the points that search chose, not the best
    assert np.array(b.curve) == pytest.approx(np.array([[1, 0.25], [3, 0.25]]))
    assert two.notes == ()
    assert json.loads(json.dumps(two.to_json()))["runs"][0]["search"]["dominated_by_others"] == 1


def test_the_reference_point_is_the_worst_of_all_and_orders_may_differ() -> None:
    first = run("A", [(1.0, 9.0), (2.0, 10.0)], objectives=[GAIN, COST])
    second = run("B", [(11.0, 0.5), (8.0, 0.4)], objectives=[COST, GAIN])
    found = compare_runs([first, second])
    worst = np.minimum(first.history.reference, second.history.reference[::-1])
    assert found.reference_point == pytest.approx([worst[0], -worst[1]])
    assert found.runs[1].search.best == {"gain": 0.5, "cost": 8.0}
    assert found.runs[1].fitness["search"].tolist() == [[0.5, -11.0], [0.4, -8.0]]
    assert found.runs[1].search.dominated == 1  # by (1.0, 9.0): more gain for less cost than (0.5, 11.0)


@pytest.mark.parametrize(
    ("objectives", "words"),
    [
        ([LEFT], "different objectives: left, right in A, left in B"),
        ([LEFT, replace(RIGHT, direction="minimize")], "right is maximize fraction in A, minimize fraction in B"),
        ([LEFT, replace(RIGHT, unit="nats")], "fraction in A, maximize nats in B"),
    ],
)
def test_other_objectives_are_refused_in_three_lines(objectives: list[ObjectiveInfo], words: str) -> None:
    other = run("B", [tuple(0.5 for _ in objectives)], objectives=objectives)
    with pytest.raises(ConfigError, match=words) as raised:
        compare_runs([run("A", [(0.1, 0.1)]), other])
    assert len(str(raised.value).splitlines()) == 3


def test_one_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="One run alone"):
        compare_runs([run("A", [(0.1, 0.1)])])


def test_doubts_are_said() -> None:
    def header(split: float, digest: str) -> dict[str, Any]:
        sections = [{"name": name, "data": f"{name}.npz", "split": split} for name in ("left", "right")]
        return {"config": {"objectives": sections}, "data_hashes": {"left.npz": digest, "right.npz": "same"}}

    rows: list[Row] = [(0.1, 0.1)]
    tested: dict[int, Row] = {0: (0.2, 0.2)}
    found = compare_runs([run("A", rows, tested, **header(0.7, "x")), run("B", rows, tested, **header(0.7, "y"))])
    assert [note.split(":")[0] for note in found.notes] == ["left"]
    assert found.runs[0].held_out is not None
    found = compare_runs([run("A", rows, tested, **header(0.7, "x")), run("B", rows, **header(0.6, "x"))])
    assert found.notes[0].startswith("Not every run has held-out scores (B has none)")
    assert found.notes[1].startswith("left, right: scored with other data or settings in B than in A")
    assert [r.held_out for r in found.runs] == [None, None]


def test_a_run_without_any_score_is_shown() -> None:
    found = compare_runs([run("A", [(0.5, 0.5)]), run("B", [None, None])])
    assert (found.runs[1].search.points, found.runs[1].search.hypervolume, found.runs[1].curve) == (0, 0.0, ())
    assert math.isnan(found.runs[1].search.best["left"])
    assert found.to_json()["runs"][1]["search"]["best"] == {"left": None, "right": None}
    assert "B" in render_comparison(found, {"A": "runs/A", "B": "runs/B"})


def test_the_tables_hold_every_run(two: Comparison) -> None:
    from rich.console import Console

    stream = io.StringIO()
    for table in comparison_tables(two):
        Console(file=stream, width=120).print(table)
    text = stream.getvalue()
    assert text.index("search scores") < text.index("held-out scores")
    assert "reference point left 0, right 0" in text


def test_the_page_is_whole_and_hostile_names_stay_texts(two: Comparison, tmp_path: Path) -> None:
    evil = "</script><script>window.pwned=1</script>"
    runs = [RunFront(evil + name, make_history([LEFT], [(0.5,)], n_baselines=0), {}) for name in "AB"]
    page = render_comparison(compare_runs(runs), {r.name: evil for r in runs})
    assert "<script>window" not in page
    path = write_comparison(two, {"A": "runs/a b", "B": "runs/b"}, tmp_path / "compared.html")
    text = path.read_text(encoding="utf-8")
    payload = json.loads(text.split('id="report-data">')[1].split("</script>")[0])
    assert payload["commands"]["0"] == "searcher export 'runs/a b' --point 0 --to export/point-0"
    traces = payload["figures"]["front-0-1"]["data"]
    assert [trace["name"] for trace in traces] == ["A", "A, held-out", "B", "B, held-out"]
    assert {str(n) for trace in traces for n in trace["customdata"]} <= set(payload["hover"])


def test_a_history_without_evaluations_is_no_error() -> None:
    empty = RunFront("B", History.of([LEFT, RIGHT], [], []), {})
    assert compare_runs([run("A", [(0.5, 0.5)]), empty]).runs[1].evaluations == 0
