"""Standard streams that may be closed, full, in another encoding, or wanted for JSON alone."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


def prepare() -> None:
    """Replace what the terminal's encoding lacks instead of failing on it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


@contextlib.contextmanager
def stdout_for_json(wanted: bool) -> Iterator[None]:
    """Send everything that is printed meanwhile, by child processes too, to stderr, so that stdout is JSON alone."""
    if not wanted:
        yield
        return
    sys.stdout.flush()
    saved = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
        sys.stdout.flush()
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def leave(code: int) -> None:
    """Exit with a code even if stdout is closed or full."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - flushing it again at exit would fail again
    raise SystemExit(code)
