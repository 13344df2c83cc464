"""Tied weights: one tensor under several names, of which a checkpoint stores at least one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import torch

from searcher.pool.source import FullSource


def own_ties(stored: Collection[str], tied: Mapping[str, str]) -> dict[str, str]:
    """Alias to stored name, for the names that one checkpoint has.

    Tied names form groups. The name that the others point at keeps the values if it is stored, otherwise the
    first alias that is (a checkpoint may hold the head and leave out the embedding).

    Args:
        stored: Names in the checkpoint.
        tied: Alias to target, as the architecture declares.
    """
    aliases_by_target: dict[str, list[str]] = {}
    for alias, target in tied.items():
        aliases_by_target.setdefault(target, []).append(alias)
    ties: dict[str, str] = {}
    for target, aliases in aliases_by_target.items():
        members = [target, *sorted(aliases)]
        keeper = next((member for member in members if member in stored), target)
        ties.update({member: keeper for member in members if member != keeper})
    return ties


def differing_aliases(source: FullSource, ties: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Aliases that are stored although tied, with values other than those of the tensor they repeat."""
    for alias, target in sorted(ties.items()):
        if alias in source.stored and not torch.equal(source.read_stored(alias), source.read_stored(target)):
            yield alias, target
