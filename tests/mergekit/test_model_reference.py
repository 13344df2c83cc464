"""Names of models."""

from __future__ import annotations

import pytest

from searcher.mergekit.model_reference import ModelReference, parse_reference


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("org/model", ModelReference("org/model")),
        ("org/model@main", ModelReference("org/model", "main")),
        ("./a+b/lora@v1", ModelReference("./a", None, "b/lora", "v1")),
        ({"path": "a+b@c"}, ModelReference("a+b@c")),
        ({"model": "a@r", "lora": {"path": "l", "revision": "x"}}, ModelReference("a", "r", "l", "x")),
        ({"model": {"path": "a", "revision": None}, "lora": None}, ModelReference("a")),
    ],
)
def test_all_forms_are_read(value: object, expected: ModelReference) -> None:
    assert parse_reference(value) == expected


def test_the_text_is_what_one_would_write() -> None:
    assert ModelReference("a", "r", "l", "x").text == "a@r+l@x"
    assert ModelReference("a").text == "a"


@pytest.mark.parametrize(
    "value",
    ["", " ", "a+b+c", "a@b@c", "a@", "+b", 5, None, ["a"], {}, {"lora": "b"}, {"model": 3}, {"model": "a", "extra": 1},
     {"path": "a", "lora": "b"}, "a\nb", {"model": "a", "override_architecture": "X"}],
)  # fmt: skip
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_reference(value)
