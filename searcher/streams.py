"""Standard streams that may be closed, full, in another encoding, or wanted for JSON alone."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


def prepare() -> None:
    """Open closed standard streams on nothing, and replace what the terminal's encoding lacks.

    Without the first, a file of the run could get the number of a closed stream, and be printed into.
    """
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            if getattr(sys, name) is None:
                setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
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
