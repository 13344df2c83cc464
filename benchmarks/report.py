"""What every benchmark records beside its figures: machine, versions, command."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

_NUMBERS = re.compile(r"\[\n[-+.,\deE\s]*\]")  # a list of them; a JSON string has no line break inside


def parser(description: str) -> argparse.ArgumentParser:
    """An argument parser with the options that all benchmarks share."""
    found = argparse.ArgumentParser(description=description)
    found.add_argument("--quick", action="store_true", help="under a minute, for smoke tests")
    found.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return found


def search_parser(description: str, contestants: Iterable[str], evaluations: int) -> argparse.ArgumentParser:
    """The options of benchmarks that let strategies compete."""
    found = parser(description)
    found.add_argument("--seeds", type=int, default=10, metavar="N", help="searches per strategy (default 10)")
    found.add_argument("--first-seed", type=int, default=0, metavar="N")
    found.add_argument("--evaluations", type=int, default=evaluations, metavar="N", help=f"(default {evaluations})")
    found.add_argument(
        "--only",
        action="append",
        choices=list(contestants),
        metavar="NAME",
        default=[],
        help="this strategy, again for more; figures of others that the file has are kept",
    )
    found.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the curves, with Chromium")
    return found


def known_runs(options: argparse.Namespace) -> dict[str, Any]:
    """With ``--only``: the runs in the file, which are to stay there."""
    if not (options.only and options.json and options.json.exists()):
        return {}
    found: dict[str, Any] = json.loads(options.json.read_text())["runs"]
    return found


def write_result(path: Path | None, figures: Mapping[str, Any], packages: Sequence[str]) -> None:
    """Write figures with machine, versions and command."""
    if path is None:
        return
    record = {
        "command": " ".join(["python", *sys.argv]),
        "machine": {"processor": _processor(), "cores": os.cpu_count(), "system": platform.system()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        **figures,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_NUMBERS.sub(_on_one_line, json.dumps(record, indent=1)) + "\n")


def _on_one_line(found: re.Match[str]) -> str:
    return re.sub(r"\n\s*", " ", found[0]).replace("[ ", "[", 1).removesuffix(" ]") + "]"


def _processor() -> str:
    """Name of the processor, or the architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
