"""Reading YAML from strangers: bounded in size and depth, no aliases, no duplicate keys, line numbers kept."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from searcher.errors import ConfigError

MAX_BYTES = 1_000_000
MAX_DEPTH = 12

KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True)
class YamlDocument:
    """Plain data and where each key stands.

    Args:
        data: Mappings, lists and scalars.
        lines: Line number (from 1) of each key path.
        source: File name for messages.
    """

    data: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)
    source: str = "config"

    def where(self, path: Sequence[str | int]) -> str:
        """File, line and key of a path; the nearest known parent gives the line."""
        key = tuple(path)
        dotted = ".".join(str(part) for part in key) or "(top level)"
        while key and key not in self.lines:
            key = key[:-1]
        line = f", line {self.lines[key]}" if key in self.lines else ""
        return f"{self.source}{line}, key {dotted}"


def read_yaml(path: Path) -> YamlDocument:
    """Read a YAML mapping from a file.

    Raises:
        ConfigError: If the file is missing, too large, not UTF-8, not valid YAML, nested deeper than 12, has
            aliases or duplicate keys, or is no mapping.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ConfigError(
                f"The config file has {size} bytes; at most {MAX_BYTES} are read.",
                where=str(path),
                fix="Give a config file; data belongs into files that it names.",
            )
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"The config file cannot be read: {reason}.", where=str(path), fix="Check the path and its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            "The config file is not UTF-8 text.", where=f"{path}, byte {error.start}", fix="Save it as UTF-8."
        ) from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> YamlDocument:
    """Parse YAML text; see :func:`read_yaml`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        _check_events(YAML(typ="rt"), text, source)
        loaded = YAML(typ="rt").load(io.StringIO(text))
    except DuplicateKeyError as error:
        mark = error.problem_mark
        key = str(error.problem).split('"')[1] if '"' in str(error.problem) else "a key"
        raise ConfigError(
            f"Key {key!r} stands twice.", where=f"{source}, line {mark.line + 1}", fix="Remove one of the two."
        ) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(
            f"Not valid YAML: {error.problem or error.context}.", where=f"{source}{line}", fix="Mend the syntax there."
        ) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"Not valid YAML: {error}.", where=source, fix="Mend the syntax.") from error
    if not isinstance(loaded, dict):
        found = "nothing" if loaded is None else type(loaded).__name__
        raise ConfigError(
            f"Expected a mapping of keys, but found {found}.", where=source, fix="Start from configs/quickstart.yaml."
        )
    lines: dict[KeyPath, int] = {}
    return YamlDocument(_plain(loaded, (), lines), lines, source)


def _check_events(yaml: Any, text: str, source: str) -> None:  # noqa: ANN401 - ruamel is untyped
    """Refuse aliases (a few bytes can stand for gigabytes) and deep nesting before anything is built."""
    from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent

    depth = 0
    for event in yaml.parse(io.StringIO(text)):
        line = f"{source}, line {event.start_mark.line + 1}"
        if isinstance(event, AliasEvent):
            raise ConfigError(f"Alias *{event.anchor} is not allowed.", where=line, fix="Write the value out.")
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ConfigError(f"Nested deeper than {MAX_DEPTH} levels.", where=line, fix="No key needs such depth.")


def _plain(node: Any, path: KeyPath, lines: dict[KeyPath, int]) -> Any:  # noqa: ANN401 - YAML is untyped
    """Built-in types instead of ruamel's; notes the line of each key."""
    marks: Mapping[Any, Any] = (getattr(node, "lc", None) and node.lc.data) or {}
    if isinstance(node, dict):
        for key in node:
            lines[(*path, str(key))] = marks[key][0] + 1 if key in marks else 0
        return {str(key): _plain(value, (*path, str(key)), lines) for key, value in node.items()}
    if isinstance(node, list):
        for i in range(len(node)):
            lines[(*path, i)] = marks[i][0] + 1 if i in marks else 0
        return [_plain(value, (*path, i), lines) for i, value in enumerate(node)]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return None if node is None else str(node)


def parse_value(text: str, source: str) -> Any:  # noqa: ANN401 - YAML is untyped
    """A value as it would be read after ``key:`` in a config file."""
    return parse_yaml(f"value: {text}\n", source).data["value"]
