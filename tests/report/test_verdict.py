from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searcher.report.data import BaselineRow, CandidateRow, FrontRow, ObjectiveInfo, ReportData, Scores
from searcher.report.verdict import judge

MakeReport = Callable[..., ReportData]
NAN = float("nan")


def run(
    point: dict[str, float] | None,
    baseline: dict[str, float] | None,
    *,
    held_out: tuple[dict[str, float], dict[str, float]] | None = None,
    stderr: float = 0.01,
    volumes: tuple[float, float] = (0.5, 0.7),
    objectives: tuple[ObjectiveInfo, ...] = (
        ObjectiveInfo("low", "maximize", "fraction"),
        ObjectiveInfo("high", "maximize", "fraction"),
    ),
) -> ReportData:
    """One baseline (candidate 0) and one point (candidate 7) with equal standard errors everywhere."""

    def scores(values: dict[str, float]) -> Scores:
        return Scores(values, dict.fromkeys(values, stderr))

    return ReportData(
        run="r",
        name="r",
        date="",
        searcher_version="0",
        objectives=objectives,
        seed=0,
        elapsed=1.0,
        strategy="",
        space="",
        operator="",
        budget="",
        config="",
        baselines=()
        if baseline is None
        else (BaselineRow("uniform", 0, scores(baseline), scores(held_out[1]) if held_out else None),),
        candidates=tuple(
            CandidateRow(n, "strategy", values) for n, values in ((0, baseline), (7, point)) if values is not None
        ),
        front=()
        if point is None
        else (FrontRow(7, (), scores(point), None, scores(held_out[0]) if held_out else None),),
        hypervolume=(volumes[0], volumes[1]),
        hypervolume_baselines=volumes[0],
    )


GOOD, BAD = {"low": 0.9, "high": 0.92}, {"low": 0.8, "high": 0.7}


def test_better_on_held_out() -> None:
    verdict = judge(run(GOOD, BAD, held_out=({"low": 0.88, "high": 0.91}, {"low": 0.81, "high": 0.72})))
    assert verdict.outcome == "better"
    assert verdict.headline == "Yes, the search beat the baselines"
    assert verdict.reason == (
        "the front's hypervolume is 0.7 against 0.5 for the baselines alone (+40.0 %), and on the held-out examples "
        "point 7 is better than the best baseline, “uniform”, by 0.160 ± 0.014 on the worst objective "
        "(0.880 on low against 0.720 on high)."
    )


def test_within_two_standard_errors_is_not_distinguishable() -> None:
    held_out = ({"low": 0.82, "high": 0.91}, {"low": 0.80, "high": 0.90})
    verdict = judge(run(GOOD, BAD, held_out=held_out))
    assert verdict.outcome == "not_distinguishable"
    assert "but on the held-out examples" in verdict.reason
    assert "0.020 ± 0.014" in verdict.reason
    assert verdict.reason.endswith("(0.820 against 0.800 on low), which is within two standard errors.")
    assert judge(run(GOOD, BAD, held_out=held_out, stderr=0.0001)).outcome == "better"


def test_worse_on_held_out_is_no() -> None:
    verdict = judge(run(GOOD, BAD, held_out=(BAD, GOOD)))
    assert verdict.outcome == "not_better"
    assert "is worse than the best baseline, “uniform”, by 0.200" in verdict.reason


def test_equal_hypervolume_is_no() -> None:
    verdict = judge(run(GOOD, BAD, held_out=(GOOD, BAD), volumes=(0.5, 0.5)))
    assert verdict.outcome == "not_better"
    assert verdict.reason.startswith("the front's hypervolume, 0.5, is not above that of the baselines alone, but ")


def test_without_held_out_nothing_is_confirmed() -> None:
    verdict = judge(run(GOOD, BAD))
    assert verdict.outcome == "unconfirmed"
    assert "on the search examples" in verdict.reason
    assert verdict.reason.endswith("; there are no held-out scores.")


def test_unknown_standard_error_confirms_nothing() -> None:
    verdict = judge(run(GOOD, BAD, held_out=(GOOD, BAD), stderr=NAN))
    assert verdict.outcome == "unconfirmed"
    assert "of unknown standard error" in verdict.reason
    assert "nan" not in verdict.reason


@pytest.mark.parametrize(
    ("point", "baseline", "outcome", "reason"),
    [
        (None, None, "unknown", "no candidate was scored."),
        (GOOD, None, "unknown", "no baseline was scored, so there is nothing to compare the front with."),
        (None, BAD, "not_better", "no merge that it proposed is on the front; the baselines remain the best."),
    ],
)
def test_one_side_is_missing(
    point: dict[str, float] | None, baseline: dict[str, float] | None, outcome: str, reason: str
) -> None:
    verdict = judge(run(point, baseline))
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_a_baseline_on_the_front_is_not_a_success_of_the_search() -> None:
    data = run(GOOD, BAD)
    data = replace(data, front=(replace(data.front[0], candidate=0),))
    assert judge(data).outcome == "not_better"


def test_one_objective_speaks_of_the_score_only() -> None:
    objective = (ObjectiveInfo("loss", "minimize", "nats"),)
    verdict = judge(run({"loss": 1.0}, {"loss": 2.0}, held_out=({"loss": 1.1}, {"loss": 1.9}), objectives=objective))
    assert verdict.reason == (
        "on the held-out examples point 7 is better than the best baseline, “uniform”, by 0.800 ± 0.014 "
        "(1.100 against 1.900)."
    )


def test_different_units_are_scaled() -> None:
    objectives = (ObjectiveInfo("accuracy", "maximize", "fraction"), ObjectiveInfo("loss", "minimize", "nats"))
    point, baseline = {"accuracy": 0.9, "loss": 2.0}, {"accuracy": 0.5, "loss": 4.0}
    verdict = judge(run(point, baseline, held_out=(point, baseline), objectives=objectives))
    assert verdict.outcome == "better"
    assert "scores scaled to 0 for the worst and 1 for the best" in verdict.reason
    assert "by 1.000 ±" in verdict.reason


def test_the_point_is_chosen_on_search_scores() -> None:
    data = run(GOOD, BAD, held_out=(BAD, BAD))
    lucky = FrontRow(8, (), Scores(BAD, {}), None, Scores({"low": 0.99, "high": 0.99}, {}))
    assert "point 7 " in judge(replace(data, front=(*data.front, lucky))).reason


score = st.floats(-1e6, 1e6) | st.just(NAN) | st.just(float("inf"))


@given(st.lists(score, min_size=8, max_size=8), score, st.tuples(score, score))
def test_never_fails_and_never_says_nan(values: list[float], stderr: float, volumes: tuple[float, float]) -> None:
    pairs = [dict(zip(("low", "high"), values[i : i + 2], strict=True)) for i in range(0, 8, 2)]
    verdict = judge(run(pairs[0], pairs[1], held_out=(pairs[2], pairs[3]), stderr=stderr, volumes=volumes))
    assert "nan" not in verdict.reason
    assert "inf" not in verdict.reason
    assert verdict.reason.endswith(".")


def test_realistic_run(make_report: MakeReport) -> None:
    assert judge(make_report(2)).outcome == "better"
