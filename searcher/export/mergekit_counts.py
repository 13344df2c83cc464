"""Fractions to write so that mergekit, which rounds down, keeps as many elements as this project."""

from __future__ import annotations

from collections.abc import Callable, Collection
from fractions import Fraction

from searcher.merge.operators.trimming import n_kept


def mergekit_density(density: float, sizes: Collection[int]) -> Callable[[int], float]:
    """The density of ``ties`` for a tensor of some size; see :func:`mergekit_fraction`."""
    return mergekit_fraction(density, sizes, n_kept, mergekit_n_kept)


def mergekit_band(density: float, sizes: Collection[int]) -> Callable[[int], float]:
    """The density of ``breadcrumbs``, of which mergekit may keep nothing; see :func:`mergekit_fraction`."""
    return mergekit_fraction(density, sizes, n_kept, truncated)


def mergekit_outliers(gamma: float, sizes: Collection[int]) -> Callable[[int], float]:
    """The gamma of ``breadcrumbs``; see :func:`mergekit_fraction`."""
    return mergekit_fraction(gamma, sizes, lambda fraction, size: round(fraction * size), truncated)


def mergekit_n_kept(density: float, size: int) -> int:
    """Number of elements that mergekit's ``ties`` keeps of ``size``."""
    return 0 if density <= 0.0 else max(1, truncated(density, size))


def truncated(fraction: float, size: int) -> int:
    """Number of elements rounded down."""
    return size if fraction >= 1.0 else int(fraction * size)


def mergekit_fraction(
    fraction: float, sizes: Collection[int], ours: Callable[[float, int], int], theirs: Callable[[float, int], int]
) -> Callable[[int], float]:
    """The fraction to write for a tensor of some size, so that ``theirs`` counts what ``ours`` does.

    The given fraction if it serves all sizes; else one that serves them all, if there is one; else one per size.
    """
    counts = {size: ours(fraction, size) for size in sizes if size}

    def serves(value: float) -> bool:
        return all(theirs(value, size) == count for size, count in counts.items())

    lowest = max((Fraction(count, size) for size, count in counts.items()), default=Fraction(0))
    highest = min((Fraction(count + 1, size) for size, count in counts.items()), default=Fraction(1))
    for value in (fraction, min(1.0, float((lowest + highest) / 2))):
        if serves(value):
            return lambda _: value
    return lambda size: (counts[size] + 0.5) / size if counts.get(size, size) < size else 1.0
