"""Examples of each split: one file that is divided, or a file per split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from searcher.candidate import SPLITS, Split
from searcher.errors import ConfigError
from searcher.objectives.splits import SplitSettings, split_examples
from searcher.objectives.text_data import JSONL_SUFFIXES

DataSettings: TypeAlias = Path | Mapping[Split, Path]
"""One file for all splits, or a file per split."""

LimitSettings: TypeAlias = int | Mapping[Split, int]
"""The most examples of every split, or of each split that is named."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class SplitData(Generic[T]):
    """Examples in their fixed order.

    Args:
        examples: Those of one split stand together.
        slices: The slice of each split.
        files: Everything that was read.
    """

    examples: tuple[T, ...]
    slices: Mapping[Split, slice]
    files: tuple[Path, ...]


def read_split_data(
    data: DataSettings,
    read: Callable[[Path], Sequence[T]],
    *,
    split: SplitSettings | None = None,
    limit: LimitSettings | None = None,
    root: Path = Path(),
    where: str = "data",
) -> SplitData[T]:
    """Read examples and put them into their order.

    One file is divided by ``split``, in a fixed shuffled order (see :func:`split_examples`). A file per split keeps
    the order of its lines. A folder stands for the JSONL and text files in it, in the order of their names.

    Args:
        data: Paths, relative ones resolve against ``root``.
        read: Reads one file.
        split: Only with a single path.
        limit: Keeps the first examples of a split.
        root: Folder that relative paths resolve against.
        where: Names the objective in messages.

    Raises:
        ConfigError: If a file or a setting cannot be used, or a split has no examples.
    """
    if isinstance(data, Mapping):
        return _limited(_one_file_per_split(data, read, split, root, where), limit, where)
    files = _files(root / data, where)
    found = [example for file in files for example in read(file)]
    if not found:
        raise ConfigError("There are no examples.", where=f"{where}, {root / data}", fix="Add examples to the file.")
    parts = split_examples(len(found), split, root=root, where=f"{where}, split")
    examples = tuple(found[i] for i in parts.order)
    return _limited(SplitData(examples, parts.slices, (*files, *parts.files)), limit, where)


def _files(path: Path, where: str) -> tuple[Path, ...]:
    """The file, or those in the folder."""
    if not path.is_dir():
        return (path,)
    files = tuple(sorted(f for f in path.iterdir() if f.suffix in {".txt", ".md", *JSONL_SUFFIXES} and f.is_file()))
    if not files:
        raise ConfigError(
            "The folder holds no .jsonl, .ndjson, .txt or .md file.", where=f"{where}, {path}", fix="Correct `data`."
        )
    return files


def _one_file_per_split(
    data: Mapping[Split, Path], read: Callable[[Path], Sequence[T]], split: SplitSettings | None, root: Path, where: str
) -> SplitData[T]:
    _check_mapping(data, split, root, where)
    examples: list[T] = []
    slices: dict[Split, slice] = {}
    files: list[Path] = []
    for name in (s for s in SPLITS if s in data):
        own = _files(root / data[name], where)
        start = len(examples)
        examples.extend(example for file in own for example in read(file))
        if len(examples) == start:
            place = f"{where}, {root / data[name]}"
            raise ConfigError(f"The split {name!r} has no examples.", where=place, fix="Add examples to the file.")
        slices[name] = slice(start, len(examples))
        files.extend(own)
    return SplitData(tuple(examples), slices, tuple(files))


def _check_mapping(data: Mapping[Split, Path], split: SplitSettings | None, root: Path, where: str) -> None:
    unknown = [str(s) for s in data if s not in SPLITS]
    if unknown or "search" not in data:
        what = f"Unknown split {unknown[0]!r}." if unknown else "The data has no search examples."
        raise ConfigError(what, where=f"{where}, data", fix=f"Name files for {', '.join(SPLITS)}; search is needed.")
    if split is not None:
        raise ConfigError(
            "The data is divided twice: by a file per split and by `split`.",
            where=f"{where}, split",
            fix="Remove `split`, or give `data` one path.",
        )
    resolved = [(root / path).resolve() for path in data.values()]
    if len(set(resolved)) < len(resolved):
        raise ConfigError(
            "Two splits have the same file, so that the search would see held-out examples.",
            where=f"{where}, data",
            fix="Give each split a file of its own, or give `data` one path and divide it with `split`.",
        )


def _limited(data: SplitData[T], limit: LimitSettings | None, where: str) -> SplitData[T]:
    """The first examples of each split."""
    if limit is None:
        return data
    by_split = dict(limit) if isinstance(limit, Mapping) else dict.fromkeys(data.slices, limit)
    wrong = [s for s, n in by_split.items() if s not in data.slices or n < 1]
    if wrong:
        raise ConfigError(
            f"The limit of {wrong[0]!r} cannot be used: {by_split[wrong[0]]}.",
            where=f"{where}, limit",
            fix=f"Give a number of at least 1, or one for each of {', '.join(data.slices)}.",
        )
    examples: list[T] = []
    slices: dict[Split, slice] = {}
    for name, part in data.slices.items():
        start = len(examples)
        examples.extend(data.examples[part][: by_split.get(name)])
        slices[name] = slice(start, len(examples))
    return SplitData(tuple(examples), slices, data.files)
