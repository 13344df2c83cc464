"""How long a new user waits: the quickstart after installation, the first help page, the import.

python benchmarks/quickstart.py --json benchmarks/results/quickstart.json

Whole processes are timed from outside. Goals on two cores: quickstart (200 evaluations, export, re-scoring and
report) at most 60 s, `searcher --help` and `import searcher` under 0.5 s. A bare `python -c pass` is timed in the
same run as the floor.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import parser, write_result

ROOT = Path(__file__).parents[1]


def seconds(arguments: list[str], repeats: int) -> list[float]:
    """Wall times of a Python process."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        times.append(round(time.perf_counter() - started, 3))
    return times


def main() -> None:
    """Measure and print."""
    options = parser(__doc__ or "").parse_args()
    repeats = 3 if options.quick else 7
    cli = ["-m", "searcher.cli"]
    figures: dict[str, list[float]] = {
        "python_floor_s": seconds(["-c", "pass"], repeats),
        "import_s": seconds(["-c", "import searcher"], repeats),
        "help_s": seconds([*cli, "--help"], repeats),
    }
    with tempfile.TemporaryDirectory() as folder:
        n_runs = 1 if options.quick else 3
        runs = [str(Path(folder) / str(i)) for i in range(n_runs)]
        config = ["optimize", "configs/quickstart.yaml", "--run"]
        figures["quickstart_s"] = [seconds([*cli, *config, run], 1)[0] for run in runs]
        figures["front_s"] = seconds([*cli, "front", runs[0]], repeats)
    write_result(options.json, figures, ["numpy", "torch", "optuna"])
    for name, times in figures.items():
        print(f"{name}: median {statistics.median(times):.2f}, {min(times):.2f} to {max(times):.2f}")


if __name__ == "__main__":
    main()
