"""How a configuration names a model: a folder or hub id, perhaps with a revision, perhaps with an adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelReference:
    """A model, and an adapter on top of it or None.

    Args:
        path: Folder or hub id ``organisation/name``.
        revision: Branch, tag or commit on the hub.
        lora: Folder or hub id of the adapter.
        lora_revision: Its revision on the hub.
    """

    path: str
    revision: str | None = None
    lora: str | None = None
    lora_revision: str | None = None

    @property
    def text(self) -> str:
        """``path@revision+lora@revision``, as one would write it."""
        own = _joined(self.path, self.revision)
        return own if self.lora is None else f"{own}+{_joined(self.lora, self.lora_revision)}"


def parse_reference(value: object) -> ModelReference:
    """A reference from ``path``, ``path@revision``, ``path+lora`` or ``{model: ..., lora: ...}``.

    In the long form ``model`` and ``lora`` are texts or ``{path: ..., revision: ...}``, in which ``+`` and ``@`` have
    no meaning.

    Raises:
        ValueError: If the value has another form; the message says what is wrong.
    """
    if isinstance(value, str):
        own, *adapters = value.split("+")
        if len(adapters) > 1:
            raise ValueError("it has more than one '+'; write {model: ..., lora: ...} if a path holds one")
        return ModelReference(*_path(own), *(_path(adapters[0]) if adapters else (None, None)))
    if not isinstance(value, Mapping) or "path" in value:
        return ModelReference(*_path(value))
    unknown = sorted(set(value) - {"model", "lora"})
    if unknown or "model" not in value:
        raise ValueError(f"key {unknown[0]!r} is not known here" if unknown else "key 'model' is missing")
    lora = (None, None) if value.get("lora") is None else _path(value["lora"])
    return ModelReference(*_path(value["model"]), *lora)


def _path(value: object) -> tuple[str, str | None]:
    """Path and revision."""
    if isinstance(value, str):
        path, *revisions = value.split("@")
        if len(revisions) > 1:
            raise ValueError("it has more than one '@'; write {path: ..., revision: ...} if a path holds one")
        return _text(path), _text(revisions[0]) if revisions else None
    if not isinstance(value, Mapping) or not set(value) <= {"path", "revision"} or "path" not in value:
        raise ValueError("expected a text or {path: ..., revision: ...}")
    revision = value.get("revision")
    return _text(value["path"]), None if revision is None else _text(revision)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise ValueError("a path or revision is empty or no printable text")
    return value.strip()


def _joined(path: str, revision: str | None) -> str:
    return path if revision is None else f"{path}@{revision}"
