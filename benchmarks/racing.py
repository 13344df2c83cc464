"""What racing, halving and item selection save: example evaluations, on the quickstart's digits pool.

python benchmarks/racing.py --json benchmarks/results/racing.json

Every seed runs the quickstart search in full and with each of them. Two figures per variant: the example evaluations of
the whole run, and those it needed to reach the hypervolume that both it and the full run reach. Goal: 3 times
fewer at equal hypervolume. `oracle` is what no stopping rule can beat on the same candidates: one that knows
before the first example whether a candidate will enter the front, and scores only those that will.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from report import parser, write_result

from searcher import session
from searcher.candidate import Evaluation
from searcher.config import load_config
from searcher.finished_run import open_run
from searcher.history import History

ROOT = Path(__file__).parents[1]
VARIANTS: dict[str, tuple[str, ...]] = {
    "full": (),
    "racing": ("racing.enabled=true", "racing.block=16"),
    "racing, margin 0.03": ("racing.enabled=true", "racing.block=16", "racing.margin=0.03"),
    "halving": ("halving.enabled=true",),
    "item selection": ("item_selection.enabled=true", "item_selection.examples=50"),
}


def history_of(seed: int, n: int, overrides: Sequence[str], folder: Path) -> History:
    """One search of ``n`` candidates."""
    settings = [f"seed={seed}", f"budget.evaluations={n}", "output.export=[]", "cache.enabled=false", *overrides]
    session.start(load_config(ROOT / "configs" / "quickstart.yaml", settings), folder)
    return open_run(folder).history


def searches(history: History) -> list[Evaluation]:
    """Evaluations on the search examples, in recorded order."""
    return [e for (_, split), e in history.evaluations.items() if split == "search"]


def examples_of(evaluation: Evaluation, history: History) -> int:
    """Search examples that an evaluation scored; none if it is a copy or failed."""
    if evaluation.copied_from is not None or evaluation.error is not None:
        return 0
    scored = {o.name: o.n_examples["search"] for o in history.objectives}
    if evaluation.stopped is not None:
        scored |= evaluation.stopped.scored
    return sum(scored.values())


def examples_until(history: History, volume: float) -> int:
    """Example evaluations until the front's hypervolume is at least this."""
    reached = next(n for n, found in history.hypervolumes if found >= volume)
    return sum(examples_of(e, history) for e in searches(history)[:reached])


def oracle(history: History) -> int:
    """Example evaluations of a full run's candidates that entered the front when they came, baselines included."""
    entered, front = 0, np.empty((0, len(history.objectives)))
    for evaluation in searches(history):
        fitness = history.fitness(evaluation.candidate)
        is_baseline = history.candidates[evaluation.candidate].origin == "baseline"
        if fitness is None:
            continue
        if is_baseline or not (front >= fitness).all(axis=1).any():
            entered += examples_of(evaluation, history)
        front = np.vstack([front, fitness])
    return entered


def compare(seed: int, n: int, folder: Path) -> dict[str, Any]:
    """All variants of one seed."""
    found = {name: history_of(seed, n, sets, folder / f"{seed}-{name}") for name, sets in VARIANTS.items()}
    full = found["full"]
    row: dict[str, Any] = {"seed": seed, "oracle_ratio": full.examples_scored / oracle(full)}
    for name, history in found.items():
        common = min(history.hypervolume, full.hypervolume)
        row[name] = {
            "example_evaluations": history.examples_scored,
            "stopped": history.n_stopped,
            "hypervolume": history.hypervolume,
            "ratio": full.examples_scored / history.examples_scored,
            "ratio_at_equal_hypervolume": examples_until(full, common) / examples_until(history, common),
        }
    return row


def main() -> None:
    """Measure and print."""
    options = parser(__doc__ or "").parse_args()
    seeds, n = (range(1), 80) if options.quick else (range(10), 200)
    with tempfile.TemporaryDirectory() as folder:
        rows = [compare(seed, n, Path(folder)) for seed in seeds]
    write_result(options.json, {"candidates": n, "goal_ratio": 3, "runs": rows}, ["numpy", "torch", "optuna"])
    for name in VARIANTS:
        medians = {key: statistics.median(row[name][key] for row in rows) for key in rows[0][name]}
        print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in medians.items()))
    print(f"oracle: ratio {statistics.median(row['oracle_ratio'] for row in rows):.3g}")


if __name__ == "__main__":
    main()
