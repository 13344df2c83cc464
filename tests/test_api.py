"""The Python interface on the real pool: configs of every form, points, front, export; reading changes nothing."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import searcher
from searcher import api
from searcher.assembly import make_objectives
from searcher.candidate import SPLITS
from searcher.config import Config, load_config
from searcher.errors import ConfigError, ExportError, RunError
from searcher.sqlite_storage import SqliteStorage
from tests.short_run import N_EVALUATIONS, ROOT, short_config, short_run

DIGITS = "examples/digits"


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> api.Run:
    """The short run, opened; only for reading."""
    return searcher.open_run(short_run(tmp_path_factory))


def small(**changes: Any) -> dict[str, Any]:
    """A config of three evaluations, as a mapping."""
    return {
        "pool": {
            "base": f"{DIGITS}/base",
            "models": [f"{DIGITS}/low", f"{DIGITS}/high"],
            "loader": f"python:{DIGITS}/model.py:load",
        },
        "objectives": [{"name": "low", "type": "accuracy", "data": f"{DIGITS}/low.npz"}],
        "strategy": "random",
        "budget": {"evaluations": 3},
        **changes,
    }


def as_file(data: Mapping[str, Any], path: Path) -> Path:
    path.write_text(json.dumps(data))  # JSON is YAML
    return path


def decided(folder: Path) -> list[Any]:
    """Everything a run decided but times."""
    with SqliteStorage(folder) as storage:
        recipes = [c.recipe.digest for c in storage.candidates()]
        scores = [(e.candidate, e.split, {n: s.value for n, s in e.scores.items()}) for e in storage.evaluations()]
    return [*recipes, *scores]


def test_the_same_search_from_a_mapping_a_config_and_a_file(tmp_path: Path) -> None:
    path = as_file(small(), tmp_path / "config.yaml")
    forms: dict[str, str | Path | Mapping[str, Any] | Config] = {
        "mapping": small(), "config": load_config(path), "path": path, "text": str(path)
    }  # fmt: skip
    runs = {name: searcher.optimize(form, run=tmp_path / name) for name, form in forms.items()}
    first = decided(runs["mapping"].folder)
    for name, made in runs.items():
        assert isinstance(made, searcher.Run)
        assert made.folder == tmp_path / name
        assert decided(made.folder) == first
        for file in ("run.db", "config.yaml", "front.json", "report.html", "log.jsonl"):
            assert (made.folder / file).is_file()
        assert json.loads((made.folder / "front.json").read_text()) == json.loads(json.dumps(made.record()))


@pytest.mark.parametrize("form", ["mapping", "config", "path"])
def test_overrides_and_budget_reach_every_form(tmp_path: Path, form: str) -> None:
    path = as_file(small(), tmp_path / "config.yaml")
    config: Any = {"mapping": small(), "config": load_config(path), "path": path}[form]
    made = searcher.optimize(config, run=tmp_path / "run", evaluations=2, overrides=["seed=9"])
    assert made.header["seed"] == 9
    assert made.history.n_searched == 2
    assert made.config.budget.evaluations == 2


def test_a_run_can_be_resumed_from_python(tmp_path: Path) -> None:
    made = searcher.optimize(small(), run=tmp_path / "run")
    before = decided(made.folder)
    events: list[str] = []
    more = api.resume(tmp_path / "run", 2, listeners=[lambda event, _: events.append(event)])
    events = [event for event in events if event != "cache"]  # whether earlier runs knew the scores is no matter
    assert more.history.n_searched == 5
    assert [x for x in decided(more.folder) if x in before] == before
    assert events[:2] == ["loading", "start"]
    assert events[-1] == "finished"
    with pytest.raises(RunError, match="no run here"):
        api.resume(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_the_run_folder_is_the_configs_unless_another_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / DIGITS, tmp_path / DIGITS, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    assert searcher.optimize(small(run="runs/s{seed}", seed=4), evaluations=1).folder == tmp_path / "runs" / "s4"
    assert searcher.optimize(small(), run="here", evaluations=1).folder == tmp_path / "here"


def test_a_wrong_mapping_is_an_error_and_stays_as_it_was(tmp_path: Path) -> None:
    data = small(sead=1)
    before = copy.deepcopy(data)
    with pytest.raises(ConfigError, match="Did you mean 'seed'"):
        searcher.optimize(data, run=tmp_path / "run")
    assert data == before
    assert not (tmp_path / "run").exists()


def test_an_objective_can_be_a_file_with_a_decorated_function(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import searcher\n\n\n"
        "@searcher.objective(direction='minimize', unit='1')\n"
        "def size(model):\n    return float(model.weights.abs().max())\n"
    )
    objective = {"name": "size", "type": "python", "function": f"{tmp_path / 'own.py'}:size"}
    made = searcher.optimize(small(objectives=[objective]), run=tmp_path / "run")
    [info] = made.history.objectives
    assert (info.direction, info.unit, dict(info.n_examples)) == ("minimize", "1", {})
    best = min(e.scores["size"].value for e in made.history.evaluations.values())
    assert [p.scores()["size"] for p in made.front] == [best]
    assert [p.scores("held_out") for p in made.front] == [{}]


def test_the_front_is_a_sequence_of_points(run: api.Run) -> None:
    front = run.front
    record = run.record()
    assert len(front) == len(record["points"]) > 1
    assert [p.number for p in front] == [p["candidate"] for p in record["points"]]
    assert front[0].number == next(iter(front)).number
    assert front[-1].number == list(front)[-1].number
    assert [p.number for p in front[1:3]] == [p.number for p in front][1:3]
    with pytest.raises(IndexError):
        front[len(front)]
    for point, recorded in zip(front, record["points"], strict=True):
        assert isinstance(point, searcher.Point)
        assert list(point.tags) == recorded["tags"]
        assert point.scores() == recorded["scores"]
        assert point.scores("held_out") == recorded["held_out"]
        assert point.stderr("held_out") == recorded["held_out_stderr"]
        assert point.candidate.recipe.to_json() == recorded["recipe"]
        assert repr(point).startswith(f"Point({point.number}, low ")


def test_points_are_found_by_tag_and_number(run: api.Run) -> None:
    knee = run.point("knee")
    assert "knee" in knee.tags
    assert run.point(knee.number).number == run.point(str(knee.number)).number == knee.number
    best = run.point("best:high")
    assert best.scores()["high"] == max(p.scores()["high"] for p in run.front)
    off = next(n for n in range(N_EVALUATIONS) if n not in {p.number for p in run.front})
    assert run.point(off).tags == ()
    assert run.point(off).scores("select") == {}
    for wrong in ("nee", 999, "best:lo"):
        with pytest.raises(ConfigError, match="There is no point"):
            run.point(wrong)


def test_pandas_has_a_row_per_point(run: api.Run) -> None:
    frame = run.front.to_pandas()
    assert frame["candidate"].tolist() == [p.number for p in run.front]
    wanted = {f"{name}.{split}" for name in ("low", "high", "noisy") for split in SPLITS}
    assert set(frame.columns) == {"candidate", "tags", *wanted}
    assert frame["noisy.held_out"].tolist() == [p.scores("held_out")["noisy"] for p in run.front]
    assert frame["tags"].tolist() == [",".join(p.tags) for p in run.front]


def test_plots_show_all_candidates_and_the_front(run: api.Run) -> None:
    for axes in ((), ("noisy", "low")):
        figure: Any = run.front.plot(*axes)
        x, y = axes or ("low", "high")
        candidates, front = figure.data
        assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == (x, y)
        assert len(candidates.x) == N_EVALUATIONS
        assert list(front.x) == [p.scores()[x] for p in run.front]
        assert list(front.y) == [p.scores()[y] for p in run.front]


def test_a_built_point_has_the_recorded_scores(run: api.Run) -> None:
    """Scored on the live model as in the search: the same weights, the same examples, the same numbers."""
    objectives = make_objectives(run.config)
    for point in (run.point("knee"), run.point("best:noisy"), run.point(0)):
        model = point.build()
        assert model.recipe == point.candidate.recipe
        for split in ("search", "held_out"):
            found = {o.name: o.evaluate(model, o.splits[split], run.header["seed"]).value for o in objectives}
            assert found == point.scores(split)


def test_builds_of_one_run_share_their_model(run: api.Run) -> None:
    first = run.point("knee").build()
    weights = first.weights.clone()
    second = run.point(1).build()
    assert second.weights.data_ptr() == first.weights.data_ptr()
    assert not bool((first.weights == weights).all())  # overwritten, as documented
    assert bool((run.point("knee").build().weights == weights).all())  # and rebuilt to the same bits


@pytest.mark.parametrize("kind", ["hf", "recipe"])
def test_a_point_is_exported(run: api.Run, tmp_path: Path, kind: str) -> None:
    point = run.point("knee")
    folder = point.export(tmp_path / "out", format=kind)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["candidate"], manifest["format"]) == (point.number, kind)
    assert (folder / "model.safetensors").is_file() is (kind == "hf")
    if kind == "hf":
        assert manifest["verification"]["passed"] is True
        rescored = manifest["verification"]["scores"]["held_out"]
        assert {name: row["recorded"] for name, row in rescored.items()} == point.scores("held_out")
    with pytest.raises(ExportError):
        point.export(folder, format=kind)
    if kind == "recipe":
        assert point.export(folder, format=kind, overwrite=True) == folder


def test_what_cannot_be_expressed_is_an_error_and_leaves_nothing(run: api.Run, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="mergekit"):
        run.point("knee").export(tmp_path / "out", format="mergekit")
    assert list(tmp_path.iterdir()) == []


def fingerprints(folder: Path) -> dict[str, tuple[str, int]]:
    """Content and time of change of every file but sqlite's own beside the database."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("run.db-")
    }


def test_reading_a_run_changes_no_file(run: api.Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    before = fingerprints(folder)
    opened = searcher.open_run(str(folder))
    assert opened.config.resolved() == short_config().resolved()
    opened.report_data()
    opened.front.to_pandas()
    opened.front.plot()
    opened.point("knee").build()
    opened.point("knee").export(tmp_path / "recipe", format="recipe")
    assert fingerprints(folder) == before
    assert "run.db" in before


def test_a_run_can_be_opened_while_it_is_written(tmp_path: Path) -> None:
    seen: list[int] = []

    def look(event: str, fields: Mapping[str, Any]) -> None:
        if event == "evaluated":
            seen.append(searcher.open_run(tmp_path / "run").history.n_searched)

    searcher.optimize(small(), run=tmp_path / "run", listeners=[look])
    assert seen == [1, 2, 3]


def test_where_there_is_no_run_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run here"):
        searcher.open_run(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
    SqliteStorage(tmp_path / "begun", write=True).close()
    with pytest.raises(RunError, match="was stopped before it began"):
        searcher.open_run(tmp_path / "begun")


def test_paths_are_shown_as_typed(run: api.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.folder)
    assert run.shown(run.folder / "report.html") == "report.html"
    assert run.shown(Path("/elsewhere/x")) == "/elsewhere/x"


def test_unfinished_exports_are_not_listed(run: api.Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    opened = searcher.open_run(folder)
    assert opened.exports() == []
    opened.point("knee").export(folder / "export" / "knee-recipe", format="recipe")
    (folder / "export" / "torn").mkdir()
    (folder / "export" / "torn" / "model.safetensors").touch()
    [row] = opened.exports()
    assert (row.folder, row.format, row.verified) == ("export/knee-recipe", "recipe", None)


def test_the_package_offers_what_it_names(run: api.Run) -> None:
    for name in searcher.__all__:
        assert getattr(searcher, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'optimise'"):
        searcher.optimise  # noqa: B018
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(searcher.open_run(run.folder).history.hypervolume)
