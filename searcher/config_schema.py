"""The JSON schema of the config file, with one alternative per registered component."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from searcher.components import settings_model
from searcher.executor.base import EXECUTORS
from searcher.merge.operators.base import OPERATORS
from searcher.objectives.base import OBJECTIVES
from searcher.operator_section import operator_model
from searcher.spaces.base import SPACES
from searcher.strategies.base import STRATEGIES


def build_schema(config: type[BaseModel], objective_common: type[BaseModel]) -> Mapping[str, Any]:
    """Schema of ``config`` (JSON Schema 2020-12), its component sections filled in from the registries."""
    schema = config.model_json_schema()
    definitions: dict[str, Any] = schema.setdefault("$defs", {})
    properties = schema["properties"]
    optuna = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "pattern": "^optuna:"}},
        "description": "Any Optuna sampler; the other keys are its arguments.",
    }
    strategies = [settings_model(n, STRATEGIES.get(n)) for n in STRATEGIES.names()]
    _fill(properties["strategy"], definitions, strategies, extra=[optuna])
    _fill(properties["space"], definitions, [settings_model(n, SPACES.get(n)) for n in SPACES.names()])
    _fill(properties["executor"], definitions, [settings_model(n, EXECUTORS.get(n)) for n in EXECUTORS.names()])
    _fill(properties["operator"], definitions, [operator_model(n) for n in OPERATORS.names()])
    objectives = [settings_model(n, OBJECTIVES.get(n), key="type") for n in OBJECTIVES.names()]
    common = objective_common.model_json_schema()
    alternatives = [_merged(_schema_of(model, definitions), common) for model in objectives]
    properties["objectives"]["items"] = {"anyOf": alternatives}
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "searcher config"
    return schema


def _fill(
    slot: dict[str, Any],
    definitions: dict[str, Any],
    models: Iterable[type[BaseModel]],
    extra: Iterable[Mapping[str, Any]] = (),
) -> None:
    """Replace a free-form section by its alternatives; a name alone is allowed too."""
    alternatives = [_schema_of(model, definitions) for model in models]
    for key in ("type", "additionalProperties"):
        slot.pop(key, None)
    slot["anyOf"] = [*alternatives, *extra, {"type": "string"}]


def _schema_of(model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema()
    definitions.update(schema.pop("$defs", {}))
    return schema


def _merged(schema: dict[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    """A component's schema with the keys that all of its kind share."""
    schema["properties"] = {**common["properties"], **schema["properties"]}
    schema["required"] = [*common.get("required", []), *schema.get("required", [])]
    return schema
