"""Texts and numbers as the report prints them: cleaned, redacted, rounded to what the errors allow."""

from __future__ import annotations

import html
import math
import re
import shlex
import statistics
from collections.abc import Iterable, Sequence
from typing import Final

UNSCORED: Final = "–"  # noqa: RUF001 - an en dash stands for a missing number

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]|\x9b[0-?]*[ -/]*[@-~]")
# C0 and C1 controls apart from tab and newline; bidirectional overrides, which can make a text read as another
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_SURROGATES = re.compile("[\ud800-\udfff]")  # from undecodable file names; they cannot be written as UTF-8
_SECRETS = re.compile(
    r"\bsk-(?=[A-Za-z_\-]*\d)[A-Za-z0-9_\-]{16,}"
    r"|\b(?:hf_|gh[oprsu]_|github_pat_|glpat-|xox[abprs]-|pypi-)[A-Za-z0-9_\-]{12,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bAIza[A-Za-z0-9_\-]{30,}"
    r"|\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*"
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/\-]{8,}=*"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
REDACTED: Final = "[redacted]"


def clean(text: str, secrets: Iterable[str] = ()) -> str:
    """Text without terminal sequences, control characters and secrets; newlines and tabs are kept.

    Args:
        text: Any text, perhaps hostile.
        secrets: Exact texts to remove besides what looks like a key; those under 6 characters are ignored.
    """
    text = _CONTROLS.sub("", _ANSI.sub("", text.replace("\r\n", "\n")))
    text = _SURROGATES.sub("\ufffd", text)
    for secret in sorted(filter(lambda secret: len(secret) >= 6, secrets), key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return _SECRETS.sub(REDACTED, text)


def clean_line(text: str, secrets: Iterable[str] = ()) -> str:
    """Like :func:`clean`, on one line."""
    return " ".join(clean(text, secrets).split())


def plotly_text(text: str, limit: int = 48) -> str:
    """Text for a plot: shortened, and escaped because plotly reads tags such as ``<a>`` in labels."""
    line = clean_line(text)
    return html.escape(line if len(line) <= limit else line[: limit - 1] + "…", quote=False)


def decimals_for(values: Sequence[float], errors: Sequence[float]) -> int:
    """Decimals to print a column of scores with: two digits of the typical error, else of the spread.

    Args:
        values: Scores; nan allowed.
        errors: Their standard errors; nan or 0 where unknown.

    Returns:
        Between 0 and 6.
    """
    known = [error for error in errors if math.isfinite(error) and error > 0]
    scored = [value for value in values if math.isfinite(value)]
    if known:
        step = statistics.median(known)
    else:
        spread = max(scored, default=0.0) - min(scored, default=0.0)
        step = (spread or max((abs(value) for value in scored), default=1.0) or 1.0) / 10
    return min(6, max(0, 1 - math.floor(math.log10(step))))


def number(value: float, decimals: int) -> str:
    """A fixed number of decimals, a true minus sign, a dash for nan."""
    if not math.isfinite(value):
        return UNSCORED
    if abs(value) >= 1e7:
        return f"{value:.3e}"
    text = f"{value:.{decimals}f}"
    return "\u2212" + text[1:] if text.startswith("-") and float(text) != 0 else text.lstrip("-")


def with_error(value: float, error: float, decimals: int) -> str:
    """``0.942 ± 0.011``; without the second part if the error is unknown."""
    text = number(value, decimals)
    return f"{text} ± {number(error, decimals)}" if math.isfinite(value) and math.isfinite(error) else text


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, a dash for nan."""
    if not math.isfinite(value):
        return UNSCORED
    return f"{value:.{digits}g}".replace("-", "\u2212") if "e" not in f"{value:.{digits}g}" else f"{value:.2e}"


def duration(seconds: float) -> str:
    """``2 h 05 min``, ``3 min 20 s`` or ``41 s``."""
    if not math.isfinite(seconds) or seconds < 0:
        return UNSCORED
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def count(n: int, noun: str) -> str:
    """``1 point``, ``3 points``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def export_command(run: str, candidate: int) -> str:
    """The shell command that exports a point; the run folder is quoted."""
    return f"searcher export {shlex.quote(run)} --point {candidate} --to export/point-{candidate}"
