"""Settings of registered components, read from their constructors: types, defaults, help.

The constructor is the only place where a setting is declared; config validation, JSON schema and
``searcher list`` follow from it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

SUPPLIED = frozenset({"self", "name", "problem", "context", "root"})  # given by the program, not by the config
STRICT = ConfigDict(
    extra="forbid", hide_input_in_errors=True, allow_inf_nan=False, arbitrary_types_allowed=True, frozen=True
)


def settings_model(name: str, component: Callable[..., Any], *, key: str = "name") -> type[BaseModel]:
    """A pydantic model of a component's config section.

    Args:
        name: Registered name; the section's ``key`` must be exactly this.
        component: A class whose constructor's keyword-only parameters are the settings.
        key: Key that holds the name: ``name``, or ``type`` for objectives.
    """
    constructor: Any = component.__init__ if isinstance(component, type) else component  # type: ignore[misc]
    hints = get_type_hints(constructor, include_extras=True)
    helps = argument_help(component)
    fields: dict[str, Any] = {key: (Literal[name], Field(description=summary(component)))}
    for parameter in inspect.signature(constructor).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY or parameter.name in SUPPLIED:
            continue
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        described = Field(default=default, description=helps.get(parameter.name))
        fields[parameter.name] = (hints.get(parameter.name, Any), described)
    title = "".join(part.capitalize() for part in re.split(r"\W|_", name))
    return create_model(title, __config__=STRICT, **fields)


def summary(component: Callable[..., Any]) -> str:
    """First line of the docstring."""
    return (inspect.getdoc(component) or "").split("\n", 1)[0]


def argument_help(component: Callable[..., Any]) -> dict[str, str]:
    """The ``Args:`` sections of a component's Google docstring and of its base classes', name to text."""
    lineage = reversed(component.__mro__) if isinstance(component, type) else (component,)
    return {name: text for part in lineage for name, text in _own_help(part.__doc__ or "").items()}


def _own_help(docstring: str) -> dict[str, str]:
    match = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", inspect.cleandoc(docstring), flags=re.MULTILINE)
    if match is None:
        return {}
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", match.group(1), flags=re.MULTILINE)
    return {name: re.sub(r"\s+", " ", help_text) for name, help_text in entries}
