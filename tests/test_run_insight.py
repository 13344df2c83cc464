"""What the report learns of a run beyond its scores, on histories from numbers and on a short real run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher.analysis.paired import paired_stderr
from searcher.candidate import Split
from searcher.finished_run import open_run
from searcher.report.page import render_report
from searcher.report.verdict import judge
from searcher.run_insight import (
    _means,
    _parts,
    differences,
    front_coefficients,
    gene_effects_of,
    insight_of,
    search_gaps,
)
from tests.records import ACCURACY, COST, Row, make_history
from tests.short_run import short_run
from tests.test_run_report import TENSORS, data_of, header

LEFT = replace(ACCURACY, name="left", n_examples={"search": 4, "held_out": 4})
SIZE = replace(COST, name="size")  # no examples: one score for all splits
ROWS: list[Row] = [(0.5, 2.0), (0.75, 3.0), (0.25, 1.0), None]
HELD_OUT: dict[int, Row] = {n: (row[0], math.nan) for n, row in enumerate(ROWS) if row}
CORRECT = {0: [1, 1, 0, 0], 1: [1, 1, 1, 0], 2: [1, 0, 0, 0]}


def examples(candidate: int, split: Split) -> Mapping[str, Any]:
    return {"left": np.array(CORRECT[candidate], dtype=np.float64)}


def none(candidate: int, split: Split) -> Mapping[str, Any]:
    return {}


def test_differences_are_paired_where_examples_are_known() -> None:
    history = make_history([LEFT, SIZE], ROWS, held_out=HELD_OUT)
    found = differences(history, history.reported(), examples)
    assert found is not None
    assert (found.split, found.candidates, found.is_paired) == ("held_out", (0, 1, 2), (True, False))
    assert found.fitness.tolist() == [[0.5, -2.0], [0.75, -3.0], [0.25, -1.0]]
    direct = paired_stderr(np.array([CORRECT[n] for n in range(3)], dtype=np.float64))
    assert np.array_equal(found.stderr[:, :, 0], direct)
    assert found.stderr[0, 1, 1] == pytest.approx(0.125 * math.sqrt(2))
    assert found.of(0, 1, 0) == direct[0, 1]
    assert math.isnan(found.of(0, 3, 0))
    assert found.alike(0) == ()  # sizes differ by eight standard errors
    assert differences(history, (0, 1), none).is_paired == (False, False)  # type: ignore[union-attr]


def test_scores_that_are_no_means_are_not_paired() -> None:
    history = make_history([LEFT], [(0.5,), (0.8,)], n_baselines=2)  # the second is not the mean of its examples
    found = differences(history, (0, 1), examples)
    assert found is not None
    assert (found.split, found.is_paired) == ("search", (False,))
    assert found.alike(0) == (1,)  # 0.3 is within 1.96 times 0.125 times the root of 2


def test_gaps_are_search_minus_held_out_of_what_was_proposed() -> None:
    held_out: dict[int, Row] = {0: (0.5, math.nan), 1: (0.6, math.nan), 2: (0.2, math.nan)}
    history = make_history([LEFT, SIZE], ROWS, held_out=held_out)
    [gap] = search_gaps(history, (0, 1, 2), none)
    assert (gap.objective, gap.excess) == ("left", None)
    assert gap.front.value == pytest.approx(((0.75 - 0.6) + (0.25 - 0.2)) / 2)
    assert gap.front.is_bound
    assert gap.baselines is not None
    assert gap.baselines.value == 0
    assert search_gaps(history, (0,), none) == ()  # only a baseline is on the front


def test_parts_and_their_means() -> None:
    borders, labels = _parts(TENSORS)
    assert labels == ["embedding", "block 0", "block 1", "norm", "head"]
    assert borders.tolist() == [0, 4, 20, 36, 38, 42]
    means = _means(np.array([0, 12, 42]), np.array([[1.0, 0.0], [3.0, 1.0]]), borders)
    assert means == pytest.approx(np.array([[1, 0], [2, 0.5], [3, 1], [3, 1], [3, 1]]))


def test_coefficients_follow_the_first_objective() -> None:
    history = make_history([LEFT, SIZE], ROWS)
    found = front_coefficients(history, (0, 1, 2), [["w", 0, 10, None, "other"]])
    assert found is not None
    assert found.candidates == (2, 0, 1)
    assert found.values[:, 0, :].tolist() == [[1.0, 2.0], [1.0, 0.0], [1.0, 1.0]]
    assert front_coefficients(history, (0,), [["w", 0, 10, None, "other"]]) is None


def test_effects_need_enough_candidates() -> None:
    rows: list[Row] = [(0.5, 2.0), *((n / 60, float(60 - n)) for n in range(1, 40))]
    history = make_history([LEFT, SIZE], rows)
    found = gene_effects_of(history, 1)
    assert {name: e.directions for name, e in found.items()} == {"left": ("rises",), "size": ("falls",)}
    assert found["size"].explained > 0.99
    assert gene_effects_of(make_history([LEFT, SIZE], rows[:15]), 1) == {}


def test_an_empty_history_has_no_insight() -> None:
    assert insight_of(Path("/nowhere"), header(), make_history([LEFT], [None])).differences is None


def test_the_verdict_pairs_where_it_can() -> None:
    rows: list[Row] = [(0.5,), (0.75,)]
    history = make_history([LEFT], rows, held_out={0: (0.5,), 1: (0.75,)})
    data = data_of(history)
    apart = judge(data)
    assert "by 0.25 ± 0.18" in apart.reason  # each has a standard error of 0.125
    found = differences(history, (0, 1), examples)
    paired = judge(replace(data, insight=replace(data.insight, differences=found)))
    assert "by 0.25 ± 0.25" in paired.reason  # one of four examples differs


def test_a_real_run_has_all_of_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = open_run(short_run(tmp_path_factory))
    insight = run.report_data().insight
    assert insight.differences is not None
    assert all(insight.differences.is_paired)
    assert insight.coefficients is not None
    assert {gap.objective for gap in insight.gaps} == {o.name for o in run.history.objectives}
    assert all(gap.excess is not None for gap in insight.gaps)
    page = render_report(run.report_data())
    assert 'id="certainty"' in page
    assert 'id="along-front"' in page
