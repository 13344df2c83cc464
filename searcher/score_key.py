"""What a score depends on, as a key: weights, recipe, objective with its data, seed, code, packages, device.

Two scores may share a key only if nothing that decides numbers differs. What cannot be known for certain (a function
given as a Python object, a setting without a plain form) makes an objective that is never kept.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from searcher.candidate import Split
from searcher.python_sources import digest_of_sources, is_installed
from searcher.recipe import Recipe
from searcher.version import installed_versions

if TYPE_CHECKING:
    import torch

    from searcher.merge.engine import MergeEngine
    from searcher.pool.pool import Pool

PACKAGES = ("numpy", "torch", "transformers", "tokenizers", "safetensors", "peft", "lm-eval", "datasets", "vllm")
_CODE = ("merge", "pool", "objectives", "language", "recipe.py", "candidate.py", "evaluator.py", "isolation.py")
_UNSCORED = ("name", "reference", "target")  # keys of an objective's section that do not touch its scores


class Keyed(Protocol):
    """What is needed of an objective; see :class:`searcher.objectives.base.Objective`."""

    name: str

    @property
    def files(self) -> tuple[Path, ...]:
        """Files whose content the scores depend on."""

    @property
    def splits(self) -> Mapping[Split, slice]:
        """Slice of each split."""


class ScoreKeys:
    """Keys of the scores of one run.

    Args:
        context: What all scores of the run depend on; JSON data.
        sources: Digest of each source model, by name.
        reference: Name of the source whose architecture and tokenizer stand for all.
        objectives: By name, what each objective is; None where that is not known for certain.
    """

    def __init__(
        self,
        context: Mapping[str, Any],
        sources: Mapping[str, str],
        reference: str,
        objectives: Mapping[str, Mapping[str, Any] | None],
    ) -> None:
        self._sources, self._reference = dict(sources), reference
        self._by_objective = {
            name: None if identity is None else digest_of({"context": context, "objective": identity})
            for name, identity in objectives.items()
        }

    def key(self, recipe: Recipe, objective: str) -> str | None:
        """The key of a recipe's score, 64 hexadecimal digits; None if the score must not be kept."""
        own = self._by_objective[objective]
        code = _code_of_operator(recipe.operator)
        named = {*recipe.models, recipe.base or self._reference, self._reference}
        if own is None or code is None or not named <= self._sources.keys():
            return None
        sources = {name: self._sources[name] for name in named}
        return digest_of({"run": own, "recipe": recipe.digest, "sources": sources, "operator": code})


def make_score_keys(
    pool: Pool,
    engine: MergeEngine,
    objectives: Sequence[Keyed],
    sections: Sequence[Mapping[str, Any]],
    *,
    seed: int,
    loader: str,
    loader_file: Path | None,
    python_functions: bool = False,
) -> ScoreKeys:
    """Keys for the scores of a run.

    Args:
        pool: Its source models; their files are hashed.
        engine: Knows device and storage type.
        objectives: In config order.
        sections: Their sections of the config, defaults filled in.
        seed: Given to every objective.
        loader: The config's ``pool.loader``.
        loader_file: Source file of a Python loader.
        python_functions: Whether scores that a user's Python code gives may be kept (objectives ``python``, scorers,
            functions of local tasks). Its source files are part of the key, but not what it reads from elsewhere.
    """
    layout = [[t.name, t.offset, t.size] for t in pool.layout.tensors]
    loaded_by = "" if loader_file is None else _digest_or_none(loader_file)
    is_known = loaded_by is not None and (loader_file is not None or not loader.startswith("python:"))
    context = {
        "code": code_digest(),
        "versions": installed_versions(PACKAGES),
        "device": device_description(engine.device),
        "dtype": str(engine.dtype),
        "layout": digest_of(layout),
        "loader": [loader.rpartition(":")[2] if loader_file else loader, loaded_by],
        "seed": seed,
    }
    named = zip(objectives, sections, strict=True)
    identities = {o.name: identity_of(o, s, python_functions) if is_known else None for o, s in named}
    models = pool.models if pool.base is None else (pool.base, *pool.models)
    sources = {source.name: digest_of(dict(source.files)) for source in models}
    return ScoreKeys(context, sources, pool.reference.name, identities)


def identity_of(objective: Keyed, section: Mapping[str, Any], python_functions: bool = False) -> dict[str, Any] | None:
    """What decides an objective's scores besides the model, as JSON data; None if that is not known for certain.

    An objective that depends on more than its settings and ``files`` has an attribute ``identity``: JSON data, or None
    if its scores must never be kept.
    """
    extra = getattr(objective, "identity", {})
    code = _code_of_class(type(objective))
    user_code = [path for path in objective.files if path.suffix == ".py" and not is_installed(path)]
    is_function = section["type"] == "python"
    if extra is None or code is None or (user_code and not python_functions) or (is_function and not user_code):
        return None
    try:
        settings = {k: _plain(v) for k, v in section.items() if k not in _UNSCORED}
        files = [_file_digest(path) for path in objective.files]
        splits = {name: [part.start, part.stop] for name, part in objective.splits.items()}
        return {"settings": settings, "files": files, "splits": splits, "code": code, "extra": _plain(extra)}
    except (TypeError, OSError, SyntaxError):
        return None


def digest_of(data: object) -> str:
    """SHA-256 of JSON data in canonical form."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@cache
def code_digest() -> str:
    """SHA-256 over the source of everything in this package that decides numbers; an edit there forgets all scores."""
    root = Path(__file__).parent
    files = [f for name in _CODE for f in ([root / name] if name.endswith(".py") else (root / name).rglob("*.py"))]
    content = {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}
    return digest_of(content)


def device_description(device: torch.device | str) -> list[str]:
    """Kind of device, and what of its model can change the last bits of a score."""
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return [kind, torch.cuda.get_device_name(device), torch.get_float32_matmul_precision()]
    return [kind, torch.backends.cpu.get_cpu_capability() if kind == "cpu" else ""]


def _file_digest(path: Path) -> str:
    """Of a Python file with all that it imports from beside it, of other files their content."""
    return digest_of_sources(path) if path.suffix == ".py" else hashlib.sha256(path.read_bytes()).hexdigest()


def _digest_or_none(path: Path) -> str | None:
    try:
        return digest_of_sources(path)
    except (OSError, SyntaxError):
        return None


@cache
def _code_of_operator(name: str) -> str | None:
    from searcher.merge.operators.base import OPERATORS

    return _code_of_class(OPERATORS.get(name))


@cache
def _code_of_class(component: Callable[..., Any]) -> str | None:
    """Empty for this package's own components, else the digest of the source that defines one; None if unknown."""
    if component.__module__.split(".")[0] == "searcher":
        return ""
    try:
        file = inspect.getsourcefile(component)
    except TypeError:
        return None
    return None if file is None else _digest_or_none(Path(file))


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON data
    """A setting as JSON data.

    Raises:
        TypeError: If it has no plain form; the text of an object could be that of another one.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no plain form")
