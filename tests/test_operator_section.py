"""The operator's section: every numeric setting a number or a gene."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, get_type_hints

import pytest
from pydantic import ValidationError

from searcher.errors import ConfigError
from searcher.merge.operators.base import OPERATORS, Choice, Setting
from searcher.operator_section import SearchRange, operator_model, setting_of, split_settings
from searcher.spaces.base import SearchedSetting

NUMERIC = [
    (name, field.name, setting)
    for name in OPERATORS.names()
    for field in fields(OPERATORS.get(name))
    if (setting := setting_of(get_type_hints(OPERATORS.get(name), include_extras=True)[field.name])) is not None
]


def section(name: str, **settings: Any) -> dict[str, Any]:
    return operator_model(name).model_validate({"name": name, **settings}).model_dump(exclude_none=True)


def legal(setting: Setting) -> tuple[float, float]:
    low = setting.low if setting.minimum is None else setting.minimum
    return low, setting.high if setting.maximum is None else setting.maximum


def test_a_setting_is_found_in_its_annotation() -> None:
    setting = Setting(0.0, 1.0, "help")
    assert setting_of(Annotated[float, setting]) is setting
    assert setting_of(Annotated[float, "a note", setting]) is setting
    assert setting_of(Annotated[bool, Choice("help")]) is None
    assert setting_of(float) is None


@pytest.mark.parametrize("name", OPERATORS.names())
def test_the_defaults_are_the_operators_own(name: str) -> None:
    found = section(name)
    assert found.pop("name") == name
    assert found == OPERATORS.get(name).settings()
    assert split_settings(name, {"name": name, **found}, "x") == (found, ())


@pytest.mark.parametrize(("name", "field", "setting"), NUMERIC)
def test_a_number_must_be_legal(name: str, field: str, setting: Setting) -> None:
    key = field.rstrip("_")
    low, high = legal(setting)
    for value in (low, high, (low + high) / 2):
        assert section(name, **{key: value})[key] == value
    illegal: list[float | str] = [low - 0.01, high + 0.01, float("nan"), float("inf"), "many"]
    for wrong in illegal:
        with pytest.raises(ValidationError):
            section(name, **{key: wrong})


@pytest.mark.parametrize(("name", "field", "setting"), NUMERIC)
def test_every_numeric_setting_can_be_searched(name: str, field: str, setting: Setting) -> None:
    key = field.rstrip("_")
    fixed, searched = split_settings(name, section(name, **{key: {"search": True}}), "x")
    assert searched == (SearchedSetting(key, setting.low, setting.high, "run"),)
    assert key not in fixed
    assert set(fixed) | {key} == set(OPERATORS.get(name).settings())  # the others are written out
    low, high = legal(setting)
    _, searched = split_settings(name, section(name, **{key: {"search": [low, high], "per": "group"}}), "x")
    assert searched == (SearchedSetting(key, low, high, "group"),)
    for outside in ([low - 0.5, high], [low, high + 0.5]):
        with pytest.raises(ConfigError, match="cannot be searched in") as caught:
            split_settings(name, section(name, **{key: {"search": outside}}), "config.yaml, line 6, key operator")
        assert "line 6" in caught.value.where
        assert f"[{low:g}, {high:g}]" in caught.value.fix


def test_the_trailing_underscore_of_a_field_is_no_part_of_the_key() -> None:
    assert section("task_arithmetic", **{"lambda": 0.5})["lambda"] == 0.5
    with pytest.raises(ValidationError):
        section("task_arithmetic", lambda_=0.5)


@pytest.mark.parametrize("wrong", [{"vote": "loud"}, {"vote": {"search": True}}, {"normalize": "perhaps"}, {"dens": 1}])
def test_choices_are_not_searched_and_unknown_keys_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        section("ties", **wrong)


@pytest.mark.parametrize(
    "wrong", [{"search": [1, 0]}, {"search": [1, 1]}, {"search": [0]}, {"search": False}, {"per": "run"}, {},
              {"search": [0, 1], "per": "block"}, {"search": [0, float("nan")]}, {"search": [0, 1], "step": 1}]
)  # fmt: skip
def test_wrong_ranges_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SearchRange.model_validate(wrong)


def test_a_section_must_be_of_its_operator() -> None:
    with pytest.raises(ValidationError):
        operator_model("ties").model_validate({"name": "linear"})
    assert operator_model("task_arithmetic").__name__ == "TaskArithmetic"
