"""What `searcher plan` says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from searcher.cli import run_command
from searcher.errors import ErrorBudgetExceeded
from searcher.search_plan import SearchPlan, plan_search, plan_text
from tests.short_run import ROOT, quickstart


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def plan() -> SearchPlan:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return plan_search(quickstart("space={name: depth_profile, knots: 3}"))


def test_it_describes_the_search(plan: SearchPlan) -> None:
    assert plan.models == ("base", "low", "high", "noisy", "shifted")
    assert len(plan.genes) == 12
    assert (plan.evaluations, plan.baselines) == (200, 14)
    assert set(plan.objectives) == {"low", "high", "noisy"}
    assert plan.memory.startswith("Memory mode resident ")
    assert plan.warnings == ()


def test_its_costs_fit_together(plan: SearchPlan) -> None:
    assert plan.seconds_per_evaluation > 0
    assert all(seconds > 0 for seconds in plan.objective_seconds.values())
    assert plan.search_hours is not None
    assert plan.search_hours * 3600 >= 200 * plan.seconds_per_evaluation * 0.99


def test_for_people(plan: SearchPlan) -> None:
    text = plan_text(plan)
    for words in ("14 of them baselines", "genes       12: ", "TPE", "evaluations are cheap", "knots"):
        assert words in text
    assert max(map(len, text.splitlines())) < 400


def test_hours_alone_give_no_estimate() -> None:
    found = plan_search(quickstart("budget={hours: 0.5}", "strategy=random", "baselines=none"))
    assert found.search_hours is None
    assert "0.5 hours, 0 of them baselines" in plan_text(found)


def test_on_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_command(["plan", "configs/quickstart.yaml", "--json"], debug=False) == 0
    assert json.loads(capsys.readouterr().out)["evaluations"] == 200
    assert run_command(["plan", "configs/quickstart.yaml", "--set", "space=layerwise"], debug=False) == 2
    assert capsys.readouterr().err.count("\n") == 3
    assert list(tmp_path.iterdir()) == []


def test_a_probe_that_fails_is_an_error() -> None:
    with pytest.raises(ErrorBudgetExceeded, match="A probe"):
        plan_search(quickstart("space={name: layer_wise, range: [1.0e38, 3.0e38]}"))
