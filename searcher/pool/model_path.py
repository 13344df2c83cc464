"""From what a config says about a model to a folder on this machine, with a unique name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from searcher.errors import PoolError
from searcher.pool.hub import fetch_snapshot, is_hub_id


@dataclass(frozen=True)
class ModelPath:
    """A model that has been found.

    Args:
        name: Unique name.
        path: Folder, or one .safetensors file.
        origin: For the record: the path as given, or ``organisation/name@commit``.
    """

    name: str
    path: Path
    origin: str


def locate(
    base: Sequence[str | Mapping[str, str]], models: Sequence[str | Mapping[str, str]], root: Path
) -> list[ModelPath]:
    """Find base and models, in this order.

    Raises:
        PoolError: If a path leads nowhere, an entry is malformed, or two models have one name.
    """
    keys = ["pool.base"] * len(base) + [f"pool.models[{number}]" for number in range(len(models))]
    located = [_locate_one(entry, key, root) for entry, key in zip([*base, *models], keys, strict=True)]
    key_by_name: dict[str, str] = {}
    for place, key in zip(located, keys, strict=True):
        if place.name in key_by_name:
            raise PoolError(
                f"Two models are called {place.name!r}: {key_by_name[place.name]} and {key}.",
                where=key,
                fix=f"Name one of them: {{path: {place.origin}, name: ANOTHER_NAME}}.",
            )
        key_by_name[place.name] = key
    return located


def _locate_one(entry: str | Mapping[str, str], key: str, root: Path) -> ModelPath:
    """One model."""
    given = {"path": entry} if isinstance(entry, str) else dict(entry)
    if (
        not set(given) <= {"path", "name"}
        or not all(isinstance(v, str) and v for v in given.values())
        or not given.get("path")
    ):
        raise PoolError("A model is a path, or {path: ..., name: ...}.", where=key, fix=f"Correct {entry!r}.")
    text = given["path"]
    path, origin = _find(text, key, root)
    name = given.get("name") or _default_name(text, path, origin)
    if "/" in name or not name.isprintable():
        raise PoolError(
            f"{name!r} cannot be the name of a model.", where=key, fix="Use letters, digits, '_', '-', '.'."
        )
    return ModelPath(name, path, origin)


def _find(text: str, key: str, root: Path) -> tuple[Path, str]:
    """Path and origin of a folder, a file or a hub model."""
    try:
        path = root / Path(text).expanduser()
        exists, beside = path.exists(), path.parent.is_dir()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a zero byte, an unknown user after "~"
        raise PoolError(f"The path cannot be used: {error}.", where=key, fix="Correct the path.") from error
    if exists:
        return path, text
    if is_hub_id(text) and not beside:  # the parent of a mistyped local path exists; the hub is not asked for it
        return fetch_snapshot(text)
    raise PoolError(
        f"There is no model folder {text!r}.",
        where=f"{key}, {path}",
        fix="Correct the path (relative ones start at the folder named above), or give a hub id organisation/name.",
    )


def _default_name(text: str, path: Path, origin: str) -> str:
    """Name of the folder, of the file without its ending, or of the hub model."""
    if not path.exists() or (is_hub_id(text) and "@" in origin and path.parent.name == "snapshots"):
        return origin.split("@")[0].split("/")[-1]
    name = path.resolve().name if path.name in ("", ".", "..") else path.name
    return name.removesuffix(".safetensors") if path.is_file() else name
