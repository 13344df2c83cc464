"""The version of searcher, and of the packages it stands on."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

__version__ = "0.1.0"


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """Versions of those packages that are installed, by name."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
