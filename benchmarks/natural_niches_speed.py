"""Wall time per forward pass, ours and the M2N2 authors', in turns on the same machine.

python benchmarks/natural_niches_speed.py --authors-python ../authors-venv/bin/python --code ../natural_niches \
    --json benchmarks/results/natural_niches_speed.json

Both run M2N2 from scratch and from the two experts and have the test accuracy of the archive's best network after every
pass. They take turns of some passes each, so that both meet the same load; the ratio is that of the medians over turns.
Compilation and the first passes are left out. Required: theirs at least 5 times ours; goal: 10 times. See
`benchmarks/natural_niches_authors.py` for their code and its environment. Ours runs on one thread unless told otherwise,
because products this small wait for a second thread longer than they gain when anything else runs; JAX uses all cores.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import torch
from natural_niches import EXPERTS, METHODS, Digits, Recorder, Start, first_networks
from report import parser, write_result

WARM_UP = 60
Times = tuple[float, float]
"""Milliseconds per pass on the clock, and of processor time, which other users of the machine hardly change."""


class Theirs:
    """Their code in a process of its own that waits between turns."""

    def __init__(self, python: Path, code: Path, setting: str) -> None:
        script = Path(__file__).with_name("natural_niches_authors.py")
        command = [str(python), str(script), "--code", str(code), "--setting", setting, "--paced"]
        free = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=free
        )
        self._answer()

    def turn(self, passes: int) -> Times:
        """One turn."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{passes}\n")
        self._process.stdin.flush()
        wall, cpu = self._answer()
        return 1000 * wall / passes, 1000 * cpu / passes

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def _answer(self) -> tuple[float, ...]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("The authors' code ended early; run natural_niches_authors.py --paced by hand to see why.")
        return tuple(map(float, line.split()))


class Ours:
    """Our code with the same turns."""

    def __init__(self, setting: str, digits: Digits) -> None:
        first = first_networks(setting, digits, 0, str(EXPERTS))
        self._recorder = Recorder(METHODS["m2n2"](Start(digits, setting, first, 0, 0)), digits.test)

    def turn(self, passes: int) -> Times:
        """One turn."""
        started, busy = time.perf_counter(), time.process_time()
        for _ in range(passes):
            self._recorder.advance()
        wall, cpu = time.perf_counter() - started, time.process_time() - busy
        return 1000 * wall / passes, 1000 * cpu / passes


def measure(setting: str, python: Path, code: Path, turns: int, passes: int) -> dict[str, Any]:
    """Both in turns."""
    theirs, ours = Theirs(python, code, setting), Ours(setting, Digits())
    theirs.turn(WARM_UP)
    ours.turn(WARM_UP)
    pairs = [(ours.turn(passes), theirs.turn(passes)) for _ in range(turns)]
    theirs.close()
    row: dict[str, Any] = {"passes": turns * passes}
    for i, kind in enumerate(("wall", "cpu")):
        mine, other = ([pair[side][i] for pair in pairs] for side in (0, 1))
        row[f"ours_{kind}_ms"] = [round(t, 3) for t in mine]
        row[f"authors_{kind}_ms"] = [round(t, 3) for t in other]
        row[f"median_{kind}_ms"] = [round(statistics.median(side), 3) for side in (mine, other)]
        row[f"times_less_{kind}"] = round(statistics.median(other) / statistics.median(mine), 2)
    return row


def main() -> None:
    """Measure, write and print."""
    options = parser(__doc__ or "")
    options.add_argument("--authors-python", type=Path, required=True, help="interpreter with their requirements")
    options.add_argument("--code", type=Path, required=True, help="folder of their code")
    options.add_argument("--turns", type=int, default=10)
    options.add_argument("--passes", type=int, default=60, help="passes per turn")
    options.add_argument("--threads", type=int, default=1, help="of torch; more pay on an idle machine only")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    turns = 3 if chosen.quick else chosen.turns
    figures: dict[str, Any] = {"threads": chosen.threads, "load_before": [round(x, 2) for x in os.getloadavg()]}
    for setting in ("scratch", "pretrained"):
        row = measure(setting, chosen.authors_python, chosen.code, turns, chosen.passes)
        figures[setting] = row
        for kind in ("wall", "cpu"):
            ours, theirs = row[f"median_{kind}_ms"]
            print(f"{setting}: {ours} and {theirs} ms per pass ({kind}), {row[f'times_less_{kind}']} times less")
    write_result(chosen.json, {**figures, "required_times_faster": 5, "goal_times_faster": 10}, ["numpy", "torch"])


if __name__ == "__main__":
    main()
