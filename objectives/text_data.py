"""Reading JSONL and text files, whatever is in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from searcher.errors import ConfigError

Cut: TypeAlias = Literal["file", "paragraph", "line"]

JSONL_SUFFIXES = frozenset({".jsonl", ".ndjson"})
_PARAGRAPH_END = re.compile(r"\n[^\S\n]*\n\s*")  # one blank line or more


@dataclass(frozen=True, eq=False)
class Record:
    """One line of a JSONL file.

    Args:
        fields: The object's keys and values.
        place: File and line, for messages.
    """

    fields: Mapping[str, object]
    place: str

    def text(self, key: str, where: str) -> str:
        """A field as text; whole numbers and fractions are written as JSON writes them.

        Raises:
            ConfigError: If there is no such field, or it is neither text nor a number.
        """
        value = self.fields.get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return json.dumps(value)
        known = ", ".join(map(repr, self.fields)) or "none"
        found = f"has no field {key!r}; it has {known}" if key not in self.fields else f"has no text in {key!r}"
        raise ConfigError(
            f"The example {found}.",
            where=f"{where}, {self.place}",
            fix="Name a field that holds text or a number in every line.",
        )


@dataclass(frozen=True, eq=False)
class Document:
    """A text to score.

    Args:
        text: Not empty, not only white space.
        place: File and line, for messages.
    """

    text: str
    place: str


def read_jsonl(path: Path, where: str) -> list[Record]:
    """Every line of a JSONL file; blank lines are left out.

    Raises:
        ConfigError: If the file cannot be read or a line is not a JSON object; the message names file and line.
    """
    records = []
    for number, line in _lines(path, where):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _not_an_object(f"The line is not JSON: {error}.", f"{where}, {place}") from error
        if not isinstance(fields, dict):
            raise _not_an_object(f"The line is a {type(fields).__name__}, not an object.", f"{where}, {place}")
        records.append(Record(fields, place))
    return records


def read_documents(path: Path, where: str, *, text_key: str = "text", cut: Cut = "paragraph") -> list[Document]:
    """Texts of a file: a field of each line of a ``.jsonl`` or ``.ndjson`` file, or any other file cut into pieces.

    Args:
        path: The file.
        where: Names the objective in messages.
        text_key: Field of a JSONL line.
        cut: Whether a text file is one document, or its paragraphs (between blank lines) or lines are.

    Raises:
        ConfigError: If the file cannot be read or a JSONL line has no text.
    """
    if path.suffix not in JSONL_SUFFIXES:
        return [Document(text, f"{path}, line {line}") for line, text in _pieces(path, where, cut) if text.strip()]
    documents = [Document(r.text(text_key, where), r.place) for r in read_jsonl(path, where)]
    for document in documents:
        if not document.text.strip():
            raise ConfigError("The text is empty.", where=f"{where}, {document.place}", fix="Remove the line.")
    return documents


def _pieces(path: Path, where: str, cut: Cut) -> Iterator[tuple[int, str]]:
    """Number of the first line and text of each piece."""
    if cut == "line":
        yield from ((number, line.rstrip("\n")) for number, line in _lines(path, where))
        return
    text = "".join(line for _, line in _lines(path, where))
    start = 0
    for match in _PARAGRAPH_END.finditer(text) if cut == "paragraph" else ():
        yield text.count("\n", 0, start) + 1, text[start : match.start()]
        start = match.end()
    yield text.count("\n", 0, start) + 1, text[start:]


def _lines(path: Path, where: str) -> list[tuple[int, str]]:
    """Numbered lines, counted from 1. Only line feeds end one: JSON strings may hold other separators."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return list(enumerate(file, 1))
    except (OSError, UnicodeDecodeError) as error:
        detail = error.strerror if isinstance(error, OSError) else f"it is not UTF-8 ({error})"
        raise ConfigError(
            f"The file cannot be read: {detail}.", where=f"{where}, {path}", fix="Correct the path or the file."
        ) from error


def _not_an_object(what: str, where: str) -> ConfigError:
    return ConfigError(what, where=where, fix='Write one JSON object per line, such as {"question": "...", ...}.')
