"""Errors a user can act on: what happened, where, what to do.

Every error that a user may meet derives from :class:`SearcherError` and renders as three lines. The
exit codes are those of the command line: 2 bad usage or config, 3 bad pool, 4 evaluation failed beyond
its error budget.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable


class SearcherError(Exception):
    """An error in three lines.

    Args:
        what: What happened, one sentence.
        where: File, line, key or tensor it concerns.
        fix: What the user can do about it.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        super().__init__(what)
        self.what = " ".join(what.split())
        self.where = " ".join(where.split())
        self.fix = " ".join(fix.split())

    @override
    def __str__(self) -> str:
        return f"error: {self.what}\n  where: {self.where}\n  what to do: {self.fix}"


class ConfigError(SearcherError):
    """The config file or the command line is wrong (exit code 2)."""


class RunError(SearcherError):
    """The run folder cannot be used: in use, of another config, damaged (exit code 2)."""


class ExportError(SearcherError):
    """A point cannot be exported, or its export does not reproduce its scores (exit code 2)."""


class PoolError(SearcherError):
    """The source models cannot be merged as they are (exit code 3)."""

    exit_code: ClassVar[int] = 3


class ErrorBudgetExceeded(SearcherError):
    """Too many evaluations failed (exit code 4)."""

    exit_code: ClassVar[int] = 4


class CandidateError(Exception):
    """One candidate cannot be scored; the run goes on and records the failure.

    Args:
        error_class: Short stable name that is recorded, such as ``NonFiniteWeights``.
        message: Detail for the log.
    """

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class


class UnknownNameError(ConfigError, KeyError):
    """A component name that no registry holds; suggests the nearest known one."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        self.kind, self.name, self.known = kind, name, tuple(sorted(known))
        hint = nearest(name, self.known)
        what = f"Unknown {kind} {name!r}." + (f" Did you mean {hint!r}?" if hint else "")
        listed = ", ".join(self.known)
        super().__init__(what, where=where or f"{kind} name", fix=f"Use one of: {listed}.")

    __str__ = SearcherError.__str__  # KeyError would print the repr


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, or None if none is close."""
    matches = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None
