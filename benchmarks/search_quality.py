"""Which search finds the best front? Hypervolume against evaluations, strategy by strategy, on the same problem.

python benchmarks/search_quality.py --seeds 10 --json benchmarks/results/search_quality.json \
    --plot benchmarks/results/search_quality.png

The problem is the quickstart's digits pool with its three objectives: four experts of one base, layer-wise
coefficients, or the spaces named below. All contestants spend the same number of evaluations, the baselines included,
which all of them get. The hypervolume is that of the search scores over a common reference point. Printed: median and
quartiles over seeds at the end, the evaluations needed to reach the final median of `optuna NSGA-II`, seconds per
evaluation. Contestants that maximise one number get the plain sum, or the worst objective where the name says so.

Options: --evaluations N, --seeds N, --only NAME (again for more), --plot FILE.png (drawn by Chromium). With --only, other
contestants' figures already in the file are kept.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from drawing import write_png
from numpy.typing import NDArray
from report import parser, write_result

from searcher import session
from searcher.config import load_config
from searcher.finished_run import open_run
from searcher.history import History

ROOT = Path(__file__).parents[1]
SUM = "weights: [1.0, 1.0, 1.0]"
RIVAL = "optuna NSGA-II"
CONTESTANTS: dict[str, tuple[str, ...]] = {
    "random": ("strategy=random",),
    "m2n2, niche_boundary": ("strategy=natural_niches", "space=niche_boundary"),
    "m2n2, layer_wise": ("strategy=natural_niches",),
    "genetic, niche_boundary": ("strategy=genetic", "space=niche_boundary"),
    "map_elites, niche_boundary": ("strategy=map_elites", "space=niche_boundary"),
    "nsga2": ("strategy=nsga2",),
    "nsga3": ("strategy=nsga3",),
    "cma_es, sum": (f"strategy={{name: cma_es, {SUM}}}",),
    "cma_es, worst": ("strategy={name: cma_es, scalarize: worst}",),
    "mergekit_evolve": (f"strategy={{name: mergekit_evolve, {SUM}}}", "space.range=[0.0, 1.0]"),
    "mo_cma_es": ("strategy=mo_cma_es",),
    "portfolio": ("strategy=portfolio",),
    "map, one scalar per model": ("strategy=map", "space={name: model_wise, range: [0.0, 1.5]}"),
    "optuna TPE": ("strategy=optuna:TPESampler",),
    RIVAL: ("strategy={name: 'optuna:NSGAIISampler', population_size: 16}",),
    "bayes_opt": ("strategy=bayes_opt",),
    "coarse_to_fine, bayes_opt": ("strategy=coarse_to_fine",),
    "coarse_to_fine, TPE": ("strategy={name: coarse_to_fine, inner: 'optuna:TPESampler'}",),
    "bayes_opt, one scalar per model": ("strategy=bayes_opt", "space={name: model_wise, range: [0.0, 1.5]}"),
}
COLOURS = ("#999999", "#d62728", "#ff9896", "#8c564b", "#2ca02c", "#1f77b4", "#aec7e8", "#ff7f0e", "#ffbb78", "#9467bd",
           "#bcbd22", "#17becf", "#000000", "#e377c2", "#7f7f7f", "#c49c94", "#dbdb8d", "#f7b6d2", "#98df8a")  # fmt: skip


def run_of(name: str, seed: int, n: int, folder: Path) -> dict[str, Any]:
    """One search: its hypervolume after each evaluation, and what it cost."""
    fixed = [f"seed={seed}", f"budget.evaluations={n}", "output.export=[]", "cache.enabled=false"]
    started = time.perf_counter()
    session.start(load_config(ROOT / "configs" / "quickstart.yaml", [*fixed, *CONTESTANTS[name]]), folder)
    seconds = time.perf_counter() - started
    history = open_run(folder).history
    return {"seed": seed, "seconds_per_evaluation": seconds / n, "hypervolume": curve(history, n).tolist()}


def curve(history: History, n: int) -> NDArray[np.float64]:
    """Hypervolume after each of ``n`` evaluations, shape ``(n,)``."""
    values = np.zeros(n + 1)
    for evaluations, value in history.hypervolumes:
        values[evaluations:] = value
    return values[1:].round(6)


def summary(runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row per contestant, the best median first."""
    curves = {name: np.array([row["hypervolume"] for row in rows]) for name, rows in runs.items()}
    goal = np.median(curves[RIVAL][:, -1]) if RIVAL in curves else np.nan
    rows = []
    for name, values in curves.items():
        low, median, high = np.quantile(values[:, -1], (0.25, 0.5, 0.75))
        reached = np.flatnonzero(np.median(values, axis=0) >= goal)
        rows.append(
            {
                "name": name,
                "median": round(float(median), 4),
                "quartiles": [round(float(low), 4), round(float(high), 4)],
                "evaluations_to_rival": int(reached[0]) + 1 if reached.size else None,
                "seconds_per_evaluation": round(float(np.median([r["seconds_per_evaluation"] for r in runs[name]])), 3),
            }
        )
    return sorted(rows, key=lambda row: -float(row["median"]))


def figure(runs: dict[str, list[dict[str, Any]]]) -> go.Figure:
    """Median hypervolume against evaluations."""
    drawn = go.Figure()
    for (name, rows), colour in zip(runs.items(), COLOURS, strict=False):
        values = np.median([row["hypervolume"] for row in rows], axis=0)
        x = np.arange(1, values.size + 1)
        drawn.add_scatter(x=x, y=values, name=name, mode="lines", line={"color": colour, "width": 2})
    n_seeds = max(len(rows) for rows in runs.values())
    drawn.update_layout(
        title=f"Digits pool, three objectives: median hypervolume over {n_seeds} seeds",
        xaxis_title="evaluations, baselines included",
        yaxis_title="hypervolume of the search scores",
        template="plotly_white",
        width=1100,
        height=700,
    )
    return drawn


def arguments() -> argparse.Namespace:
    """The command line."""
    found = parser(__doc__ or "")
    found.add_argument("--seeds", type=int, default=10, metavar="N")
    found.add_argument("--evaluations", type=int, default=200, metavar="N")
    found.add_argument("--only", action="append", choices=list(CONTESTANTS), metavar="NAME", default=[])
    found.add_argument("--plot", type=Path, metavar="FILE.png")
    return found.parse_args()


def searched(
    names: Sequence[str], seeds: int, n: int, save: Callable[[dict[str, list[dict[str, Any]]]], object]
) -> dict[str, list[dict[str, Any]]]:
    """All runs, seed by seed, so that a noisy hour is shared by all; saved after each seed."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(seeds):
            for i, name in enumerate(names):
                runs[name].append(run_of(name, seed, n, Path(folder) / f"{seed}-{i}"))
            save(runs)
    return runs


def known(options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Contestants' figures that are in the file and are to stay there."""
    if not (options.only and options.json and options.json.exists()):
        return {}
    found: dict[str, list[dict[str, Any]]] = json.loads(options.json.read_text())["runs"]
    return found


def main() -> None:
    """Search, write the figures, print the table."""
    options = arguments()
    seeds, n = (1, 24) if options.quick else (options.seeds, options.evaluations)
    names = options.only or (["random", RIVAL] if options.quick else [*CONTESTANTS])
    others = known(options)

    def save(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
        runs = {**others, **found}
        figures = {"evaluations": n, "summary": summary(runs), "runs": runs}
        write_result(options.json, figures, ["numpy", "torch", "optuna", "cma", "botorch"])
        return figures

    figures = save(searched(names, seeds, n, save))
    runs, rows = figures["runs"], figures["summary"]
    for row in rows:
        print(
            f"{row['name']:32} {row['median']:.4f} ({row['quartiles'][0]:.4f} to {row['quartiles'][1]:.4f}), "
            f"{row['evaluations_to_rival'] or '-':>4} evaluations to {RIVAL}, {row['seconds_per_evaluation']:.3f} s each"
        )
    if options.plot:
        write_png(figure(runs), options.plot)


if __name__ == "__main__":
    main()
