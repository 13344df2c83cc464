"""Makes every text of a report harmless before anything is built from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from searcher.report.data import ReportData
from searcher.report.wording import clean


def cleaned(data: ReportData) -> ReportData:
    """The same data without control characters, terminal sequences and secrets, in keys as well as in values.

    Objective names stay distinct: of two that become equal, the later one gets a number.
    """
    texts = _distinct_names(data)

    def harmless(value: Any) -> Any:  # noqa: ANN401 - walks data of any shape
        if isinstance(value, str):
            if value not in texts:
                texts[value] = clean(value, data.secrets)
            return texts[value]
        if isinstance(value, Mapping):
            return {harmless(key): harmless(entry) for key, entry in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(harmless(entry) for entry in value)
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{f.name: harmless(getattr(value, f.name)) for f in fields(value)})
        return value

    rest = {f.name: harmless(getattr(data, f.name)) for f in fields(data) if f.name != "secrets"}
    return replace(data, **rest, secrets=())


def _distinct_names(data: ReportData) -> dict[str, str]:
    """Cleaned objective name by the original one."""
    names: dict[str, str] = {}
    for objective in data.objectives:
        name = clean(objective.name, data.secrets)
        n_equal = list(names.values()).count(name)
        names[objective.name] = f"{name} ({n_equal + 1})" if n_equal else name
    return names
