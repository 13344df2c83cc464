"""What every benchmark records beside its figures: machine, versions, command."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
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
