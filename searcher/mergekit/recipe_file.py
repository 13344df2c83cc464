"""Merges a ``recipe.json`` of ``searcher export --format recipe``: exact coefficients, sources found by name and hash."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searcher.errors import CandidateError, ConfigError, PoolError
from searcher.export.point import ExportPoint
from searcher.pool.depth import built_layout
from searcher.pool.hub import is_hub_id
from searcher.pool.strict_json import read_json_object
from searcher.recipe import Recipe

if TYPE_CHECKING:
    from searcher.mergekit.merge_file import MergeOptions, MergeSummary
    from searcher.pool.layout import Layout
    from searcher.pool.pool import Pool

MAX_RECIPE_BYTES = 256 << 20  # a layer-wise recipe has kilobytes, one with a gene per row of a large model megabytes
WEIGHTS = (".safetensors", "adapter_config.json")  # files whose content decides the merged weights


def merge_recipe(path: Path, to: Path, options: MergeOptions) -> MergeSummary:
    """Merge a recipe into a model folder; see :func:`searcher.mergekit.merge_file.merge_file`.

    Beside the recipe itself the file may hold ``sources`` (name to folder or hub id), ``source_hashes`` (``name/file``
    to SHA-256), ``dtype`` and ``pool_base`` (name of the model that adapters change, if the operator has no base). A source is looked for in ``options.sources``, then in the file, then as a folder of its
    name beside the file. Code is run only if ``options.loader`` names it, never because the file does.
    """
    from searcher.export.exporter import export_point
    from searcher.merge.engine import MergeEngine
    from searcher.mergekit.merge_file import MergeSummary

    started = time.monotonic()
    record = _read(path)
    recipe = _recipe(record, path)
    if record.get("loader", "transformers") != "transformers" and options.loader == "transformers":
        what = f"The recipe is for models of the loader {str(record['loader'])[:120]!r}, which runs code of yours."
        raise ConfigError(what, where=str(path), fix="If you trust it, add --loader python:FILE:FUNCTION.")
    pool = _open_pool(recipe, record, path, options)
    _check_hashes(pool, record, path)
    layout = _layout(recipe, pool, path)
    if recipe.n_parameters != layout.n_parameters:
        raise PoolError(
            f"The recipe is for {recipe.n_parameters:,} parameters, but the sources have {layout.n_parameters:,}.",
            where=str(path),
            fix="Give the sources that the recipe was made for.",
        )
    engine = MergeEngine(pool, device=options.device, dtype=_text(record, "dtype", path))
    try:
        export_point(
            _point(recipe, record, path, options.loader), engine, pool, to, format="hf", overwrite=options.overwrite
        )
    except (CandidateError, ValueError) as error:
        raise ConfigError(f"The recipe cannot be merged: {error}.", where=str(path), fix="Export it again.") from error
    n_bytes = layout.n_parameters * engine.dtype.itemsize
    return MergeSummary(to, len(layout.tensors), n_bytes, time.monotonic() - started, pool.warnings)


def _layout(recipe: Recipe, pool: Pool, path: Path) -> Layout:
    """The parameter line of the recipe's model."""
    try:
        return built_layout(recipe, pool.layout)
    except ValueError as error:
        raise ConfigError(f"The recipe cannot be merged: {error}", where=str(path), fix="Give its sources.") from error


def _read(path: Path) -> dict[str, Any]:
    """The JSON object."""
    try:
        return read_json_object(path, limit=MAX_RECIPE_BYTES)
    except PoolError as error:
        raise ConfigError(error.what, where=error.where, fix="Give a recipe.json of `searcher export`.") from error


def _recipe(record: Mapping[str, Any], path: Path) -> Recipe:
    models, base = record.get("models"), record.get("base")
    try:
        if not isinstance(models, list) or not all(isinstance(name, str) for name in [*models, base or ""]):
            raise ValueError("Expected names of models as texts.")
        return Recipe.from_json(record)
    except (ValueError, OverflowError) as error:
        fix = "Give a recipe.json of `searcher export --format recipe`; a mergekit configuration ends in .yml."
        raise ConfigError(f"The file holds no recipe: {str(error)[:300]}", where=str(path), fix=fix) from error


def _open_pool(recipe: Recipe, record: Mapping[str, Any], path: Path, options: MergeOptions) -> Pool:
    """The sources as a pool."""
    from searcher.pool.pool import open_pool

    root = Path.cwd() if options.root is None else options.root
    base = recipe.base or _text(record, "pool_base", path)
    known = dict.fromkeys([*recipe.models, *([base] if base else [])])
    unknown = sorted(set(options.sources) - set(known))
    if unknown:
        fix = f"Name one of: {', '.join(known)}."
        raise ConfigError(f"The recipe has no source {unknown[0]!r}.", where=str(path), fix=fix)
    models = [name for name in recipe.models if name != base]
    if not models:  # a pool needs a model; without a base, the only one is it
        models, base = list(recipe.models), None
    return open_pool(
        base=None if base is None else _place(base, record, path, options),
        models=[_place(name, record, path, options) for name in models],
        loader=options.loader,
        root=root,
    )


def _place(name: str, record: Mapping[str, Any], path: Path, options: MergeOptions) -> dict[str, str]:
    """Path or hub id of a source, with its name."""
    recorded = record.get("sources")
    known = recorded.get(name) if isinstance(recorded, dict) else None
    if name in options.sources:
        return {"path": options.sources[name], "name": name}
    if isinstance(known, str) and (is_hub_id(known) or Path(known).expanduser().exists()):
        return {"path": known, "name": name}
    beside = path.parent / name
    if "/" not in name and name not in (".", "..") and beside.exists():
        return {"path": str(beside.absolute()), "name": name}
    raise ConfigError(
        f"The recipe does not say where source {name!r} is.",
        where=str(path),
        fix=f"Add --source {name}=FOLDER, or put a folder of this name beside the recipe.",
    )


def _check_hashes(pool: Pool, record: Mapping[str, Any], path: Path) -> None:
    """Refuse sources with other weights than those that the recipe was made for."""
    expected = record.get("source_hashes")
    if not isinstance(expected, dict):
        return
    found = pool.hashes
    for file, digest in sorted(expected.items()):
        if file.endswith(WEIGHTS) and found.get(file) != digest:
            fault = "is missing" if file not in found else "has another content"
            raise PoolError(
                f"A source is not the one that the recipe was made for: {file} {fault}.",
                where=str(path),
                fix="Give the folder with the SHA-256 that the recipe records.",
            )


def _point(recipe: Recipe, record: Mapping[str, Any], path: Path, loader: str) -> ExportPoint:
    """What the export states about the recipe; scores stay with the run."""
    candidate, seed, run = record.get("candidate"), record.get("seed"), record.get("run")
    tags, hashes = record.get("tags"), record.get("source_hashes")
    return ExportPoint(
        candidate=candidate if type(candidate) is int else 0,
        tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
        recipe=recipe,
        genome=None,
        scores={},
        objectives={},
        run=run if isinstance(run, str) else path.stem,
        seed=seed if type(seed) is int else 0,
        source_hashes={str(k): str(v) for k, v in hashes.items()} if isinstance(hashes, dict) else {},
        loader=loader,
    )


def _text(record: Mapping[str, Any], key: str, path: Path) -> str | None:
    value = record.get(key)
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"Key {key!r} is no text.", where=str(path), fix="Export the recipe again.")
    return value
