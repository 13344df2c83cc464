"""What a run's header says of the world it ran in, and the config it was started with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from searcher.config import Config, make_config
from searcher.errors import RunError
from searcher.objectives.base import Objective
from searcher.version import installed_versions
from searcher.yaml_file import YamlDocument

PACKAGES = (
    "merge-searcher", "numpy", "scipy", "torch", "transformers", "tokenizers", "safetensors", "peft", "cma", "optuna",
    "botorch", "gpytorch", "linear_operator", "lm-eval", "datasets",
)  # fmt: skip


def package_versions() -> dict[str, str]:
    """Installed versions of the packages that decide what a run computes."""
    return installed_versions(PACKAGES)


def loader_file(loader: str, root: Path) -> Path | None:
    """The source file of a Python loader, found without running it again; None for other loaders."""
    place = loader.removeprefix("python:").rpartition(":")[0]
    if not loader.startswith("python:"):
        return None
    if place.endswith(".py"):
        return root / place
    spec = find_spec(place)
    path = Path(spec.origin) if spec is not None and spec.origin else None
    return path if path is not None and path.is_file() else None


def data_hashes(objectives: Sequence[Objective], loader: str, root: Path) -> Mapping[str, str]:
    """SHA-256 of the files other than weights that scores depend on, by path relative to ``root`` where possible."""
    from searcher.pool.files import sha256  # weights of a reference model may be among them: read in chunks

    files = {path.resolve() for objective in objectives for path in objective.files}
    files |= {path.resolve() for path in (loader_file(loader, root),) if path is not None}
    found: dict[str, str] = {}
    for path in sorted(files):
        n_parts = 1
        name = str(path.relative_to(root)) if path.is_relative_to(root) else path.name
        while name in found:  # two task folders may both have a utils.py
            n_parts += 1
            name = "/".join(path.parts[-n_parts:])
        found[name] = sha256(path)
    return found


def stored_config(header: Mapping[str, Any], folder: Path) -> Config:
    """The config a run was started with.

    Raises:
        RunError: If the run has no header yet: it was stopped before its pool was read.
    """
    require_header(header, folder)
    root = Path(header["root"])
    document = YamlDocument(header["config"], {}, str(folder / "config.yaml"))
    return make_config(document, root if root.is_dir() else Path.cwd())


def require_header(header: Mapping[str, Any], folder: Path) -> None:
    """Refuse a run that was stopped before its pool was read.

    Raises:
        RunError: If nothing is recorded.
    """
    if "config" not in header:
        raise RunError(
            "This run has not begun, or was stopped before it began; nothing is recorded.",
            where=str(folder / "run.db"),
            fix="Start it again with `searcher optimize CONFIG`.",
        )
