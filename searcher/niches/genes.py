"""Names of the genes by which a strategy tells a space how to cross two recipes."""

from __future__ import annotations

from collections.abc import Sequence

RATIO = "ratio"
"""The mixing ratio w before the first split point; behind it 1 - w."""

SPLIT = "split"
"""The split point; several are ``split 1``, ``split 2`` ..."""

ENDS = ("first", "second")
"""Which two known merges are crossed if a proposal has no parents."""


def split_names(n_splits: int) -> tuple[str, ...]:
    """Names of the split points' genes."""
    return (SPLIT,) if n_splits == 1 else tuple(f"{SPLIT} {i + 1}" for i in range(n_splits))


def is_split(name: str) -> bool:
    """Whether a gene is a split point."""
    return name == SPLIT or name.startswith(f"{SPLIT} ")


def crosses_recipes(names: Sequence[str]) -> bool:
    """Whether a space with these genes combines the recipes of parents."""
    return RATIO in names and any(map(is_split, names)) and set(ENDS) <= set(names)
