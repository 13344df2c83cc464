"""How well few examples stand for all: estimates of random merges' scores on the digits pool, by method and size.

python benchmarks/item_selection.py --json benchmarks/results/item_selection.json

The standard baselines of the quickstart choose the examples; random points of its search space are the candidates.
For each method the table gives the mean absolute error of the estimates, the root mean square of error over claimed
standard error (1 is calibrated, above 1 is too sure), how often the truth lies within 1.96 standard errors, and the
time to choose. The truth is the score on all search examples of an objective. The candidates are scored once, in full;
choosing and estimating is repeated over seeds.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from report import parser, write_result

from searcher.assembly import Parts, assemble
from searcher.baselines import standard_baselines
from searcher.config import load_config
from searcher.item_selection.subset import METHODS, select_items
from searcher.recipe import Recipe

Array = NDArray[np.float64]
CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"
SIZES = (10, 20, 50, 100)


def responses(parts: Parts, recipes: list[Recipe]) -> dict[str, Array]:
    """Scores of every search example, shape ``(n_recipes, n_examples)``, by objective."""
    found: dict[str, list[Array]] = {o.name: [] for o in parts.objectives}
    for recipe in recipes:
        model = parts.engine.build(recipe)
        for objective in parts.objectives:
            scores = objective.evaluate(model, objective.splits["search"], 0).example_scores
            assert scores is not None
            found[objective.name].append(scores)
    return {name: np.array(scores) for name, scores in found.items()}


def measure(
    method: str,
    m: int,
    baselines: dict[str, Array],
    candidates: dict[str, Array],
    ends: NDArray[np.int64],
    seeds: range,
) -> dict[str, float | str]:
    """One row of the table, over all objectives and seeds."""
    errors, claimed, seconds = [], [], []
    for name, known in baselines.items():
        for seed in seeds:
            started = time.perf_counter()
            subset = select_items(known, m, method, seed, ends)
            seconds.append(time.perf_counter() - started)
            for scores in candidates[name]:
                value, error = subset.estimate(scores[subset.indices])
                errors.append(value - scores.mean())
                claimed.append(error)
    z = np.array(errors) / np.array(claimed)
    return {
        "method": method,
        "examples": m,
        "mean_absolute_error": float(np.mean(np.abs(errors))),
        "bias": float(np.mean(errors)),
        "error_over_stderr": float(np.sqrt(np.mean(z**2))),
        "coverage_95": float(np.mean(np.abs(z) < 1.96)),
        "seconds": float(np.median(seconds)),
    }


def main() -> None:
    """Measure and print."""
    options = parser(__doc__ or "").parse_args()
    n_candidates, seeds = (60, range(1)) if options.quick else (400, range(10))
    parts = assemble(load_config(CONFIG))
    sources = [m.name for m in parts.pool.models]
    base = None if parts.pool.base is None else parts.pool.base.name
    named = standard_baselines(sources, base, parts.pool.layout.n_parameters)
    ends = np.array([i for i, (name, _) in enumerate(named) if name in (base, *sources)])
    rng = np.random.default_rng(0)
    recipes = [parts.space.decode(rng.random(len(parts.space.names))) for _ in range(n_candidates)]
    baselines, candidates = responses(parts, [recipe for _, recipe in named]), responses(parts, recipes)
    sizes = (20, 50) if options.quick else SIZES
    rows = [measure(method, m, baselines, candidates, ends, seeds) for m in sizes for method in METHODS]
    n_examples = {name: scores.shape[1] for name, scores in candidates.items()}
    figures = {"candidates": n_candidates, "seeds": len(seeds), "search_examples": n_examples, "rows": rows}
    write_result(options.json, figures, ["numpy", "torch"])
    print(f"{n_candidates} random merges, {len(named)} baselines, search examples: {n_examples}")
    print(f"{'method':18s}{'examples':>9s}{'MAE':>8s}{'err/stderr':>12s}{'cover 95':>10s}{'choose':>9s}")
    for row in rows:
        print(
            f"{row['method']:18s}{row['examples']:9d}{row['mean_absolute_error']:8.4f}{row['error_over_stderr']:12.2f}"
            f"{row['coverage_95']:10.3f}{row['seconds']:8.2f}s"
        )


if __name__ == "__main__":
    main()
