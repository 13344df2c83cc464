"""Shell patterns on tensor names: which tensors have a group of their own, which have no genes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from searcher.pool.layout import Layout, TensorEntry
from searcher.spaces.base import SpaceContext

Label = Callable[[TensorEntry], str]


@with_config(ConfigDict(extra="forbid"))
class NameFilter(TypedDict):
    """Tensors whose names match a shell pattern are one group."""

    match: str
    group: str


@with_config(ConfigDict(extra="forbid"))
class FixedGroup(TypedDict):
    """Tensors whose names match a shell pattern have these coefficients and no genes."""

    match: str
    coefficients: float | tuple[float, ...]


def with_filters(label: Label, filters: Sequence[NameFilter], layout: Layout) -> Label:
    """A label that is a filter's group where one matches (the first that does), else as before.

    Raises:
        ValueError: If a pattern matches no tensor.
    """
    patterns = [(f["match"], f["group"]) for f in filters]
    check_matches([pattern for pattern, _ in patterns], layout)
    return _first_match(label, patterns)


def with_fixed(
    label: Label, fixed: Sequence[FixedGroup], context: SpaceContext
) -> tuple[Label, Mapping[str, tuple[float, ...]]]:
    """A label that tells fixed tensors apart, and the coefficients of these by label.

    Raises:
        ValueError: If a pattern matches no tensor, or there are neither one coefficient nor one per model.
    """
    patterns = [(f["match"], f"fixed {i}: {f['match']}") for i, f in enumerate(fixed)]
    check_matches([pattern for pattern, _ in patterns], context.layout)
    rows = {key: _row(f, context) for (_, key), f in zip(patterns, fixed, strict=True)}
    return _first_match(label, patterns), rows


def describe_fixed(fixed: Sequence[FixedGroup]) -> list[str]:
    """One line for each fixed group."""
    return [f"fixed: {f['match']} at {f['coefficients']}" for f in fixed]


def check_matches(patterns: Sequence[str], layout: Layout) -> None:
    """Refuse a pattern that no tensor's name matches; it is a mistake.

    Raises:
        ValueError: If there is one.
    """
    for pattern in patterns:
        if not any(fnmatchcase(tensor.name, pattern) for tensor in layout.tensors):
            known = [tensor.name for tensor in layout.tensors]
            raise ValueError(
                f"Expected a pattern that matches a tensor, but {pattern!r} matches none of {len(known)}, such as "
                f"{known[0]!r} and {known[-1]!r}."
            )


def _first_match(label: Label, patterns: Sequence[tuple[str, str]]) -> Label:
    def labelled(tensor: TensorEntry) -> str:
        found = (group for pattern, group in patterns if fnmatchcase(tensor.name, pattern))
        return next(found, None) or label(tensor)

    return labelled


def _row(fixed: FixedGroup, context: SpaceContext) -> tuple[float, ...]:
    """The coefficients of one fixed group, one per column."""
    given, n = fixed["coefficients"], 1 if context.interpolates else len(context.models)
    row = (float(given),) * n if isinstance(given, int | float) else tuple(float(c) for c in given)
    if len(row) != n:
        raise ValueError(
            f"Expected one coefficient, or {n}, for the fixed tensors {fixed['match']!r}, but got {len(row)}."
        )
    return row
