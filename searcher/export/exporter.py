"""Exports a point of a run: merged weights, an adapter, a mergekit configuration or the bare recipe."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from searcher.errors import ExportError, SearcherError
from searcher.export.atomic_folder import atomic_folder
from searcher.export.lora_export import check_adapter, write_adapter
from searcher.export.manifest import write_manifest
from searcher.export.mergekit_slices import mergekit_slices
from searcher.export.mergekit_yaml import mergekit_yaml
from searcher.export.model_card import model_card
from searcher.export.point import ExportPoint
from searcher.export.redaction import public_name
from searcher.pool.depth import built_layout
from searcher.pool.hub import HUB_ID

if TYPE_CHECKING:
    from searcher.merge.engine import MergeEngine
    from searcher.pool.pool import Pool
    from searcher.pool.source import Source

Format: TypeAlias = Literal["hf", "lora", "mergekit", "recipe"]
Verify: TypeAlias = Callable[[Path], Mapping[str, Any]]

RECIPE, CARD, MERGEKIT = "recipe.json", "README.md", "mergekit.yaml"
_SPARE_BYTES = 16 << 20  # side files, card and manifest beside the weights
_LICENCE = re.compile(r"^license:[ \t]*[\"']?([\w.+-]+)[\"']?[ \t]*$", re.MULTILINE)


def export_point(
    point: ExportPoint,
    engine: MergeEngine,
    pool: Pool,
    folder: Path,
    *,
    format: Format,
    overwrite: bool = False,
    verify: Verify | None = None,
) -> Path:
    """Write one point as a folder that is whole or absent.

    Every format writes ``recipe.json``, ``README.md`` and, last, ``manifest.json``. Besides these: ``hf`` the merged
    weights with the reference model's config and tokenizer files (for a ``python:`` loader its side files);
    ``lora`` a PEFT adapter; ``mergekit`` a ``mergekit.yaml``; ``recipe`` nothing.

    Args:
        point: What to export.
        engine: Merges the weights, in its storage dtype.
        pool: The source models.
        folder: Destination; must be new or empty, or an earlier export if ``overwrite``.
        format: What to write.
        overwrite: Replace an earlier export.
        verify: Called with the finished folder under its temporary name; what it returns goes into the manifest
            under ``verification``. If it raises, no folder remains.

    Returns:
        The destination.

    Raises:
        ExportError: If the format cannot express the point, the destination may not be replaced, the disk is full,
            or the verification fails.
    """
    if format == "hf":
        _check_space(folder, point.recipe.n_parameters * engine.dtype.itemsize)
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        facts = _write_content(point, engine, pool, temporary, format)
        record = _finite({**point.to_json(), **_found_by(point, engine, pool)})
        _write_text(temporary / RECIPE, json.dumps(record, indent=2, allow_nan=False) + "\n")
        _write_text(temporary / CARD, _card(point, pool, format))
        if verify is not None:
            facts["verification"] = _finite(_verified(verify, temporary))
        write_manifest(temporary, {**_identity(point, format), **facts})
    return folder


def _found_by(point: ExportPoint, engine: MergeEngine, pool: Pool) -> dict[str, Any]:
    """What ``searcher merge recipe.json`` needs besides the recipe; folders are not named, they are one machine's."""
    return {
        "sources": hub_ids(pool),
        "dtype": str(engine.dtype).removeprefix("torch."),
        "loader": _public_loader(point.loader),
        "pool_base": None if pool.base is None else pool.base.name,
    }


def _write_content(
    point: ExportPoint,
    engine: MergeEngine,
    pool: Pool,
    folder: Path,
    format: Format,
) -> dict[str, Any]:
    """Write what distinguishes the format; returns facts for the manifest."""
    if format == "hf":
        return _write_weights(point, engine, pool, folder)
    if format == "lora" and point.recipe.layers is not None:
        raise ExportError(
            "An adapter cannot change which layers run.",
            where=f"candidate {point.candidate}",
            fix="Export with format hf (the merged weights), recipe or mergekit.",
        )
    if format == "lora":
        base_id = None if pool.base is None else hub_ids(pool).get(pool.base.name, "").partition("@")[0] or None
        write_adapter(folder, point.recipe, pool, base_id=base_id)
        return {"difference_from_merge": check_adapter(folder, point.recipe, engine, pool)}
    if format == "mergekit":
        _write_text(folder / MERGEKIT, _mergekit(point, engine, pool))
    return {}


def _write_weights(point: ExportPoint, engine: MergeEngine, pool: Pool, folder: Path) -> dict[str, Any]:
    """Stream the merge into a model folder."""
    from searcher.pool.writer import write_model_folder

    dtype = str(engine.dtype).removeprefix("torch.")
    tensors = engine.stream(point.recipe)
    like, layout = pool.reference, pool.layout
    if point.recipe.layers is not None:
        built = engine.data_flow.model(point.recipe)
        like, layout = built.reference, built.line.layout
    write_model_folder(folder, _all_finite(tensors), like=like, layout=layout, dtype=dtype)
    for name in ("config.json", "tokenizer_config.json"):
        _forget_path(folder / name)
    return {"loader": _public_loader(point.loader), "dtype": dtype}


def _all_finite(tensors: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """The tensors, each checked to be finite; a broken model is never exported."""
    for name, tensor in tensors:
        if not bool(tensor.isfinite().all()):
            raise ExportError(
                "The merged weights are not finite.",
                where=f"tensor {name}",
                fix="Choose another point, or a wider pool.dtype if values overflow.",
            )
        yield name, tensor


def _mergekit(point: ExportPoint, engine: MergeEngine, pool: Pool) -> str:
    """The configuration under a comment that says how to use it."""
    if point.loader != "transformers":
        raise ExportError(
            "mergekit reads Hugging Face folders, but this pool has a loader of its own.",
            where=f"pool.loader {point.loader}",
            fix="Export with format recipe (the exact recipe) or hf (the merged weights).",
        )
    ids = hub_ids(pool)
    dtype = str(engine.dtype).removeprefix("torch.")
    names = {*point.recipe.models, *([point.recipe.base] if point.recipe.base else [])}
    sources = {name: _location(pool.source(name), pool, ids) for name in sorted(names)}
    write = mergekit_yaml if point.recipe.layers is None else mergekit_slices
    text = write(point.recipe, pool.layout, sources=sources, dtype=dtype)
    cache = " --lora-merge-cache CACHE_FOLDER" if any(pool.source(name).is_delta for name in names) else ""
    notes = [f"# Made for mergekit 0.1.5; run: mergekit-yaml {MERGEKIT} OUTPUT{cache}"]
    if any(name not in ids for name in names):
        notes.append("# Some models are folders of the machine where this file was made.")
    if pool.dtype != dtype:
        notes.append(f"# The sources are stored in {pool.dtype}; the search rounded them to {dtype} before merging.")
    return "\n".join([*notes, text])


def _location(source: Source, pool: Pool, ids: Mapping[str, str]) -> str:
    """What mergekit loads: a hub id with its commit, or a folder; an adapter follows its base after a plus."""
    text = ids.get(source.name) or str(source.path.resolve())
    if source.name not in ids and re.search("[+@]", text):
        raise ExportError(
            "mergekit cannot read a folder with '+' or '@' in its path.",
            where=f"source {source.name}, {text}",
            fix="Rename the folder, or export with format recipe or hf.",
        )
    return f"{_location(pool.reference, pool, ids)}+{text}" if source.is_delta else text


def hub_ids(pool: Pool) -> dict[str, str]:
    """Source name to ``organisation/name@commit`` for the sources that came from the hub."""
    return {
        name: origin
        for name, origin in pool.origins.items()
        if (match := HUB_ID.fullmatch(origin)) is not None
        and match["revision"] is not None
        and pool.source(name).path.parent.name == "snapshots"
    }


def licences(pool: Pool, names: Iterator[str]) -> dict[str, str | None]:
    """Licence that each source's own card states, or None."""
    return {name: _licence(pool.source(name).path / CARD) for name in names}


def _licence(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    front = text.split("---", 2)
    match = _LICENCE.search(front[1]) if text.startswith("---") and len(front) == 3 else None
    return match[1] if match else None


def _card(point: ExportPoint, pool: Pool, format: Format) -> str:
    names = dict.fromkeys([*([point.recipe.base] if point.recipe.base else []), *point.recipe.models])
    return model_card(
        point,
        built_layout(point.recipe, pool.layout),
        hub_ids=hub_ids(pool),
        licences=licences(pool, iter(names)),
        kind="python" if format == "hf" and point.loader != "transformers" else format,
    )


def _verified(verify: Verify, folder: Path) -> dict[str, Any]:
    """What the verification found."""
    try:
        return dict(verify(folder))
    except SearcherError:
        raise
    except OSError as error:  # not the export's own disk, so not "cannot be written"
        raise ExportError(f"The export could not be verified: {error}.", where=folder.name, fix="See above.") from error


def _identity(point: ExportPoint, format: Format) -> dict[str, Any]:
    """What the manifest says of where the export is from."""
    return {
        "format": format,
        "run": public_name(point.run),
        "candidate": point.candidate,
        "recipe": point.recipe.digest,
        "scores": _finite({split: {n: list(s) for n, s in scores.items()} for split, scores in point.scores.items()}),
        "versions": dict(sorted(point.versions.items())),
    }


def _public_loader(loader: str) -> str:
    """The loader without folders: ``python:nets.py:load``."""
    kind, *rest = loader.split(":")
    if kind != "python" or not rest:
        return kind
    *middle, function = rest
    return ":".join([kind, public_name(":".join(middle)), function])


def _forget_path(path: Path) -> None:
    """Remove the place that transformers notes in its configs; it is a path of some machine or says nothing."""
    if not path.is_file():
        return
    content = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in content.items() if key not in ("_name_or_path", "name_or_path")}
    if kept != content:
        _write_text(path, json.dumps(kept, indent=2, ensure_ascii=False) + "\n")


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """JSON without NaN and infinity, which become null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _check_space(folder: Path, n_bytes: int) -> None:
    """Refuse before the first tensor what cannot fit on the disk."""
    existing = next(parent for parent in [folder.absolute(), *folder.absolute().parents] if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < n_bytes + _SPARE_BYTES:
        raise ExportError(
            f"The export needs {n_bytes + _SPARE_BYTES:,} bytes, but only {free:,} are free.",
            where=str(folder),
            fix="Free disk space or choose another disk with --to; nothing has been written.",
        )
