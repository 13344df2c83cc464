"""Access to the keys of a YAML document; every refusal names the file, the line, the key and what to do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NoReturn

from searcher.errors import ConfigError, nearest
from searcher.mergekit.model_reference import ModelReference, parse_reference
from searcher.yaml_file import KeyPath, YamlDocument


class Keys:
    """Reads the values of one document.

    Args:
        document: The document.
    """

    def __init__(self, document: YamlDocument) -> None:
        self.document = document

    def fail(self, path: KeyPath, what: str, fix: str) -> NoReturn:
        """Refuse the value at a path."""
        raise ConfigError(what, where=self.document.where(path), fix=fix)

    def unknown(self, name: str, path: KeyPath, known: Collection[str], kind: str) -> NoReturn:
        """Refuse a name that is none of the known ones; suggests the nearest."""
        hint = nearest(name, known)
        start = f"Did you mean {hint!r}? " if hint else ""
        self.fail(path, f"Unknown {kind}: {name[:60]!r}.", f"{start}Known here: {', '.join(sorted(known))}.")

    def check(self, entry: object, path: KeyPath, known: Collection[str]) -> None:
        """Refuse what is no mapping, and keys that nobody knows."""
        if not isinstance(entry, dict):
            self.fail(path, "Expected a mapping of keys.", f"Write `KEY: VALUE` with keys of: {', '.join(known)}.")
        for key in entry:
            if key not in known:
                self.unknown(key, (*path, key), known, "key")

    def required(self, entry: Mapping[str, Any], path: KeyPath, key: str) -> Any:  # noqa: ANN401 - YAML is untyped
        """The value of a key that must be there."""
        if entry.get(key) is None:
            self.fail((*path, key), f"Key {key!r} is missing.", f"Add `{key}:`.")
        return entry[key]

    def items(self, entry: Mapping[str, Any], path: KeyPath, key: str) -> list[Any]:
        """A list that must be there and not be empty."""
        value = self.required(entry, path, key)
        if not isinstance(value, list) or not value:
            self.fail(
                (*path, key), f"Key {key!r} is no list, or an empty one.", "Write one entry per line, after `- `."
            )
        return value

    def text(self, key: str) -> str | None:
        """A text at the top level, or None if the key is not given."""
        value = self.document.data.get(key)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            self.fail((key,), f"Key {key!r} is no text.", "Write a text.")
        return value

    def model(self, entry: Mapping[str, Any], path: KeyPath) -> ModelReference:
        """The model that an entry names."""
        return self.reference(self.required(entry, path, "model"), (*path, "model"))

    def optional_model(self, entry: Mapping[str, Any], path: KeyPath, key: str) -> ModelReference | None:
        """The model under a key, or None if the key is not given."""
        value = entry.get(key)
        return None if value is None else self.reference(value, (*path, key))

    def reference(self, value: object, path: KeyPath) -> ModelReference:
        """A value as a model."""
        try:
            return parse_reference(value)
        except ValueError as error:
            fix = "Give a folder or hub id: PATH, PATH@REVISION, PATH+ADAPTER or {model: PATH, lora: PATH}."
            self.fail(path, f"The model cannot be read: {error}.", fix)
