"""Values per tensor as mergekit 0.1.5 writes them: a number, or a list of substring filters with a fallback.

mergekit takes the first entry whose ``filter`` is a substring of the tensor name; an entry without a filter
always matches. Every list made here is checked against that rule for every tensor it is meant for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Entry: TypeAlias = dict[str, str | float]
Setting: TypeAlias = float | list[Entry]
"""A number for all tensors, or entries ``{filter: substring, value: number}``, the last one without a filter."""


def setting_for(values: Mapping[str, float], local_names: Mapping[str, str]) -> Setting:
    """A short setting that gives every tensor its value.

    Args:
        values: Tensor name to value.
        local_names: Name inside the block (``mlp.up_proj.weight``) of each tensor that is in a block.
    """
    distinct = set(values.values())
    if len(distinct) == 1:
        return distinct.pop()
    fallback = Counter(values.values()).most_common(1)[0][0]
    for filters in (_short_filters(values, local_names, fallback), _name_filters(values, fallback)):
        setting: list[Entry] = [*filters, {"value": fallback}]
        if all(resolve(setting, name) == value for name, value in values.items()):
            return setting
    raise AssertionError("full names, longest first, always resolve to their own entry")


def resolve(setting: Sequence[Entry], tensor: str) -> float | None:
    """The value that mergekit's rule gives a tensor; None if no entry matches."""
    for entry in setting:
        pattern = entry.get("filter")
        if pattern is None or str(pattern) in tensor:
            return float(entry["value"])
    return None


def _short_filters(values: Mapping[str, float], local_names: Mapping[str, str], fallback: float) -> list[Entry]:
    """Filters by module inside the block (``mlp``), by name inside the block, and by full name, as far as they serve.

    A shorter filter serves if all tensors it is meant for have one value.
    """
    by_module = _uniform({name: local.split(".")[0] for name, local in local_names.items()}, values)
    by_local = _uniform(local_names, values)
    full: dict[str, float] = {}
    locals_used: dict[str, float] = {}
    for name, value in values.items():
        local = local_names.get(name)
        if local is None or local not in by_local:
            full[name] = value
        elif local.split(".")[0] not in by_module:
            locals_used[local] = value
    return [*_name_filters(full, fallback), *_name_filters(locals_used, fallback), *_name_filters(by_module, fallback)]


def _uniform(keys: Mapping[str, str], values: Mapping[str, float]) -> dict[str, float]:
    """Keys whose tensors all have one value, to that value."""
    found: dict[str, set[float]] = {}
    for name, key in keys.items():
        if name in values:
            found.setdefault(key, set()).add(values[name])
    return {key: group.pop() for key, group in found.items() if len(group) == 1}


def _name_filters(values: Mapping[str, float], fallback: float) -> list[Entry]:
    """One filter per tensor that has another value than the fallback.

    Longest names come first: a name that is a substring of another (``embed.weight`` of ``pos_embed.weight``)
    must not catch it. For the same reason a tensor whose name contains such a name gets an entry of its own.
    """
    odd = [name for name, value in values.items() if value != fallback]
    caught = [name for name in values if any(other in name for other in odd)]
    return [{"filter": name, "value": values[name]} for name in sorted(caught, key=lambda n: (-len(n), n))]
