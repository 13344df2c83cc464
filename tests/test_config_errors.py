"""From pydantic's findings to three lines with file, line and key."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from searcher.components import STRICT
from searcher.config_errors import explain
from searcher.errors import ConfigError
from searcher.yaml_file import parse_yaml


class Inner(BaseModel):
    model_config = STRICT
    size: Annotated[int, Field(ge=1)] = 1
    kind: Literal["small", "large"] = "small"
    code: Annotated[str, Field(pattern="^x+$")] = "x"

    @field_validator("size")
    @classmethod
    def _even(cls, size: int) -> int:
        if size == 13:
            raise ValueError("13 brings bad luck")
        return size


class Outer(BaseModel):
    model_config = STRICT
    inner: Inner
    either: Inner | str = "none"
    listed: list[Inner] = []


def explained(text: str, prefix: tuple[str | int, ...] = ()) -> ConfigError:
    document = parse_yaml(text, "file.yaml")
    data: Any = document.data
    for part in prefix:
        data = data[part]
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(data)
    return explain(caught.value, document, Outer, prefix)


@pytest.mark.parametrize(
    ("text", "what", "where", "fix"),
    [
        ("inner: {sise: 2}", "Unknown key 'sise'.", "line 1, key inner.sise", "Did you mean 'size'? Known keys here: code"),
        ("inner: {}\nq: 1", "Unknown key 'q'.", "line 2, key q", "Known keys here: either, inner, listed."),
        ("listed: []", "Key 'inner' is missing.", "key inner", "Add `inner:`"),
        ("inner:\n  kind: huge", "not allowed", "line 2, key inner.kind", "'small' or 'large'"),
        ("inner:\n  size: 0", "'size' has a wrong value: input should be", "line 2, key inner.size", "Change"),
        ("inner:\n  size: 13", "'size' cannot be used: 13 brings bad luck.", "line 2", "as described"),
        ("inner:\n  code: y", "'code' has a value of the wrong form", "line 2", "^x+$"),
        ("inner: {}\nlisted:\n  - {}\n  - {size: 0}", "'size'", "line 4, key listed.1.size", "Change"),
        ("inner: {}\neither: {sise: 1}", "Unknown key 'sise'", "line 2, key either.sise", "Known keys here"),
        ("inner: 3", "'inner' has a wrong value", "line 1, key inner", "Change"),
    ],
)  # fmt: skip
def test_the_first_finding_is_named(text: str, what: str, where: str, fix: str) -> None:
    error = explained(text)
    assert len(str(error).splitlines()) == 3
    assert what in error.what
    assert error.where.startswith("file.yaml")
    assert where in error.where
    assert fix in error.fix


def test_a_misspelt_key_is_named_before_the_key_that_is_missing_for_it() -> None:
    assert "Unknown key 'iner'" in explained("iner: {}").what


def test_further_findings_are_counted() -> None:
    assert explained("inner: {size: 0}").fix.endswith("shows what is allowed.")
    assert explained("inner: {size: 0, kind: huge, code: y}").fix.endswith("(2 more to mend in this file.)")


def test_a_section_inside_a_file_keeps_its_place() -> None:
    error = explained("top:\n  - {}\n  - inner:\n      size: 0\n", ("top", 1))
    assert error.where == "file.yaml, line 4, key top.1.inner.size"


def test_values_are_not_repeated() -> None:
    for text in (
        "inner: {size: sk-canary}",
        "inner: {code: sk-canary}",
        "inner: {kind: sk-canary}",
        "inner: sk-canary",
    ):
        assert "sk-canary" not in str(explained(text))
