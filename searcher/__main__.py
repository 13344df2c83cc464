"""The console script: until the command line is imported, Ctrl-C simply ends the process."""

from __future__ import annotations

import signal


def main() -> None:
    """Import the command line and run it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a traceback through half-imported modules helps nobody
    from searcher import cli

    cli.main()


if __name__ == "__main__":
    main()
