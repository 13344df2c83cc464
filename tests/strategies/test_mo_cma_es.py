"""COMO-CMA-ES: the same samples as the authors' package, and what that leaves to its caller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from searcher.candidate import Genome, Proposal, Trial
from searcher.errors import ConfigError
from searcher.strategies.base import Problem
from searcher.strategies.mo_cma_es import FEWEST, MOST, MoCmaEs

DIM = 5


def problem(n_objectives: int = 2, *, dim: int = DIM, budget: int | None = 400) -> Problem:
    return Problem(tuple(f"g{i}" for i in range(dim)), tuple(f"o{i}" for i in range(n_objectives)), budget, 11)


def spheres(genome: Genome) -> np.ndarray[Any, np.dtype[np.float64]]:
    return -np.array([np.sum((genome - 0.3) ** 2), np.sum((genome - 0.6) ** 2)])


def run(strategy: MoCmaEs, n: int, function: Callable[[Genome], Any] = spheres) -> list[Proposal]:
    proposals = []
    for number in range(n):
        proposals += strategy.ask(1)
        genome = proposals[-1].genome
        strategy.tell([Trial(number, genome, (), function(genome))])
    return proposals


def test_equals_comocma_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one reference point in the objectives' units, as there; its only random choice, the order, is fixed."""
    comocma = pytest.importorskip("comocma")
    monkeypatch.chdir(tmp_path)  # it makes a folder for its log
    monkeypatch.setattr(MoCmaEs, "_frame", lambda _: (np.array([-2.0, -2.0]), np.ones(2)))
    starts = [np.full(DIM, 0.35), np.full(DIM, 0.45), np.full(DIM, 0.55)]
    ours = MoCmaEs(problem(), kernels=3, population=6, variant="full")
    ours.tell([Trial(i, start, (), spheres(start)) for i, start in enumerate(starts)])
    places = [starts.index(genome) for genome in (s for s, _ in [])] or [0, 2, 1]  # loneliest first: the ends

    rng = problem().rng()
    options = {"bounds": [0, 1], "popsize": 6, "randn": lambda *s: rng.standard_normal(s), "seed": np.nan}
    options |= {"verbose": -9, "verb_log": 0, "signals_filename": None}
    kernels = [comocma.CmaKernel(starts[i].tolist(), 0.2, dict(options)) for i in places]
    settings = {"update_order": lambda i: i, "verb_log": 0, "archive": False}
    theirs = comocma.Sofomore(kernels, [2.0, 2.0], settings)
    for iteration in range(30):
        points = theirs.ask()
        n_means = len(kernels) if iteration == 0 else 1
        if iteration > 0:
            mean = ours.ask(1)[0].genome
            np.testing.assert_allclose(mean, points[0], atol=1e-9)
            ours.tell([Trial(0, mean, (), spheres(mean))])
        proposals = [ours.ask(1)[0] for _ in points[n_means:]]
        np.testing.assert_allclose([p.genome for p in proposals], points[n_means:], atol=1e-9)
        theirs.tell(points, [-spheres(np.asarray(x)) for x in points])
        ours.tell([Trial(0, p.genome, (), spheres(p.genome)) for p in proposals])
