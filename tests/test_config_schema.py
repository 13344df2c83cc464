"""The JSON schema accepts the shipped config and rejects mistakes as the program does."""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from searcher.catalog import TABLES
from searcher.components import settings_model
from searcher.config import config_schema
from searcher.yaml_file import read_yaml

ROOT = Path(__file__).parents[1]
SECTIONS = {"strategies": "strategy", "spaces": "space", "executors": "executor", "operators": "operator"}
needs_jsonschema = pytest.mark.skipif(find_spec("jsonschema") is None, reason="the package jsonschema is not installed")

MISTAKES: dict[str, Callable[[dict[str, Any]], object]] = {
    "unknown key": lambda c: c.update(sead=1),
    "unknown nested key": lambda c: c["budget"].update(minutes=3),
    "unknown component": lambda c: c.update(space={"name": "layerwise"}),
    "unknown setting": lambda c: c["space"].update(rnge=[0, 1]),
    "setting of another component": lambda c: c["space"].update(sigma0=0.2),
    "wrong type": lambda c: c.update(seed="many"),
    "out of range": lambda c: c["budget"].update(evaluations=0),
    "no models": lambda c: c["pool"].update(models=[]),
    "no pool": lambda c: c.pop("pool"),
    "no objectives": lambda c: c.update(objectives=[]),
    "objective without data": lambda c: c["objectives"][0].pop("data"),
    "objective without a name": lambda c: c["objectives"][0].pop("name"),
    "objective of unknown type": lambda c: c["objectives"][0].update(type="accurasy"),
    "illegal operator setting": lambda c: c.update(operator={"name": "ties", "density": 3}),
    "remote code": lambda c: c["pool"].update(trust_remote_code=True),
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json.loads(json.dumps(config_schema()))  # type: ignore[no-any-return]


def shipped() -> dict[str, Any]:
    return copy.deepcopy(read_yaml(ROOT / "configs" / "quickstart.yaml").data)


def accepts(schema: dict[str, Any], config: dict[str, Any]) -> bool:
    validator: Any = importlib.import_module("jsonschema").Draft202012Validator(schema)
    return bool(validator.is_valid(config))


@needs_jsonschema
def test_the_shipped_config_is_valid(schema: dict[str, Any]) -> None:
    importlib.import_module("jsonschema").Draft202012Validator.check_schema(schema)
    assert accepts(schema, shipped())
    for strategy in ({"name": "optuna:TPESampler", "n_startup_trials": 5}, {"name": "cma_es", "sigma0": 0.1}):
        assert accepts(schema, {**shipped(), "strategy": strategy})
    assert accepts(schema, {**shipped(), "operator": {"name": "ties", "density": {"search": [0.1, 1.0]}}})


@needs_jsonschema
@pytest.mark.parametrize("spoil", MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_rejected(schema: dict[str, Any], spoil: Callable[[dict[str, Any]], object]) -> None:
    config = shipped()
    spoil(config)
    assert not accepts(schema, config)


def alternatives(schema: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    properties = schema["properties"]
    found = properties["objectives"]["items"] if kind == "objectives" else properties[SECTIONS[kind]]
    return [option for option in found["anyOf"] if "properties" in option]


def named(schema: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    key = "type" if kind == "objectives" else "name"
    [option] = [o for o in alternatives(schema, kind) if o["properties"][key].get("const") == name]
    return option


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, table in TABLES.items() for name in table.names()])
def test_every_component_has_one_strict_alternative(schema: dict[str, Any], kind: str, name: str) -> None:
    option = named(schema, kind, name)
    assert option["additionalProperties"] is False
    if kind == "operators":
        assert set(option["properties"]) == {"name", *TABLES[kind].get(name).settings()}
        return
    model = settings_model(name, TABLES[kind].get(name), key="type" if kind == "objectives" else "name")
    common = {"name", "reference", "target"} if kind == "objectives" else set()
    assert set(option["properties"]) == set(model.model_fields) | common
    required = {n for n, f in model.model_fields.items() if f.is_required()}
    assert required <= set(option["required"])
    assert kind != "objectives" or "name" in option["required"]


def references(node: object) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set[str]()
        return own.union(*(references(value) for value in node.values()))
    return set[str]().union(*(references(value) for value in node)) if isinstance(node, list) else set[str]()


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    found = references(schema)
    assert found
    assert {reference.removeprefix("#/$defs/") for reference in found} <= set(schema["$defs"])


def test_a_section_may_be_a_name_alone(schema: dict[str, Any]) -> None:
    for section in SECTIONS.values():
        assert {"type": "string"} in schema["properties"][section]["anyOf"]
    assert {"type": "string"} not in schema["properties"]["objectives"]["items"]["anyOf"]


def test_the_shipped_config_uses_known_keys_only(schema: dict[str, Any]) -> None:
    """What can be checked without a validator."""
    config = shipped()
    assert set(config) <= set(schema["properties"])
    assert set(schema["required"]) <= set(config)
    for objective in config["objectives"]:
        option = named(schema, "objectives", objective["type"])
        assert set(option["required"]) <= set(objective) <= set(option["properties"])
    for kind in ("spaces", "operators"):
        section = config[SECTIONS[kind]]
        assert set(section) <= set(named(schema, kind, section["name"])["properties"])


def test_editors_find_its_dialect_and_help(schema: dict[str, Any]) -> None:
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    assert "description" in named(schema, "strategies", "cma_es")["properties"]["sigma0"]
