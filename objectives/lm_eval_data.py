"""Local files of an lm-eval task: its YAML and Python files and its data."""

from __future__ import annotations

from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any

FORMATS = frozenset({"json", "csv", "parquet", "arrow", "text", "pandas", "xml"})  # readers of files, not data sets


def use_local_data(config: dict[str, Any], folders: tuple[Path, ...]) -> tuple[Path, ...]:
    """Make relative paths to data absolute, in place, where they lie in one of the folders.

    lm-eval takes them from the working directory, so that a task would depend on where the program was started.

    Args:
        config: A task's config; ``dataset_path`` and ``dataset_kwargs`` may name files and folders.
        folders: Where to look, the first that has them wins.

    Returns:
        The data files found; empty if the data are a data set of the Hub.
    """
    options = dict(config.get("dataset_kwargs") or {})
    patterns: list[str] = []
    for key in ("data_files", "data_dir"):
        if key in options:
            options[key] = _absolute(options[key], folders, patterns)
    config["dataset_kwargs"] = options or None
    path = config.get("dataset_path")
    if isinstance(path, str) and path not in FORMATS:
        config["dataset_path"] = _absolute(path, folders, patterns)
    found = {Path(name).resolve() for pattern in patterns for name in glob(pattern)}
    return tuple(sorted(f for path in found for f in ([path] if path.is_file() else path.rglob("*")) if f.is_file()))


def _absolute(value: Any, folders: tuple[Path, ...], patterns: list[str]) -> Any:  # noqa: ANN401 - as YAML has it
    """The same structure with absolute paths; notes each local path or pattern."""
    if isinstance(value, dict):
        return {key: _absolute(part, folders, patterns) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_absolute(part, folders, patterns) for part in value]
    if not isinstance(value, str) or "://" in value:
        return value
    absolute = next((str(f / value) for f in folders if glob(str(f / value))), value)
    if glob(absolute):
        patterns.append(absolute)
    return absolute


def fingerprints(task: Any) -> dict[str, str] | None:  # noqa: ANN401 - lm_eval is an optional package
    """What tells the data of a loaded task from others, by split; None if a split cannot be told.

    A data set of ``datasets`` has a fingerprint of the files it was read from and of what was done to it since.
    """
    data = getattr(task, "dataset", None)
    if not isinstance(data, dict) or not data:
        return None
    found = {str(name): getattr(part, "_fingerprint", None) for name, part in data.items()}
    return {name: str(mark) for name, mark in found.items()} if all(found.values()) else None


def code_and_config(path: Path) -> tuple[Path, ...]:
    """A task's YAML file, those it includes and the Python files whose functions they name, sorted."""
    from lm_eval.tasks._yaml_loader import load_yaml

    found = {path}
    config = load_yaml(path, resolve_func=False, recursive=False)
    includes = config.pop("include", None)
    for included in includes if isinstance(includes, list) else [includes] if includes else []:
        found |= set(code_and_config((path.parent / included).resolve()))
    found |= {file for text in _texts(config) if (file := _python_file(text, path.parent)) is not None}
    return tuple(sorted(found))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)
    elif isinstance(value, str):
        yield value


def _python_file(text: str, folder: Path) -> Path | None:
    """The file of ``!function module.name``, which the loader leaves as ``folder/module.name``."""
    prefix = f"{folder}/"
    if not text.startswith(prefix):
        return None
    module = text.removeprefix(prefix).rpartition(".")[0]
    file = folder / (module.replace(".", "/") + ".py")
    return file.resolve() if module and file.is_file() else None
