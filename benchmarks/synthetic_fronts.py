"""Strategies on standard fronts whose optimum is known, with noise: how much of it do they reach, and how soon?

python benchmarks/synthetic_fronts.py --seeds 10 --json benchmarks/results/synthetic_fronts.json \
    --plot benchmarks/results/synthetic_fronts.png

ZDT1 and ZDT2 (Zitzler, Deb, Thiele 2000; convex and concave front, two objectives, 8 genes) and DTLZ2 (Deb et al. 2002,
spherical front, three objectives, 8 genes), each with its front at a random place instead of at a corner or in the
middle of the cube, where Sobol points or a start in the middle would find it by accident. Scores carry normal noise of 0.02 and say so as their standard error. After
each number of evaluations: the hypervolume of the noise-free scores of the points on the measured front, as a share of
the optimum, over the reference points below. Nothing is merged; this measures the strategies alone. Strategies that
maximise one number get the plain sum, which has no interior optimum on a concave front.

`pymoo MOEA/D` (Zhang and Li 2007; the better known of the decomposition methods) runs if pymoo is installed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import pi
from typing import Any

import numpy as np
import plotly.graph_objects as go
from drawing import add_quartiles, write_png
from numpy.typing import NDArray
from plotly.subplots import make_subplots
from report import known_runs, search_parser, write_result

from searcher.candidate import Trial
from searcher.multi_objective.dominance import non_dominated
from searcher.multi_objective.hypervolume import hypervolume
from searcher.strategies.base import Problem
from searcher.strategies.factory import make_strategy

Array = NDArray[np.float64]
DIM, NOISE = 8, 0.02
CONTESTANTS: dict[str, tuple[str, Mapping[str, object]]] = {
    "random": ("random", {}),
    "sobol": ("optuna:QMCSampler", {}),
    "nsga2": ("nsga2", {}),
    "nsga3": ("nsga3", {}),
    "optuna NSGA-II": ("optuna:NSGAIISampler", {"population_size": 16}),
    "optuna TPE": ("optuna:TPESampler", {}),
    "cma_es, sum": ("cma_es", {"weights": "ones"}),
    "cma_es, worst": ("cma_es", {"scalarize": "worst"}),
    "mo_cma_es": ("mo_cma_es", {}),
    "map": ("map", {}),
    "portfolio": ("portfolio", {}),
    "bayes_opt": ("bayes_opt", {}),
    "pymoo MOEA/D": ("", {}),
}
COLOURS = ("#999999", "#c7c7c7", "#1f77b4", "#aec7e8", "#000000", "#17becf", "#ff7f0e", "#ffbb78", "#8c564b", "#e377c2", "#2ca02c", "#d62728", "#bcbd22")  # fmt: skip


@dataclass(frozen=True)
class Front:
    """A problem to minimise.

    Args:
        function: Genes of shape ``(dim,)`` and the place of the front, shape ``(dim,)``, to objectives of shape ``(m,)``.
        reference: Bounds the hypervolume, shape ``(m,)``.
        optimum: Hypervolume of the whole front.
    """

    function: Callable[[Array, Array], Array]
    reference: tuple[float, ...]
    optimum: float


def zdt(front: Callable[[float], float]) -> Callable[[Array, Array], Array]:
    """A problem of the ZDT family: the second objective on the front as a function of the first over g."""

    def function(genes: Array, place: Array) -> Array:
        g = 1 + 9 * float(np.abs(genes - place)[1:].mean())
        return np.array([genes[0], g * front(float(genes[0]) / g)])

    return function


def dtlz2(genes: Array, place: Array) -> Array:
    """Three objectives whose front is the unit sphere's octant."""
    a, b = genes[0] * pi / 2, genes[1] * pi / 2
    radius = 1 + float(np.sum((genes - place)[2:] ** 2))
    return np.array([np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)]) * radius


# The integral over the first objective from 0 to 1 of the distance to the reference, and what lies beyond 1.
FRONTS = {
    "ZDT1": Front(zdt(lambda x: 1 - np.sqrt(x)), (1.2, 3.0), 2 + 2 / 3 + 0.2 * 3),
    "ZDT2": Front(zdt(lambda x: 1 - x**2), (1.2, 3.0), 2 + 1 / 3 + 0.2 * 3),
    "DTLZ2": Front(dtlz2, (1.5, 1.5, 1.5), 1.5**3 - pi / 6),
}


def run_of(name: str, front: Front, seed: int, n: int) -> dict[str, Any]:
    """One search: the share of the optimum at some numbers of evaluations, and what a proposal cost."""
    if name == "pymoo MOEA/D":
        return moead(front, seed, n)
    m = len(front.reference)
    problem = Problem(tuple(f"g{i}" for i in range(DIM)), tuple(f"f{i}" for i in range(m)), n, seed)
    strategy_name, settings = CONTESTANTS[name]
    given = {k: (1.0,) * m if v == "ones" else v for k, v in settings.items()}
    strategy, noise = make_strategy(strategy_name, problem, given), np.random.default_rng([seed, 7])
    place = place_of(seed)
    exact, measured, seconds = np.empty((n, m)), np.empty((n, m)), 0.0
    for i in range(n):
        started = time.perf_counter()
        proposal = strategy.ask(1)[0]
        seconds += time.perf_counter() - started
        exact[i] = -front.function(np.clip(proposal.genome, 0, 1), place)
        measured[i] = exact[i] + NOISE * noise.normal(size=m)
        started = time.perf_counter()
        strategy.tell([Trial(i, proposal.genome, proposal.parents, measured[i].copy(), np.full(m, NOISE))])
        seconds += time.perf_counter() - started
    shares = {str(k): share(exact[:k], measured[:k], front) for k in steps(n)}
    return {"seed": seed, "seconds_per_proposal": seconds / n, "share": shares}


def moead(front: Front, seed: int, n: int) -> dict[str, Any]:
    """One search of pymoo's MOEA/D, its population near 20."""
    from pymoo.algorithms.moo.moead import MOEAD
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.optimize import minimize
    from pymoo.util.ref_dirs import get_reference_directions

    m, noise, place, seen = len(front.reference), np.random.default_rng([seed, 7]), place_of(seed), []

    class Noisy(ElementwiseProblem):  # type: ignore[misc]
        def _evaluate(self, genes: Array, out: dict[str, Array], *_: object, **__: object) -> None:
            seen.append((-front.function(genes, place), NOISE * noise.normal(size=m)))
            out["F"] = -sum(seen[-1])

    directions = get_reference_directions("das-dennis", m, n_partitions={2: 19, 3: 5}[m])
    algorithm = MOEAD(directions, n_neighbors=min(15, len(directions) // 2), prob_neighbor_mating=0.7)
    started = time.perf_counter()
    minimize(Noisy(n_var=DIM, n_obj=m, xl=0.0, xu=1.0), algorithm, ("n_eval", n), seed=seed, verbose=False)
    seconds, exact, errors = (
        time.perf_counter() - started,
        *(np.array(column[:n]) for column in zip(*seen, strict=True)),
    )
    shares = {str(k): share(exact[:k], (exact + errors)[:k], front) for k in steps(n)}
    return {"seed": seed, "seconds_per_proposal": seconds / n, "share": shares}


def place_of(seed: int) -> Array:
    """Where the front lies, shape ``(dim,)``."""
    return np.random.default_rng([seed, 11]).uniform(0.1, 0.9, DIM)


def share(exact: Array, measured: Array, front: Front) -> float:
    """Noise-free hypervolume of the measured front, as a share of the optimum."""
    points = exact[non_dominated(measured)]
    return round(hypervolume(points, -np.array(front.reference)) / front.optimum, 4)


def steps(n: int) -> list[int]:
    """Numbers of evaluations that are recorded."""
    return [k for k in (10, 20, 30, 50, 75, 100, 150, 200, 250, 300, 400, 500) if k <= n]


def table(results: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> None:
    """Medians over seeds, the best at the end first."""
    for problem, runs in results.items():
        print(f"{problem}: median share of the optimal hypervolume")
        medians = {name: median_of(rows) for name, rows in runs.items()}
        for name, values in sorted(medians.items(), key=lambda item: -[*item[1].values()][-1]):
            cost = float(np.median([row["seconds_per_proposal"] for row in runs[name]]))
            line = "  ".join(
                f"{k}: {v:.3f}" for k, v in values.items() if k in ("30", "50", "100", "200", "300", [*values][-1])
            )
            print(f"  {name:16} {line}  ({len(runs[name])} seeds, {1000 * cost:.0f} ms per proposal)")


def median_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Median share at each step that all seeds reached."""
    known = [k for k in rows[0]["share"] if all(k in row["share"] for row in rows)]
    return {k: float(np.median([row["share"][k] for row in rows])) for k in known}


def figure(results: Mapping[str, Mapping[str, list[dict[str, Any]]]]) -> go.Figure:
    """One panel for each problem: medians, and quartiles as a band."""
    drawn = make_subplots(1, len(results), subplot_titles=[*results])
    for column, runs in enumerate(results.values(), 1):
        for name, rows in runs.items():
            colour, x = COLOURS[[*CONTESTANTS].index(name)], [*median_of(rows)]
            quartiles = np.quantile([[row["share"][k] for k in x] for row in rows], (0.25, 0.5, 0.75), axis=0)
            add_quartiles(drawn, name, [int(k) for k in x], quartiles, colour, {"row": 1, "col": column})
    drawn.update_layout(template="plotly_white", width=1500, height=560, title="Share of the optimal hypervolume (noise-free) against evaluations; median and quartiles over seeds")  # fmt: skip
    return drawn


def main() -> None:
    """Search, write the figures, print the table."""
    options = search_parser(__doc__ or "", CONTESTANTS, evaluations=300).parse_args()
    seeds, n = (1, 20) if options.quick else (options.seeds, options.evaluations)
    first = options.first_seed
    here = [name for name in CONTESTANTS if name != "pymoo MOEA/D" or find_spec("pymoo")]
    names = options.only or (["random", "nsga2"] if options.quick else here)
    known = known_runs(options)
    results: dict[str, dict[str, list[dict[str, Any]]]] = {p: {**known.get(p, {})} for p in FRONTS}
    for name in names:
        for problem, front in FRONTS.items():
            results[problem][name] = [run_of(name, front, seed, n) for seed in range(first, first + seeds)]
    write_result(options.json, {"genes": DIM, "noise": NOISE, "runs": results}, ["numpy", "optuna", "cma", "botorch"])
    table(results)
    if options.plot:
        write_png(figure(results), options.plot)


if __name__ == "__main__":
    main()
