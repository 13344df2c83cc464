"""The console script: Ctrl-C before the command line is there ends the process without a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INTERRUPTED = """
import os, signal, sys, types
cli = types.ModuleType("searcher.cli")
cli.main = lambda: os.kill(os.getpid(), signal.SIGINT)
sys.modules["searcher.cli"] = cli
from searcher.__main__ import main
main()
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_an_interrupt_while_importing_is_silent() -> None:
    done = run("-c", INTERRUPTED)
    assert done.returncode == -signal.SIGINT
    assert done.stderr == ""


def test_the_module_runs_the_command_line() -> None:
    done = run("-m", "searcher", "--help")
    assert done.returncode == 0
    assert "optimize" in done.stdout
