"""The SmolLM2 search, end to end: does it beat every expert and uniform averaging on the worst of four tasks?

python benchmarks/smollm2.py --json benchmarks/results/smollm2.json

Runs configs/smollm2.yaml after ``make smollm2`` or examples/smollm2/prepare.py has put the pool into place, and
reads the answer from the finished run: the worst task of the most balanced point and of each baseline, on the
questions that guided the search and on held-out ones; evaluations; seconds for each. Goals on two cores: a worst
task of 0.60 on held-out questions within 60 evaluations, 5 seconds for one evaluation of a searched candidate (the
pool's reference search reached 0.55, on its search questions, at 20 s), an hour in all.

Options: --quick (three candidates, 4 questions of each task: does it run at all?), --seeds N (repeats of the search),
--run FOLDER (keep the run folders there), --set KEY=VALUE (as for ``searcher optimize``).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import Any

from report import parser, write_result

import searcher
from searcher.candidate import Split

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "configs" / "smollm2.yaml"
QUICK = ("baselines=none", "budget.evaluations=3", "output.export=[]")


def overrides_of(quick: bool, given: Sequence[str]) -> list[str]:
    """Overrides of the config; a quick run scores 4 questions of each task."""
    few = [f"objectives.{i}.limit={{search: 4, held_out: 4}}" for i in range(4)]
    return [*(QUICK if quick else ()), *(few if quick else ()), *given]


def search(folder: Path, seed: int, overrides: Sequence[str]) -> dict[str, Any]:
    """One run, and what it found."""
    started = time.perf_counter()
    with chdir(ROOT):  # the config's paths start there
        run = searcher.optimize(CONFIG, run=folder, overrides=["cache.enabled=false", *overrides, f"seed={seed}"])
    return {"seed": seed, "wall_s": round(time.perf_counter() - started, 1), **found(run)}


def found(run: searcher.Run) -> dict[str, Any]:
    """Worst tasks, front, evaluations and their seconds."""
    record, history = run.record(), run.history
    searched = [c.number for c in history.candidates if c.origin == "strategy"]
    balanced = run.point("balanced")
    return {
        "strategy": run.header["strategy"],
        "examples": {o.name: dict(o.n_examples) for o in history.objectives},
        "evaluations": record["evaluations"],
        "hypervolume": record["hypervolume"],
        "balanced": point_of(run, balanced.number),
        "coefficients": balanced.candidate.recipe.to_json(),
        "baselines": {c.name: point_of(run, c.number) for c in history.baselines()},
        "front": [point_of(run, point.number) for point in run.front],
        "seconds_per_evaluation": seconds_of(run, searched, "search"),
        "seconds_per_baseline": seconds_of(run, [c.number for c in history.baselines()], "search"),
        "seconds_per_held_out": seconds_of(run, [c.number for c in history.candidates], "held_out"),
        "worst_so_far": worst_so_far(run),
    }


def point_of(run: searcher.Run, number: int) -> dict[str, Any]:
    """Scores of a candidate on both splits, each with its worst task."""
    splits: tuple[Split, ...] = ("search", "held_out")
    scores = {split: run.point(number).scores(split) for split in splits}
    worst = {split: round(min(values.values()), 4) for split, values in scores.items() if values}
    rounded = {s: {name: round(v, 4) for name, v in values.items()} for s, values in scores.items()}
    return {"candidate": number, "worst": worst, **rounded}


def seconds_of(run: searcher.Run, numbers: Sequence[int], split: Split) -> dict[str, float]:
    """Median, mean and largest wall time of building and scoring, in seconds."""
    evaluations = [run.history.evaluations.get((number, split)) for number in numbers]
    times = [e.seconds for e in evaluations if e is not None and e.copied_from is None]
    if not times:
        return {}
    return {"n": len(times), "median": statistics.median(times), "mean": statistics.mean(times), "max": max(times)}


def worst_so_far(run: searcher.Run) -> list[float]:
    """The best worst task after each evaluation, on the search questions."""
    best, curve = 0.0, []
    for candidate in run.history.candidates:
        fitness = run.history.fitness(candidate.number)
        best = best if fitness is None else max(best, float(fitness.min()))
        curve.append(round(best, 4))
    return curve


def print_summary(result: dict[str, Any]) -> None:
    """One line per merge, worst task first on held-out questions, and the cost."""
    rows = [("searched, most balanced", result["balanced"]), *result["baselines"].items()]
    for name, row in rows:
        worst = row["worst"]
        print(f"{name:26} worst on held-out {worst.get('held_out', float('nan')):.3f}, search {worst['search']:.3f}")
    each = result["seconds_per_evaluation"].get("mean", float("nan"))
    print(
        f"seed {result['seed']}: {result['evaluations']} evaluations, {each:.1f} s each, {result['wall_s']:.0f} s in all"
    )


def main() -> None:
    """Search, write the figures, print the table."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--seeds", type=int, default=1, metavar="N", help="repeats of the search")
    arguments.add_argument("--run", type=Path, metavar="FOLDER", help="keep the run folders there")
    arguments.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the config")
    options = arguments.parse_args()
    overrides = overrides_of(options.quick, options.set)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.run or Path(temporary)).absolute()
        results = [search(folder / f"seed-{seed}", seed, overrides) for seed in range(options.seeds)]
    write_result(options.json, {"runs": results}, ["numpy", "optuna", "torch", "transformers"])
    for result in results:
        print_summary(result)


if __name__ == "__main__":
    main()
