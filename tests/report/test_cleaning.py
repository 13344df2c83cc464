from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from searcher.report.cleaning import cleaned
from searcher.report.data import ObjectiveInfo, ReportData

MakeReport = Callable[..., ReportData]


def test_harmless_data_are_unchanged(make_report: MakeReport) -> None:
    data = make_report()
    assert cleaned(data) == data


def test_keys_and_nested_values_are_cleaned(make_report: MakeReport) -> None:
    data = make_report(1)
    point = replace(data.front[0], recipe={"a\x1b[1m": ["b\x00", {"c": "secret-value"}]})
    found = cleaned(replace(data, front=(point,), secrets=("secret-value",)))
    assert found.front[0].recipe == {"a": ["b", {"c": "[redacted]"}]}
    assert found.secrets == ()


def test_objectives_that_become_equal_stay_distinct(make_report: MakeReport) -> None:
    data = make_report(2)
    raw = ("a", "a\x00")
    candidate = replace(data.candidates[0], scores=dict(zip(raw, (0.25, 0.75), strict=True)))
    found = cleaned(
        replace(data, objectives=tuple(ObjectiveInfo(name, "maximize") for name in raw), candidates=(candidate,))
    )
    assert [objective.name for objective in found.objectives] == ["a", "a (2)"]
    assert found.candidates[0].scores == {"a": 0.25, "a (2)": 0.75}
