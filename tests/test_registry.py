"""Registries: near-name hints, lazy packages, plugins."""

from __future__ import annotations

import pytest

from searcher.errors import UnknownNameError
from searcher.registry import Registry
from searcher.spaces.base import SPACES, Space


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UnknownNameError) as caught:
        SPACES.get("layer_wize")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "Did you mean 'layer_wise'?" in lines[0]
    assert "model_wise" in lines[2]


def test_a_name_is_taken_once() -> None:
    registry: Registry[type] = Registry("thing", "searcher.spaces")

    @registry.register("a")
    class A: ...

    class B: ...

    with pytest.raises(ValueError, match="already"):
        registry.register("a")(B)
    assert registry.name_of(A) == "a"
    with pytest.raises(KeyError):
        registry.name_of(B)


@pytest.mark.parametrize("name", SPACES.names())
def test_components_are_classes_of_their_kind(name: str) -> None:
    assert issubclass(SPACES.get(name), Space)
    assert SPACES.name_of(SPACES.get(name)) == name
