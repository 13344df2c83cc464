"""Which examples guide the search, which re-test its leaders and which are kept for the report.

A split depends on the data and its settings alone, never on the seed of a run: every candidate of every run
meets the same examples in the same order. The examples are reordered once so that each split is one slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import SPLITS, Split
from searcher.errors import ConfigError

SplitSettings: TypeAlias = Mapping[Split, float | Path]
"""Per split a fraction of the examples, or a file (``.txt`` or ``.npy``) with their indices, counted from 0."""

DEFAULT_SPLIT: Mapping[Split, float] = {"search": 0.7, "held_out": 0.3}
_SHUFFLE_KEY = 0x5911  # private and fixed: neither global generators nor the run's seed can move an example
_FRACTION_SLACK = 1e-9  # 0.6 + 0.1 + 0.3 may exceed 1 by a rounding error


@dataclass(frozen=True, eq=False)
class SplitExamples:
    """The order of the examples and where each split lies in it.

    Args:
        order: Index in the data of the example at each position, int64, shape ``(n_examples,)``; examples of no
            split are left out.
        slices: The slice of each split; together they tile ``0 ... n_examples``.
        files: Index files that were read.
    """

    order: NDArray[np.int64]
    slices: Mapping[Split, slice]
    files: tuple[Path, ...] = ()

    @property
    def n_examples(self) -> int:
        """Number of examples over all splits."""
        return int(self.order.size)


def split_examples(
    n: int,
    split: SplitSettings | None,
    *,
    labels: NDArray[np.int64] | None = None,
    root: Path = Path(),
    where: str = "split",
) -> SplitExamples:
    """Divide ``n`` examples.

    Fractions cut one shuffled order from its start: search, then select, then held-out. With labels every
    stretch of that order holds the classes in about their overall proportions: a class's share of a split is off
    by at most ``1 + n_classes * n_class / n`` examples, which is two if the classes are of one size. With index
    files, the order is that of the files.

    Args:
        n: Number of examples in the data.
        split: What each split gets; None means 70 % search, 30 % held-out.
        labels: Class of each example, shape ``(n,)``, to stratify by.
        root: Folder that relative index files resolve against.
        where: Names the setting in error messages.

    Raises:
        ConfigError: If a fraction is outside (0, 1], they sum to more than 1, a split would be empty, ``search`` is
            missing, or an index file is unreadable, out of range or shares an example with another.
    """
    chosen: SplitSettings = DEFAULT_SPLIT if split is None else split
    _check_keys(chosen, where)
    paths: dict[Split, Path] = {s: Path(v) for s, v in chosen.items() if isinstance(v, str | Path)}
    if not paths:
        return _by_fraction(n, {s: _fraction(s, v, where) for s, v in chosen.items()}, labels, where)
    if len(paths) < len(chosen):
        raise ConfigError(
            "The split mixes fractions with index files.",
            where=where,
            fix="Give a fraction for every split, or an index file for every split.",
        )
    return _by_file(n, {s: root / path for s, path in paths.items()}, where)


def shuffled_order(n: int, labels: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """A fixed permutation of ``0 ... n - 1``; with labels, the classes are spread evenly along it.

    The example of rank ``r`` among the ``n_c`` of its class sorts at ``(r + 1/2) / n_c``, ties at random.
    """
    order = np.random.default_rng(_SHUFFLE_KEY).permutation(n)
    if labels is None:
        return order
    key = np.empty(n)
    for label in np.unique(labels):
        members = np.flatnonzero(labels[order] == label)
        key[members] = (np.arange(members.size) + 0.5) / members.size
    return order[np.argsort(key, kind="stable")]


def _check_keys(split: SplitSettings, where: str) -> None:
    unknown = [str(s) for s in split if s not in SPLITS]
    if unknown:
        raise ConfigError(f"Unknown split {unknown[0]!r}.", where=where, fix=f"Use {', '.join(SPLITS)}.")
    if "search" not in split:
        raise ConfigError(
            "The split has no search examples.", where=where, fix="Add `search`, for example {search: 0.7}."
        )


def _fraction(name: Split, value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ConfigError(
            f"Expected a fraction above 0 and at most 1 for the split {name!r}, but got {value!r}.",
            where=where,
            fix="Write a fraction such as 0.3, name an index file, or leave the split out.",
        )
    return float(value)


def _by_fraction(
    n: int, fractions: Mapping[Split, float], labels: NDArray[np.int64] | None, where: str
) -> SplitExamples:
    total = sum(fractions.values())
    if total > 1 + _FRACTION_SLACK:
        raise ConfigError(
            f"The fractions of the split sum to {total:g}, more than 1.",
            where=where,
            fix="Lower them; what is left over is not used.",
        )
    slices: dict[Split, slice] = {}
    start, reached = 0, 0.0
    for name in (s for s in SPLITS if s in fractions):
        reached += fractions[name]
        stop = min(n, int(np.floor(reached * n + 0.5)))
        if stop == start:
            raise ConfigError(
                f"The split {name!r} would get none of the {n} examples.",
                where=where,
                fix="Raise its fraction, give more examples, or leave the split out.",
            )
        slices[name] = slice(start, stop)
        start = stop
    return SplitExamples(shuffled_order(n, labels)[:start], slices)


def _by_file(n: int, paths: Mapping[Split, Path], where: str) -> SplitExamples:
    parts: list[NDArray[np.int64]] = []
    slices: dict[Split, slice] = {}
    owner = np.full(n, -1)
    start = 0
    for number, name in enumerate(s for s in SPLITS if s in paths):
        indices = _read_indices(paths[name], n, where)
        _claim(owner, indices, number, paths[name], where)
        slices[name] = slice(start, start + indices.size)
        parts.append(indices)
        start += indices.size
    return SplitExamples(np.concatenate(parts), slices, tuple(paths.values()))


def _claim(owner: NDArray[np.int64], indices: NDArray[np.int64], number: int, path: Path, where: str) -> None:
    """Mark the examples of one split as taken."""
    taken = indices[owner[indices] >= 0]
    values, counts = np.unique(indices, return_counts=True)
    twice = values[counts > 1]
    if taken.size or twice.size:
        what = f"{taken[0]} is in another split too" if taken.size else f"{twice[0]} is listed twice"
        raise ConfigError(
            f"Splits must not share examples, but example {what}.",
            where=f"{where}, {path}",
            fix="List every example in one file, once.",
        )
    owner[indices] = number


def _read_indices(path: Path, n: int, where: str) -> NDArray[np.int64]:
    """The indices in a file, shape ``(n_listed,)``, checked against ``0 ... n - 1``."""
    try:
        if path.suffix == ".npy":
            found = np.load(path, allow_pickle=False)
        else:
            found = np.array([int(word) for word in path.read_text(encoding="utf-8").split()], dtype=np.int64)
    except Exception as error:  # numpy raises half a dozen kinds on damaged files
        raise ConfigError(
            f"Cannot read the index file: {error}",
            where=f"{where}, {path}",
            fix="Give a text file of whole numbers or an .npy file of integers.",
        ) from error
    if not isinstance(found, np.ndarray) or found.ndim != 1 or found.dtype.kind not in "iu" or found.size == 0:
        got = f"shape {found.shape}, {found.dtype}" if isinstance(found, np.ndarray) else type(found).__name__
        raise ConfigError(
            f"Expected at least one index, integers of shape (n,), but got {got}.",
            where=f"{where}, {path}",
            fix="List the indices of the examples, counted from 0.",
        )
    outside = found[(found < 0) | (found >= n)]
    if outside.size:
        raise ConfigError(
            f"Index {outside[0]} is outside the {n} examples, 0 ... {n - 1}.",
            where=f"{where}, {path}",
            fix="Count examples from 0 and check that the file belongs to this data.",
        )
    return found.astype(np.int64)
