"""Filters of `searcher front`: bounds, nearest to wishes, first few; closed forms and recomputation."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.display import front_table
from searcher.errors import ConfigError
from searcher.front_file import front_record, write_csv
from searcher.front_filters import FrontFilter, filter_text, fitness_of
from searcher.multi_objective.hypervolume import hypervolume
from tests.records import ACCURACY, COST, GAIN, Row, make_history

LEFT, RIGHT = replace(ACCURACY, name="left"), replace(ACCURACY, name="right.rear")
ROWS: list[Row] = [(0.9, 0.1), None, (0.1, 1.0), (0.8, 0.6), (0.5, 0.5), (0.65, 0.7)]


@pytest.fixture
def record() -> dict[str, Any]:
    """Front 0, 2, 3, 5; held-out scores of 3 and 5."""
    held_out: dict[int, Row] = {3: (0.7, math.nan), 5: (0.75, 0.6)}
    return front_record(make_history([LEFT, RIGHT], ROWS, n_baselines=2, held_out=held_out))


def kept(record: dict[str, Any], **wanted: Any) -> list[int]:
    return [point["candidate"] for point in FrontFilter(**wanted).apply(record)["points"]]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["left>=0.65"], [0, 3, 5]),
        (["left > 0.65"], [0, 3]),
        (["left<=.65"], [2, 5]),
        (["left>=0.2", "right.rear<0.7"], [0, 3]),
        (["left>=0.2 and left<0.8"], [5]),
        (["left>=6.5e-1  and  left<=0.65"], [5]),
        (["left.held_out>=0.7"], [3, 5]),  # without such a score: not chosen
        (["right.rear.held_out>0"], [5]),
        (["left.search>=0.8"], [0, 3]),
        (["left>=2"], []),
    ],
)
def test_conditions(record: dict[str, Any], where: list[str], expected: list[int]) -> None:
    assert kept(record, where=where) == expected


def test_the_nearest_points_and_objectives_that_are_not_named_do_not_count(record: dict[str, Any]) -> None:
    assert kept(record, closest="left=0.7,right.rear=0.7") == [5]
    assert kept(record, closest="left=1") == [0]
    assert kept(record, closest="left=1", top=3) == [0, 3, 5]
    assert kept(record, where=["left<0.9"], closest="left=1") == [3]
    assert kept(record, where=["left>1"], closest="left=1", top=2) == []


def test_order_by_an_objective_follows_its_direction() -> None:
    record = front_record(make_history([GAIN, COST], [(1.0, 9.0), (2.0, 10.0), (0.5, 2.0)], n_baselines=0))
    assert kept(record, by="gain") == [1, 0, 2]
    assert kept(record, by="cost", top=2) == [2, 0]
    assert kept(record, closest="cost=2,gain=0") == [2]


def test_contributions_are_what_the_front_would_lose(record: dict[str, Any]) -> None:
    found = FrontFilter(top=2).apply(record)
    assert [p["candidate"] for p in found["points"]] == [3, 5]
    # candidate 3 alone covers 0.65 to 0.8 by 0.1 to 0.6; candidate 5 alone 0.1 to 0.65 by 0.6 to 0.7
    assert [p["hypervolume_contribution"] for p in found["points"]] == pytest.approx([0.15 * 0.5, 0.55 * 0.1])
    assert found["hypervolume"] == record["hypervolume"]
    assert found["filter"] == {"top": 2, "by": "hypervolume", "points_before": 4}


@given(st.lists(st.tuples(*[st.floats(0.05, 1.0)] * 3), min_size=1, max_size=8, unique=True))
def test_contributions_equal_differences_of_hypervolumes(rows: list[tuple[float, float, float]]) -> None:
    objectives = [replace(ACCURACY, name=name) for name in "abc"]
    record = front_record(make_history(objectives, rows, n_baselines=0))
    front = fitness_of(record["points"], record["objectives"])
    whole = hypervolume(front, np.zeros(3))
    found = FrontFilter(by="hypervolume").apply(record)["points"]
    lost = {p["candidate"]: p["hypervolume_contribution"] for p in found}
    for i, point in enumerate(record["points"]):
        without = hypervolume(np.delete(front, i, axis=0), np.zeros(3))
        assert lost[point["candidate"]] == pytest.approx(whole - without, abs=1e-12)
    assert list(lost.values()) == sorted(lost.values(), reverse=True)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"where": ["letf>=1"]}, ["'letf'", "Did you mean 'left'?", "--where"]),
        ({"where": ["left.heldout>=1"]}, ["'left.heldout'", "--where"]),
        ({"by": "hypervolum"}, ["Did you mean 'hypervolume'?", "--by"]),
        ({"closest": "Left=1"}, ["Did you mean 'left'?", "--closest"]),
        ({"where": ["left"]}, ["cannot be read"]),
        ({"where": ["left>=much"]}, ["'much' should be a number"]),
        ({"where": ["left>=nan"]}, ["'nan' should be a number"]),
        ({"where": ["0.2<=left<=0.5"]}, ["cannot be read"]),
        ({"where": [""]}, ["cannot be read"]),
        ({"closest": "left>=1"}, ["cannot be read"]),
        ({"closest": "left=1,"}, ["cannot be read"]),
        ({"closest": "left=1", "by": "left"}, ["exclude each other"]),
    ],
)
def test_errors_have_three_lines(record: dict[str, Any], wanted: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        FrontFilter(**wanted).apply(record)
    assert len(str(raised.value).splitlines()) == 3
    assert all(word in str(raised.value) for word in words)


def test_nothing_asked_leaves_the_record_alone(record: dict[str, Any]) -> None:
    assert FrontFilter().apply(record) == record


def test_the_table_says_what_was_asked_and_why_nothing_is_left(record: dict[str, Any]) -> None:
    found = FrontFilter(where=["left>0.2", "left<0.1"]).apply(record)
    assert filter_text(found["filter"], 0).endswith("(points that meet each condition alone: left>0.2 3, left<0.1 0)")
    caption = front_table(FrontFilter(top=1, closest="left=1").apply(record)).caption
    assert caption == "1 of 4 points: closest to left=1"


def test_csv_holds_the_baselines_and_the_wanted_points_in_their_order(record: dict[str, Any]) -> None:
    stream = io.StringIO()
    write_csv(FrontFilter(by="left").apply(record), stream)
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()[1:]] == ["0", "1", "0", "3", "5", "2"]
