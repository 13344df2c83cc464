"""front.json and its CSV: the documented content, tags, names of points, missing values."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher.candidate import Evaluation, Score
from searcher.errors import ConfigError
from searcher.front_file import find_point, front_record, tags_of, write_csv, write_front
from searcher.history import History
from searcher.recipe import Recipe
from tests.records import ACCURACY, COST, GAIN, Row, candidate, make_history, recipe

LEFT, RIGHT = replace(ACCURACY, name="left"), replace(ACCURACY, name="right")
ROWS: list[Row] = [(1.0, 0.1), None, (0.1, 1.0), (0.8, 0.6), (0.5, 0.5), None, (0.65, 0.65)]


@pytest.fixture
def history() -> History:
    """Two accuracies; baselines 0 and 1 (failed); front 0, 2, 3, 6; held-out scores for some."""
    held_out: dict[int, Row] = {0: (0.9, 0.2), 3: (0.7, math.nan), 6: None}
    return make_history([LEFT, RIGHT], ROWS, n_baselines=2, held_out=held_out)


def written(history: History, path: Path) -> dict[str, Any]:
    """What a strict JSON reader makes of the file."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    write_front(history, path)
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    return record


def test_the_file_is_as_documented(history: History, tmp_path: Path) -> None:
    record = written(history, tmp_path / "front.json")
    assert record == json.loads(json.dumps(front_record(history)))
    assert record["objectives"] == [
        {"name": "left", "direction": "maximize", "unit": "fraction"},
        {"name": "right", "direction": "maximize", "unit": "fraction"},
    ]
    assert record["evaluations"] == 7
    assert record["reference_point"] == [0.0, 0.0]
    assert record["hypervolume"] == pytest.approx(0.1 * 1.0 + 0.55 * 0.65 + 0.15 * 0.6 + 0.2 * 0.1)
    assert [b["name"] for b in record["baselines"]] == ["baseline 0", "baseline 1"]
    assert [p["candidate"] for p in record["points"]] == [0, 2, 3, 6]
    point = record["points"][2]
    assert point["scores"] == {"left": 0.8, "right": 0.6}
    assert point["stderr"] == {"left": 0.125, "right": 0.125}
    assert point["genome"] == [0.003]
    assert Recipe.from_json(point["recipe"]) == recipe(3)
    assert list(tmp_path.iterdir()) == [tmp_path / "front.json"]


def test_a_split_stands_there_only_if_it_was_scored(history: History) -> None:
    points = {p["candidate"]: p for p in front_record(history)["points"]}
    assert points[0]["held_out"] == {"left": 0.9, "right": 0.2}
    assert points[3]["held_out"] == {"left": 0.7}  # the other objective has no held-out examples
    assert "held_out" not in points[2]  # not scored
    assert "held_out" not in points[6]  # failed
    assert "select" not in points[0]


def test_a_failed_baseline_names_its_error_and_has_no_scores(history: History) -> None:
    first, failed = front_record(history)["baselines"]
    assert "error" not in first
    assert first["held_out"] == {"left": 0.9, "right": 0.2}
    assert failed["error"] == "NonFiniteWeights"
    assert failed["scores"] == {}


def test_unknown_is_null_and_never_zero(tmp_path: Path) -> None:
    history = make_history([GAIN], [[2.0]])
    history.add_evaluation(Evaluation(0, "held_out", {"gain": Score(math.nan, math.nan)}))
    record = written(history, tmp_path / "front.json")
    [point] = record["points"]
    assert point["held_out"] == {"gain": None}
    assert point["held_out_stderr"] == {"gain": None}
    assert point["genome"] is None  # a baseline outside the space


def test_reference_and_scores_are_in_the_objectives_own_direction() -> None:
    record = front_record(make_history([GAIN, COST], [(2.0, 30.0), (4.0, 50.0)], n_baselines=2))
    assert record["reference_point"] == pytest.approx([1.8, 52.0])
    assert [p["scores"]["cost"] for p in record["points"]] == [30.0, 50.0]


def test_a_zero_bound_of_a_minimised_objective_is_not_minus_zero(tmp_path: Path) -> None:
    write_front(make_history([replace(COST, reference=0.0)], [[1.0]]), tmp_path / "front.json")
    assert "-0.0" not in (tmp_path / "front.json").read_text()


def test_an_empty_run_can_be_written(tmp_path: Path) -> None:
    record = written(History([LEFT, RIGHT]), tmp_path / "front.json")
    assert (record["points"], record["baselines"], record["evaluations"]) == ([], [], 0)
    assert record["hypervolume"] == 0.0


def test_tags(history: History) -> None:
    tags = tags_of(history, history.reported())
    assert tags == {0: ["best:left"], 2: ["best:right"], 3: ["knee"], 6: ["balanced"]}
    assert tags_of(history, ()) == {}


def test_a_single_point_has_every_tag_but_target() -> None:
    history = make_history([LEFT, RIGHT], [(0.5, 0.5)])
    assert tags_of(history, (0,)) == {0: ["knee", "balanced", "best:left", "best:right"]}


def test_objectives_of_other_units_have_no_balanced_point() -> None:
    history = make_history([GAIN, COST], [(1.0, 1.0), (2.0, 2.0)])
    assert "balanced" not in {tag for found in tags_of(history, history.front).values() for tag in found}
    history = make_history([GAIN], [[1.0]])
    assert tags_of(history, history.front) == {0: ["knee", "best:gain"]}


@pytest.mark.parametrize(
    ("left", "right", "number"), [(0.1, 1.0, 2), (1.0, 0.1, 0), (0.9, 0.6, 3), (None, 0.6, 3), (0.7, 0.7, 6)]
)
def test_the_target_is_the_point_nearest_to_what_was_wished(
    left: float | None, right: float | None, number: int
) -> None:
    objectives = [replace(LEFT, target=left), replace(RIGHT, target=right)]
    history = make_history(objectives, ROWS, n_baselines=2)  # an objective without a target wishes its best
    assert "target" in tags_of(history, history.front)[number]
    assert find_point(history, "target") == number


@pytest.mark.parametrize(
    ("point", "number"),
    [("knee", 3), ("balanced", 6), ("best:left", 0), ("best:right", 2), ("4", 4), (4, 4), ("03", 3)],
)
def test_points_are_found_by_tag_or_number(history: History, point: str | int, number: int) -> None:
    assert find_point(history, point) == number  # any scored candidate may be asked for, 4 is dominated


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ("kne", "did you mean knee?"),
        ("best:lft", "did you mean best:left?"),
        ("target", "known points are balanced, best:left, best:right, knee"),  # no target is named
        ("1", "it has no scores"),  # failed
        ("7", "it has no scores"),  # beyond the end
        (99999, "it has no scores"),
        ("-1", "known points are"),
        ("", "known points are"),
        ("3.0", "known points are"),
    ],
)
def test_points_that_do_not_exist_are_three_lines(history: History, point: str | int, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_point(history, point)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert f"{str(point)!r}" in lines[0]
    assert words in lines[0]
    assert "0, 2, 3, 6" in lines[2]


def test_a_run_without_scores_has_no_points() -> None:
    with pytest.raises(ConfigError, match="no scored candidate yet") as caught:
        find_point(History([LEFT]), "knee")
    assert "none" in caught.value.fix


def test_a_long_front_is_listed_in_part() -> None:
    history = make_history([GAIN, COST], [(float(i), float(i)) for i in range(40)])
    with pytest.raises(ConfigError) as caught:
        find_point(history, "x")
    assert "10, 11 ..." in caught.value.fix


def test_csv_has_baselines_then_points_and_empty_cells_where_unknown(history: History) -> None:
    stream = io.StringIO()
    write_csv(front_record(history), stream)
    header, *rows = csv.reader(io.StringIO(stream.getvalue()))
    assert header[:4] == ["candidate", "what", "left.search", "right.search"]
    assert {len(row) for row in rows} == {len(header)}
    assert [row[:2] for row in rows] == [
        ["0", "baseline 0"], ["1", "baseline 1"], ["0", "best:left"], ["2", "best:right"], ["3", "knee"], ["6", "balanced"]
    ]  # fmt: skip
    table = [dict(zip(header, row, strict=True)) for row in rows]
    assert (table[0]["left.search"], table[0]["right.held_out"]) == ("1.0", "0.2")
    assert table[1]["left.search"] == ""  # failed
    assert (table[4]["left.held_out"], table[4]["right.held_out"]) == ("0.7", "")
    assert table[3]["left.held_out_stderr"] == ""


def test_csv_quotes_what_needs_it() -> None:
    info = replace(GAIN, name='a, "b"\nc')
    stream = io.StringIO(newline="")
    write_csv(front_record(make_history([info], [[1.0]])), stream)
    header, *_ = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert header[2] == 'a, "b"\nc.search'


def test_an_untagged_point_is_called_by_its_origin() -> None:
    history = make_history([GAIN, COST], [(0.0, 0.0), (1.0, 1.0), (2.0, 3.0), (3.0, 4.0)], n_baselines=0)
    record = front_record(history)
    untagged = [p for p in record["points"] if not p["tags"]]
    assert untagged
    assert {p["origin"] for p in untagged} == {"strategy"}
    assert candidate(0, 0).origin == "strategy"
    assert np.isfinite(record["hypervolume"])
