"""Which covariance should CMA-ES learn, and is the mean of its distribution a better answer than the best sample?

python benchmarks/cma_variants.py --json benchmarks/results/cma_variants.json

Ellipsoids of condition 100 over the unit cube, minimum at a random place, axes along the genes or turned. Printed: the
median loss over seeds of the best-scored candidate for each variant; and, with noise in the scores, the true loss of the
best-scored candidate and of the last one, which with ``final_mean`` is the mean of the distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from report import parser, write_result

from searcher.candidate import Trial
from searcher.strategies.base import Problem
from searcher.strategies.factory import make_strategy

Array = NDArray[np.float64]
CASES = [(6, 100, 0.0), (12, 200, 0.0), (12, 400, 0.0), (20, 200, 0.0), (30, 300, 0.0), (30, 300, 0.01), (60, 1000, 0.0), (120, 600, 0.0)]  # fmt: skip
NOISY = [(8, 60, 0.01), (8, 150, 0.01), (12, 200, 0.005)]
VARIANTS = ("full", "separable", "vkd")


def ellipsoid(dim: int, seed: int, *, turned: bool) -> Callable[[Array], float]:
    """A loss with its minimum, 0, in the middle part of the cube."""
    rng = np.random.default_rng(seed)
    target, axes = rng.uniform(0.2, 0.8, dim), np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    scales = 10 ** np.linspace(0, 2, dim)
    scales /= scales.mean()
    return lambda genes: float(np.sum(scales * ((axes if turned else np.eye(dim)) @ (genes - target)) ** 2) / dim)


def losses(settings: Mapping[str, object], dim: int, budget: int, noise: float, seed: int, *, turned: bool) -> Array:
    """True loss of the best-scored candidate and of the last."""
    loss, rng = ellipsoid(dim, seed, turned=turned), np.random.default_rng(seed + 77)
    strategy = make_strategy("cma_es", Problem(tuple(f"g{i}" for i in range(dim)), ("o",), budget, seed), settings)
    true, scored = np.empty(budget), np.empty(budget)
    for number in range(budget):
        genome = np.full(dim, 0.5) if number == 0 else strategy.ask(1)[0].genome.copy()
        true[number] = loss(genome)
        scored[number] = -true[number] + noise * rng.standard_normal()
        strategy.tell([Trial(number, genome, (), scored[number : number + 1].copy())])
    return np.array([true[np.argmax(scored)], true[-1]])


def main() -> None:
    """Measure, print, write."""
    options = parser(__doc__ or "").parse_args()
    seeds, cases, noisy = (2, CASES[:1], NOISY[:1]) if options.quick else (9, CASES, NOISY)
    variants, means = [], []
    for dim, budget, noise in cases:
        for turned in (False, True):
            row = {"genes": dim, "evaluations": budget, "noise": noise, "turned": turned}
            for variant in VARIANTS:
                settings = {"variant": variant, "final_mean": False}
                found = [losses(settings, dim, budget, noise, s, turned=turned)[0] for s in range(seeds)]
                row[variant] = float(f"{np.median(found):.3g}")
            variants.append(row)
            print(row)
    for dim, budget, noise in noisy:
        found = np.median(
            [losses({"final_mean": True}, dim, budget, noise, s, turned=True) for s in range(2 * seeds + 3)], axis=0
        )
        best, last = (float(f"{value:.3g}") for value in found)
        means.append({"genes": dim, "evaluations": budget, "noise": noise, "best_scored": best, "mean": last})
        print(means[-1])
    write_result(options.json, {"seeds": seeds, "variants": variants, "final_mean": means}, ["cma", "numpy"])


if __name__ == "__main__":
    main()
