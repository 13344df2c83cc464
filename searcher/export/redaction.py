"""Keeps local paths and secrets out of what an export publishes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

_URL = r"(?<![\w])(?:file|ssh|s3|gs|https?)://[^\s`'\"<>|]+"
_POSIX = r"(?<![\w.)\]/-])~?(?:/[\w.@+%=~-](?:[\w.@+%=~ -]*[\w.@+%=~-])?)+/?"
_WINDOWS = r"(?<![\w])(?:[A-Za-z]:[\\/]|\\\\)[^\s`'\"<>|]*"
_LOCATION = re.compile(f"{_URL}|{_WINDOWS}|{_POSIX}")
_TOKEN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{8,}|sk-[A-Za-z0-9_-]{8,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|AKIA[A-Z0-9]{12,}"
    r"|xox[abprs]-[A-Za-z0-9-]{8,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
_MIN_SECRET = 8  # characters; shorter values of such variables are flags and numbers


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text without absolute paths, URLs, access tokens and values of secret environment variables.

    Args:
        text: Any text that is to be published.
        environment: Variables whose names speak of keys, tokens or passwords are secret; those of this process by
            default.
    """
    variables = os.environ if environment is None else environment
    secrets = {v for name, v in variables.items() if _SECRET_NAME.search(name) and len(v) >= _MIN_SECRET}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "[secret]")
    return _LOCATION.sub("[path]", _TOKEN.sub("[secret]", text))


def public_name(name: str) -> str:
    """A name as it may be published: the last component if it looks like a path, without tokens."""
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?", name):
        return redact(name)
    return redact(re.split(r"[\\/]", name.rstrip("\\/"))[-1])
