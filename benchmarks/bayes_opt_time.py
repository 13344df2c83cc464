"""Seconds per proposal of the strategy ``bayes_opt``, with and without a fit of the hyperparameters.

    python benchmarks/bayes_opt_time.py [--quick] [--json FILE]

Required: at most 5 s at 300 observations, 30 genes and 2 objectives on 2 cores.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import report

from searcher.candidate import Trial
from searcher.strategies.base import Problem
from searcher.strategies.bayes_opt import BayesOpt

LIMIT = 5.0
CASES = [  # observations, genes, objectives, scalarize
    (60, 15, 4, "worst"),
    (100, 10, 2, "front"),
    (300, 30, 2, "front"),
    (300, 30, 1, "sum"),
    (300, 30, 3, "front"),
    (100, 10, 4, "front"),
    (60, 10, 5, "front"),
]


def measure(n: int, dim: int, m: int, scalarize: str, repeats: int) -> dict[str, Any]:
    """Seconds of the first proposal, which fits, and the median of the next ones, which do not."""
    rng = np.random.default_rng(0)
    targets = rng.random((m, dim))
    levels = (tuple(i % 5 for i in range(dim)),)  # five models, as on the finest level of `coarse_to_fine`
    problem = Problem(tuple(map(str, range(dim))), tuple(f"o{i}" for i in range(m)), None, 0, levels=levels)
    strategy = BayesOpt(problem, scalarize=scalarize, initial=1)  # type: ignore[arg-type]
    strategy.tell([Trial(0, genome, (), *scores(genome, targets, rng)) for genome in rng.random((n, dim))])
    strategy.ask(1)  # the Sobol point
    seconds = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        strategy.ask(1)
        seconds.append(time.perf_counter() - start)
    return {
        "observations": n,
        "genes": dim,
        "objectives": m,
        "scalarize": scalarize,
        "with_fit": seconds[0],
        "without_fit": float(np.median(seconds[1:])),
    }


def scores(genome: Any, targets: Any, rng: np.random.Generator) -> tuple[Any, Any]:  # noqa: ANN401
    """Noisy concave accuracies and their standard errors."""
    stderr = np.full(len(targets), 0.02)
    return 0.9 - np.mean((targets - genome) ** 2, axis=1) + stderr * rng.normal(size=len(targets)), stderr


def main() -> None:
    """Measure and print."""
    options = report.parser(__doc__.splitlines()[0]).parse_args()
    measure(5, 2, 2, "front", 1)  # imports and first calls
    found = [measure(*case, repeats=1 if options.quick else 3) for case in (CASES[:3] if options.quick else CASES)]
    report.write_result(options.json, {"limit_seconds": LIMIT, "proposals": found}, ["botorch", "torch", "numpy"])
    print("observations  genes  objectives  scalarize  with fit  without fit")
    for row in found:
        print(
            f"{row['observations']:12}  {row['genes']:5}  {row['objectives']:10}  {row['scalarize']:>9}"
            f"  {row['with_fit']:6.2f} s  {row['without_fit']:9.2f} s"
        )


if __name__ == "__main__":
    main()
