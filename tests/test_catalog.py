"""What `searcher list` shows: everything registered, each with a line of help; the same as config and schema know."""

from __future__ import annotations

from typing import Any

import pytest

from searcher.catalog import TABLES, catalog
from searcher.components import argument_help, settings_model

COMPONENTS = [(kind, name) for kind, table in TABLES.items() for name in table.names()]


def test_every_kind_is_listed_with_all_its_names_in_order() -> None:
    found = catalog()
    assert list(found) == ["strategies", "spaces", "objectives", "operators", "executors"]
    for kind, table in TABLES.items():
        names = [name for name, _ in found[kind] if name != "optuna:NAME"]
        assert tuple(names) == table.names()
        assert names == sorted(names)


def test_one_kind_alone() -> None:
    for kind, rows in catalog().items():
        assert catalog(kind) == {kind: rows}
    with pytest.raises(KeyError):
        catalog("things")


def test_any_optuna_sampler_is_offered_once() -> None:
    offered = [(kind, name) for kind, rows in catalog().items() for name, _ in rows if name == "optuna:NAME"]
    assert offered == [("strategies", "optuna:NAME")]


@pytest.mark.parametrize(("kind", "name"), COMPONENTS)
def test_every_component_says_what_it_is_in_one_line(kind: str, name: str) -> None:
    text = dict(catalog(kind)[kind])[name]
    assert text.endswith(".")
    assert 10 <= len(text) <= 120
    assert "\n" not in text


@pytest.mark.parametrize(("kind", "name"), [c for c in COMPONENTS if c[0] != "operators"])
def test_every_setting_has_help(kind: str, name: str) -> None:
    component: Any = TABLES[kind].get(name)
    key = "type" if kind == "objectives" else "name"
    fields = settings_model(name, component, key=key).model_fields
    missing = [setting for setting in fields if setting != key and not argument_help(component).get(setting)]
    assert missing == []
