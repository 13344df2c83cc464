"""JSON from untrusted files: bounded size, no duplicate keys, no NaN, errors that name the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from searcher.errors import PoolError

MAX_CONFIG_BYTES = 4 << 20  # the largest config.json and adapter_config.json in use have some 100 KB


def parse_json(text: bytes, *, where: str) -> Any:  # noqa: ANN401
    """The value of a JSON text in UTF-8.

    Args:
        text: The bytes.
        where: What they are, for the message.

    Raises:
        PoolError: If the text is not JSON, repeats a key in one object, or holds NaN or infinity.
    """
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise PoolError(
            f"The JSON is malformed: {reason}.", where=where, fix="Download or save the file again, or correct it."
        ) from error


def read_json_object(path: Path, *, limit: int = MAX_CONFIG_BYTES) -> dict[str, Any]:
    """The JSON object in a file of at most ``limit`` bytes.

    Raises:
        PoolError: If it cannot be read, is too large, or is not a JSON object.
    """
    try:
        if not path.is_file():
            raise PoolError("The file is missing.", where=str(path), fix="Download or save the model folder again.")
        with path.open("rb") as file:
            text = file.read(limit + 1)
    except OSError as error:
        raise PoolError(
            f"The file cannot be read: {error.strerror or error}.", where=str(path), fix="Check path and permissions."
        ) from error
    if len(text) > limit:
        raise PoolError(
            f"The file is larger than {limit} bytes.", where=str(path), fix="Give the file that belongs to the model."
        )
    content = parse_json(text, where=str(path))
    if not isinstance(content, dict):
        raise PoolError(
            "The file is not a JSON object.", where=str(path), fix="Give the file that belongs to the model."
        )
    return content


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {repeated[:80]!r} stands twice in one object")
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
