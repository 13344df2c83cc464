"""What the report is given of a run: finished, interrupted, with one objective, without held-out examples."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.candidate import Candidate
from searcher.history import History
from searcher.multi_objective.hypervolume import hypervolume
from searcher.pool.layout import TensorEntry
from searcher.recipe import Recipe
from searcher.report.data import ExportRow, ReportData
from searcher.report.insight_data import Insight
from searcher.report.page import write_report
from searcher.run_insight import insight_of
from searcher.run_report import _segment_label, _summary, _table, report_data
from searcher.session import objective_infos
from searcher.sqlite_storage import SqliteStorage
from searcher.yaml_file import parse_yaml
from tests.records import ACCURACY, COST, GAIN, Row, make_history
from tests.short_run import N_EVALUATIONS, ROOT, short_run

TENSORS: list[list[Any]] = [
    ["embed", 0, 4, None, "embedding"],
    ["h.0.attn", 4, 6, 0, "attention"],
    ["h.0.mlp", 10, 10, 0, "mlp"],
    ["h.1.attn", 20, 6, 1, "attention"],
    ["h.1.mlp", 26, 10, 1, "mlp"],
    ["norm", 36, 2, None, "norm"],
    ["head", 38, 4, None, "head"],
]
ENTRIES = [TensorEntry(name, (), offset, size, block, kind) for name, offset, size, block, kind in TENSORS]
N = 42


def header(**changes: Any) -> dict[str, Any]:
    """What a run records of itself."""
    made = {
        "searcher": "0.1.0",
        "started": "2026-11-14T09:30:12+00:00",
        "config": {"operator": {"name": "ties", "density": 0.5}, "seed": 3},
        "root": "/somewhere",
        "seed": 3,
        "budget": {"evaluations": 20, "hours": 0.5, "errors": 0.2},
        "versions": {"numpy": "2.0"},
        "hashes": {"base/model.safetensors": "ab"},
        "data_hashes": {"low.npz": "cd"},
        "genes": ["a", "b"],
        "space": "model_wise",
        "strategy": "nsga2",
        "layout": [["w", 0, 10, None, "other"]],
        "warnings": ["a is bfloat16."],
    }
    return {**made, **changes}


def data_of(history: History, exports: Sequence[ExportRow] = (), **changes: Any) -> ReportData:
    return report_data(Path("/somewhere/runs/x"), header(**changes), history, Insight(), exports, ["numpy changed."])


@pytest.mark.parametrize(
    ("start", "stop", "label"),
    [
        (0, N, "whole model"),
        (0, 4, "embedding"),
        (4, 20, "block 0"),
        (4, 10, "block 0, attention"),
        (10, 20, "block 0, mlp"),
        (12, 15, "block 0, mlp"),  # inside a tensor
        (4, 36, "block 0 - block 1"),
        (0, 20, "embedding - block 0"),
        (36, 38, "norm"),
        (36, 42, "norm - head"),
        (26, 42, "block 1 - head"),
        (0, 38, "embedding - norm"),
    ],
)
def test_a_stretch_is_called_by_the_parts_it_covers(start: int, stop: int, label: str) -> None:
    assert _segment_label(ENTRIES, start, stop) == label


@given(st.sets(st.integers(1, N - 1), max_size=6))
def test_every_segment_of_any_recipe_has_a_label(inner: set[int]) -> None:
    boundaries = np.array([0, *sorted(inner), N])
    coefficients = np.arange(2.0 * (len(boundaries) - 1)).reshape(-1, 2)
    recipe = Recipe("linear", ("a", "b"), None, boundaries, coefficients)
    table = _table(Candidate(5, recipe), "knee", TENSORS)
    assert (table.candidate, table.title, table.models) == (5, "knee", ("a", "b"))
    assert all(table.segments)
    assert table.coefficients == tuple(tuple(row) for row in coefficients.tolist())


def test_the_summary_weighs_segments_by_their_length() -> None:
    recipe = Recipe("ties", ("a", "b"), "base", np.array([0, 1, 4]), np.array([[1.0, 0.0], [0.2, -1.0]]))
    assert _summary(recipe) == "ties, mean a 0.40, b -0.75"


ROWS: list[Row] = [(1.0, 9.0), None, (2.0, 8.0), (4.0, 9.0), (1.5, 3.0), (1.0, 99.0)]


def test_the_data_of_a_history() -> None:
    history = make_history([GAIN, COST], ROWS, n_baselines=3, held_out={0: (1.1, 9.5), 3: (3.5, math.nan)})
    data = data_of(history, [ExportRow(3, "export/knee", "hf", True)])
    assert (data.run, data.name, data.seed, data.elapsed) == ("runs/x", "x", 3, 4.0)
    assert data.operator == "ties (density 0.5)"
    assert data.budget == "20 evaluations, 0.5 hours"
    assert data.hashes == {"base/model.safetensors": "ab", "low.npz": "cd"}
    assert data.warnings == ("a is bfloat16.", "numpy changed.")
    assert parse_yaml(data.config, "x").data == header()["config"]
    assert [b.name for b in data.baselines] == ["baseline 0", "baseline 1", "baseline 2"]
    assert data.baselines[0].held_out is not None
    assert (data.baselines[1].search, data.baselines[1].error) == (None, "NonFiniteWeights")
    assert [c.number for c in data.candidates] == list(range(6))
    assert {c.number for c in data.candidates if c.on_front} == {p.candidate for p in data.front} == {2, 3, 4}
    assert data.candidates[3].summary == "linear, mean a 1.00, b 3.00"
    assert data.reference_point == pytest.approx({"gain": 0.9, "cost": 9.1})
    assert [(f.error, f.count) for f in data.failures] == [("NonFiniteWeights", 1)]
    assert {t.candidate for t in data.coefficients} <= {2, 3, 4}
    assert all(t.segments == ("whole model",) for t in data.coefficients)
    [point] = [p for p in data.front if p.candidate == 3]
    assert point.held_out is not None
    assert point.held_out.value("gain") == 3.5
    assert math.isnan(point.held_out.value("cost"))
    assert Recipe.from_json(point.recipe) == history.candidates[3].recipe


def test_the_hypervolume_curve_has_one_value_per_evaluation() -> None:
    history = make_history([GAIN, COST], ROWS, n_baselines=3)
    data = data_of(history)
    baselines = np.array([[1.0, -9.0], [2.0, -8.0]])
    assert data.hypervolume_baselines == pytest.approx(hypervolume(baselines, history.reference))
    assert len(data.hypervolume) == 6
    assert data.hypervolume[:2] == (0.0, 0.0)
    assert data.hypervolume[2] == data.hypervolume_baselines
    assert list(data.hypervolume) == sorted(data.hypervolume)
    assert data.hypervolume[-1] == data.hypervolume[-2] == history.hypervolume
    assert data.hypervolume[3] == pytest.approx(hypervolume(np.array([[2.0, -8.0], [4.0, -9.0]]), history.reference))


def test_a_run_interrupted_among_its_baselines_has_a_report(tmp_path: Path) -> None:
    history = History([GAIN, COST])
    whole = make_history([GAIN, COST], ROWS, n_baselines=3)
    for candidate in whole.candidates[:3]:
        history.add_candidate(candidate)
    data = data_of(history)
    assert (data.front, data.hypervolume, data.candidates) == ((), (), ())
    assert math.isnan(data.hypervolume_baselines)
    assert [b.search for b in data.baselines] == [None] * 3
    history.add_evaluation(whole.evaluations[0, "search"])
    data = data_of(history)
    assert [c.number for c in data.candidates] == [0]
    assert data.hypervolume == (0.0,)
    assert write_report(data, tmp_path / "report.html").stat().st_size > 1000


def test_candidates_that_were_asked_for_but_not_scored_are_left_out() -> None:
    history = make_history([GAIN], [[1.0], [2.0]])
    history.add_candidate(Candidate(2, history.candidates[1].recipe))
    assert [c.number for c in data_of(history).candidates] == [0, 1]


def test_one_objective_and_no_held_out_examples(tmp_path: Path) -> None:
    history = make_history([GAIN], [[1.0], [3.0], [2.0]])
    data = data_of(history)
    [point] = data.front
    assert (point.candidate, point.held_out, point.select) == (1, None, None)
    assert "knee" in point.tags
    assert data.baselines[0].held_out is None
    assert write_report(data, tmp_path / "report.html").stat().st_size > 1000


def test_a_run_without_baselines() -> None:
    data = data_of(make_history([ACCURACY], [[0.5], [0.75]], n_baselines=0))
    assert data.baselines == ()
    assert math.isnan(data.hypervolume_baselines)
    assert data.hypervolume == (0.5, 0.75)


def test_genes_are_named_and_candidates_outside_the_space_have_none() -> None:
    history = make_history([GAIN, COST], [(1.0, 1.0), (2.0, 2.0)])
    history.candidates[1] = replace(history.candidates[1], genome=np.array([0.25, 0.75]))
    first, second = data_of(history).front
    assert first.genes == {}
    assert second.genes == {"a": 0.25, "b": 0.75}


def test_a_run_elsewhere_is_shown_without_its_path() -> None:
    data = report_data(Path("/srv/someone/secret/x"), header(), make_history([GAIN], [[1.0]]), Insight(), ())
    assert data.run == "x"


def test_operators_without_settings_have_no_parentheses() -> None:
    assert data_of(make_history([GAIN], [[1.0]]), config={"operator": {"name": "linear"}}).operator == "linear"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[str, Any], History, Path]:
    folder = short_run(tmp_path_factory)
    with SqliteStorage(folder) as storage:
        infos = objective_infos(storage.header)
        return storage.header, History.of(infos, storage.candidates(), storage.evaluations()), folder


def test_the_data_of_a_real_run(real: tuple[Mapping[str, Any], History, Path], tmp_path: Path) -> None:
    run_header, history, folder = real
    data = report_data(folder, run_header, history, insight_of(folder, run_header, history), ())
    assert [o.name for o in data.objectives] == ["low", "high", "noisy"]
    assert len(data.candidates) == len(data.hypervolume) == N_EVALUATIONS
    front = json.loads((folder / "front.json").read_text())
    assert [p.candidate for p in data.front] == [p["candidate"] for p in front["points"]]
    for row, point in zip(data.front, front["points"], strict=True):
        assert row.search.values == point["scores"]
        assert row.held_out is not None
        assert row.held_out.values == point["held_out"]
    assert data.hypervolume[-1] == front["hypervolume"] > data.hypervolume_baselines > 0
    genes = [p.genes for p in data.front if p.genes]
    assert genes
    assert all(len(g) == len(run_header["genes"]) for g in genes)
    assert {"whole model"} != {s for t in data.coefficients for s in t.segments}
    page = write_report(data, tmp_path / "report.html").read_text()
    assert str(ROOT) not in page
