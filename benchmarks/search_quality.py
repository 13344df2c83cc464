"""Which search finds the best front? Hypervolume against evaluations, strategy by strategy, on the same problem.

python benchmarks/search_quality.py --seeds 10 --json benchmarks/results/search_quality.json \
    --plot benchmarks/results/search_quality.png

The problem is the quickstart's digits pool with its three objectives: four experts of one base, layer-wise
coefficients (20 genes), or the spaces named below; `--problem` takes another. All contestants spend the same number of
evaluations, the baselines included, which all of them get. The hypervolume is that of the search scores over a common
reference point. Printed: median and quartiles over seeds at the end, the median of the same for the reported front's
held-out scores, the evaluations needed to reach the best final median of the rivals (what users have without this
package: mergekit-evolve's settings, Optuna's samplers, random and Sobol points), at how many numbers of evaluations the
median is below that of `random`, seconds per evaluation.
Contestants that maximise one number get the plain sum, or the worst objective where the name says so.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from drawing import add_quartiles, write_png
from numpy.typing import NDArray
from report import known_runs, search_parser, write_result

from searcher import session
from searcher.config import load_config
from searcher.finished_run import open_run
from searcher.history import History
from searcher.multi_objective.hypervolume import hypervolume

ROOT = Path(__file__).parents[1]
SUM = "weights: [WEIGHTS]"
RIVALS = ("random", "sobol", "mergekit_evolve", "optuna NSGA-II", "optuna TPE")
ACCURACIES = "low", "high", "noisy", "shifted"
CONTESTANTS: dict[str, tuple[str, ...]] = {
    "random": ("strategy=random",),
    "sobol": ("strategy=optuna:QMCSampler",),
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
    "map, lower box": ("strategy={name: map, box: [0.0, 0.6]}", "space={name: model_wise, range: [0.0, 1.5]}"),
    "optuna TPE": ("strategy=optuna:TPESampler",),
    "optuna NSGA-II": ("strategy={name: 'optuna:NSGAIISampler', population_size: 16}",),
    "bayes_opt": ("strategy=bayes_opt",),
    "coarse_to_fine, bayes_opt": ("strategy=coarse_to_fine",),
    "coarse_to_fine, TPE": ("strategy={name: coarse_to_fine, inner: 'optuna:TPESampler'}",),
    "bayes_opt, one scalar per model": ("strategy=bayes_opt", "space={name: model_wise, range: [0.0, 1.5]}"),
}
COLOURS = ("#999999", "#c7c7c7", "#d62728", "#ff9896", "#8c564b", "#2ca02c", "#1f77b4", "#aec7e8", "#ff7f0e", "#ffbb78",
           "#9467bd", "#bcbd22", "#17becf", "#c5b0d5", "#393b79", "#000000", "#e377c2", "#7f7f7f", "#c49c94", "#f7b6d2", "#637939")  # fmt: skip


@dataclass(frozen=True)
class Situation:
    """The pool under other circumstances.

    Args:
        objectives: Their names; those of accuracies are files of images.
        space: Overrides of the config.
    """

    objectives: tuple[str, ...] = ACCURACIES[:3]
    space: tuple[str, ...] = ()

    def overrides(self) -> list[str]:
        """As ``--set`` takes them."""
        split = "split: {search: 0.6, select: 0.1, held_out: 0.3}"
        kinds = {"loss": ("loss", "noisy")}
        parts = [(name, *kinds.get(name, ("accuracy", name))) for name in self.objectives]
        found = [f"{{name: {n}, type: {t}, data: examples/digits/{d}.npz, {split}}}" for n, t, d in parts]
        return [f"objectives=[{', '.join(found)}]", *self.space]


SITUATIONS = {
    "layer_wise": Situation(),
    "2 objectives": Situation(("high", "noisy")),
    "5 objectives": Situation((*ACCURACIES, "loss")),
    "model_wise": Situation(space=("space={name: model_wise, range: [0.0, 1.5]}",)),
    "chunk_wise": Situation(space=("space={name: chunk_wise, range: [0.0, 1.5], chunks: 15}",)),
}


def run_of(name: str, situation: Situation, seed: int, n: int, folder: Path) -> dict[str, Any]:
    """One search: its hypervolume after each evaluation, and what it cost."""
    fixed = [f"seed={seed}", f"budget.evaluations={n}", "output.export=[]", "cache.enabled=false"]
    started = time.perf_counter()
    weights = ", ".join("1.0" for _ in situation.objectives)
    settings = [text.replace("WEIGHTS", weights) for text in CONTESTANTS[name]]
    config = load_config(ROOT / "configs" / "quickstart.yaml", [*fixed, *situation.overrides(), *settings])
    session.start(config, folder)
    seconds = time.perf_counter() - started
    history = open_run(folder).history
    return {
        "seed": seed,
        "seconds_per_evaluation": seconds / n,
        "held_out": held_out(history),
        "hypervolume": curve(history, n).tolist(),
    }


def held_out(history: History) -> float:
    """Hypervolume of the reported front on examples that no search saw, over the reference point of the search."""
    found = [history.evaluations[number, "held_out"] for number in history.reported()]
    return round(hypervolume(np.array([history.fitness_of(evaluation) for evaluation in found]), history.reference), 6)


def curve(history: History, n: int) -> NDArray[np.float64]:
    """Hypervolume after each of ``n`` evaluations, shape ``(n,)``."""
    values = np.zeros(n + 1)
    for evaluations, value in history.hypervolumes:
        values[evaluations:] = value
    return values[1:].round(6)


def summary(runs: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """One row per contestant, the best median first; runs of another length are compared as far as they go."""
    curves = {name: np.array([row["hypervolume"] for row in rows]) for name, rows in runs.items()}
    goal = max((np.median(curves[name][:, -1]) for name in RIVALS if name in curves), default=np.nan)
    rows = []
    for name, values in curves.items():
        low, median, high = np.quantile(values[:, -1], (0.25, 0.5, 0.75))
        medians = np.median(values, axis=0)
        reached = np.flatnonzero(medians >= goal)
        random = np.median(curves.get("random", values), axis=0)
        common = min(len(medians), len(random))
        rows.append(
            {
                "name": name,
                "evaluations": values.shape[1],
                "median": round(float(median), 4),
                "quartiles": [round(float(low), 4), round(float(high), 4)],
                "held_out": round(float(np.median([row.get("held_out", np.nan) for row in runs[name]])), 4),
                "evaluations_to_best_rival": int(reached[0]) + 1 if reached.size else None,
                "evaluations_below_random": int((medians[:common] < random[:common]).sum()),
                "seconds_per_evaluation": round(float(np.median([r["seconds_per_evaluation"] for r in runs[name]])), 3),
            }
        )
    return sorted(rows, key=lambda row: -float(row["median"]))


def figure(runs: dict[str, list[dict[str, Any]]], title: str) -> go.Figure:
    """Hypervolume against evaluations: medians, and quartiles as bands."""
    drawn = go.Figure()
    for name in sorted(runs, key=[*CONTESTANTS].index):
        quartiles = np.quantile([row["hypervolume"] for row in runs[name]], (0.25, 0.5, 0.75), axis=0)
        x = [*range(1, quartiles.shape[1] + 1)]
        add_quartiles(drawn, name, x, quartiles, COLOURS[[*CONTESTANTS].index(name)])
    drawn.update_layout(
        title=f"Digits pool, {title}: hypervolume, median and quartiles over seeds",
        xaxis_title="evaluations, baselines included",
        yaxis_title="hypervolume of the search scores",
        template="plotly_white",
        width=1100,
        height=700,
    )
    return drawn


def searched(
    names: Sequence[str],
    situation: Situation,
    seeds: Sequence[int],
    n: int,
    save: Callable[[dict[str, list[dict[str, Any]]]], object],
) -> dict[str, list[dict[str, Any]]]:
    """All runs, seed by seed, so that a noisy hour is shared by all; saved after each seed."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            for i, name in enumerate(names):
                runs[name].append(run_of(name, situation, seed, n, Path(folder) / f"{seed}-{i}"))
            save(runs)
    return runs


def main() -> None:
    """Search, write the figures, print the table."""
    known = search_parser(__doc__ or "", CONTESTANTS, evaluations=200)
    known.add_argument("--problem", choices=list(SITUATIONS), default="layer_wise", help="(default layer_wise)")
    options = known.parse_args()
    seeds, n = (1, 24) if options.quick else (options.seeds, options.evaluations)
    names = options.only or (["random", "optuna NSGA-II"] if options.quick else [*CONTESTANTS])
    others = known_runs(options)

    def save(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
        runs = {**others, **found}
        figures = {"problem": options.problem, "evaluations": n, "summary": summary(runs), "runs": runs}
        write_result(options.json, figures, ["numpy", "torch", "optuna", "cma", "botorch"])
        return figures

    first = options.first_seed
    figures = save(searched(names, SITUATIONS[options.problem], range(first, first + seeds), n, save))
    for row in figures["summary"]:
        print(
            f"{row['name']:32} after {row['evaluations']}: {row['median']:.4f} ({row['quartiles'][0]:.4f} to {row['quartiles'][1]:.4f}), "
            f"held out {row['held_out']:.4f}, "
            f"{row['evaluations_to_best_rival'] or '-':>4} evaluations to the best rival, "
            f"{row['evaluations_below_random']:>3} below random, {row['seconds_per_evaluation']:.3f} s each"
        )
    if options.plot:
        write_png(figure(figures["runs"], options.problem), options.plot)


if __name__ == "__main__":
    main()
