"""Pydantic's findings as three lines that a user can act on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ValidationError
from typing_extensions import is_typeddict

from searcher.errors import ConfigError, nearest
from searcher.yaml_file import YamlDocument

NOT_YET = ("enabled", "tensorboard", "wandb", "mlflow", "baselines")
LATER = " This version has nothing else."

FORMS = {
    "device": "auto, cpu, mps, cuda or cuda:N",
    "loader": "transformers, python:module:function or python:path/to/file.py:function",
}


def explain(
    error: ValidationError, document: YamlDocument, model: type[BaseModel], prefix: Sequence[str | int] = ()
) -> ConfigError:
    """The first finding of a validation, with file, line and key."""
    findings = error.errors(include_url=False, include_input=False)
    first = min(findings, key=_order)
    path = (*prefix, *_keys(first, document, tuple(prefix)))
    more = len({tuple(_keys(f, document, tuple(prefix))) for f in findings}) - 1
    what, fix = _words(first, path, _model_at(model, first["loc"][:-1]))
    if more:
        fix += f" ({more} more to mend in this file.)"
    return ConfigError(what, where=document.where(path), fix=fix)


def _order(finding: Any) -> tuple[bool, bool, int]:  # noqa: ANN401 - pydantic's details
    """Unknown keys first; of the members of a union last those that only say that another type was expected."""
    return finding["type"] != "extra_forbidden", finding["type"].endswith("_type"), len(finding["loc"])


def _keys(finding: Any, document: YamlDocument, prefix: tuple[str | int, ...]) -> list[str | int]:  # noqa: ANN401
    """The part of a location that stands in the file, or is missing there; names of union members do not."""
    loc: Sequence[str | int] = finding["loc"]
    keys: list[str | int] = []
    node: Any = document.data
    for part in prefix:
        node = _child(node, part)
    for i, part in enumerate(loc):
        if _has_child(node, part):
            node = _child(node, part)
            keys.append(part)
        elif i == len(loc) - 1 and finding["type"] in ("missing", "extra_forbidden"):
            keys.append(part)
    return keys


def _has_child(node: Any, part: str | int) -> bool:  # noqa: ANN401 - YAML is untyped
    if isinstance(node, dict):
        return part in node
    return isinstance(node, list) and isinstance(part, int) and part < len(node)


def _child(node: Any, part: str | int) -> Any:  # noqa: ANN401 - YAML is untyped
    return node[part] if _has_child(node, part) else None


def _model_at(model: type[BaseModel], loc: Sequence[str | int]) -> type[Any] | None:
    """The model or typed dictionary whose field a location names."""
    found: type[Any] | None = model
    for part in loc:
        if found is None or not isinstance(part, str):
            continue
        annotation = _fields(found).get(part)
        if annotation is None and found.__name__ == part:  # a union member's own name stands in the location
            continue
        found = _first_model(annotation)
    return found


def _fields(model: type[Any] | None) -> dict[str, Any]:
    """Annotation of each key of a model or typed dictionary."""
    if model is None:
        return {}
    if issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    return get_type_hints(model)


def _first_model(annotation: Any) -> type[Any] | None:  # noqa: ANN401 - any type expression
    """The first pydantic model or typed dictionary in an annotation, unions and lists included."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_typeddict(annotation)):
        return annotation
    return next((model for part in get_args(annotation) if (model := _first_model(part)) is not None), None)


def _words(finding: Any, path: Sequence[str | int], model: type[Any] | None) -> tuple[str, str]:  # noqa: ANN401
    """What happened and what to do."""
    key = next((part for part in reversed(path) if isinstance(part, str)), "(top level)")
    message = str(finding["msg"])
    if finding["type"] == "extra_forbidden":
        known = sorted(_fields(model))
        hint = nearest(key, known)
        start = f"Did you mean {hint!r}? " if hint else ""
        return f"Unknown key {key!r}.", f"{start}Known keys here: {', '.join(known)}."
    if finding["type"] == "missing":
        return f"Key {key!r} is missing.", f"Add `{key}:`; configs/quickstart.yaml shows a complete file."
    if finding["type"] in ("literal_error", "enum"):
        fix = f"Allowed: {finding['ctx']['expected']}."
        return f"Key {key!r} has a value that is not allowed.", fix + (LATER if key in NOT_YET else "")
    if finding["type"] == "value_error":
        return f"Key {key!r} cannot be used: {message.removeprefix('Value error, ')}.", "Change it as described."
    if finding["type"] == "string_pattern_mismatch":
        return f"Key {key!r} has a value of the wrong form.", f"Write {FORMS.get(key, finding['ctx']['pattern'])}."
    return (
        f"Key {key!r} has a wrong value: {message[:1].lower()}{message[1:]}.",
        "Change the value; `searcher schema` shows what is allowed.",
    )
