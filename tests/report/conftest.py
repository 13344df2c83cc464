"""A synthetic run that looks like a real one: a digits pool, accuracies with binomial errors, a proper front."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from searcher.report.data import (
    BaselineRow,
    CandidateRow,
    CoefficientTable,
    ExportRow,
    FailureRow,
    FrontRow,
    ObjectiveInfo,
    ReportData,
    Scores,
)

NAMES = ("low", "high", "noisy", "shifted", "rotated", "inverted")
MODELS = ("low", "high", "noisy", "shifted")
SEGMENTS = ("embedding", *(f"block {i}" for i in range(6)), "norm", "head")
N_SEARCH, N_HELD_OUT = 540, 270

MakeReport = Callable[..., ReportData]


@pytest.fixture(scope="session")
def make_report() -> MakeReport:
    """Builds report data; see :func:`_make` for the options."""
    return _make


def _make(n_objectives: int = 3, n_candidates: int = 200, seed: int = 0, **changes: Any) -> ReportData:
    """A run with so many objectives and candidates; ``changes`` replace fields of the result."""
    rng = np.random.default_rng(seed)
    names = NAMES[:n_objectives]
    truth, labels = _true_scores(rng, n_objectives, n_candidates)
    searched = _observed(rng, truth, N_SEARCH)
    held_out = _observed(rng, truth, N_HELD_OUT)
    is_failed = np.zeros(n_candidates, dtype=bool)
    is_failed[len(labels) + 3 :: 41] = True
    front = _front(np.where(is_failed[:, None], -1.0, searched))
    made: dict[str, Any] = {
        "run": "runs/quickstart",
        "name": "quickstart",
        "date": "2026-11-14T09:30:12+00:00",
        "searcher_version": "0.1.0",
        "objectives": tuple(_objective(name) for name in names),
        "seed": seed,
        "elapsed": 47.3,
        "strategy": "nsga2, chosen automatically: several objectives, 36 genes, 200 evaluations",
        "space": "layer_wise by block, 4 models x 9 groups = 36 genes, range 0.0 to 1.5",
        "operator": "task_arithmetic",
        "budget": f"{n_candidates} evaluations",
        "config": _CONFIG,
        "packages": {"torch": "2.13.0", "optuna": "5.0.0", "numpy": "2.4.1"},
        "hashes": {f"{model}/model.safetensors": f"{i:x}" * 64 for i, model in enumerate(("base", *MODELS))},
        "baselines": tuple(
            BaselineRow(name, i, _scores(names, searched[i], N_SEARCH), _scores(names, held_out[i], N_HELD_OUT))
            for i, name in enumerate(labels)
        ),
        "candidates": tuple(
            CandidateRow(
                i,
                "baseline" if i < len(labels) else "strategy",
                {} if is_failed[i] else dict(zip(names, map(float, searched[i]), strict=True)),
                "NonFiniteWeights" if is_failed[i] else None,
                0.21,
                bool(i in front),
                f"task_arithmetic, low {rng.random():.2f}, high {rng.random():.2f}",
            )
            for i in range(n_candidates)
        ),
        "front": tuple(
            FrontRow(
                i,
                _tags(i, front, searched, names),
                _scores(names, searched[i], N_SEARCH),
                None,
                _scores(names, held_out[i], N_HELD_OUT),
                _recipe(rng),
                {f"{model} {part}": float(rng.random()) for part in ("block 0", "block 1", "head") for model in MODELS},
            )
            for i in front
        ),
        "hypervolume": _growth(n_candidates, 0.531, 0.884, rng),
        "reference_point": dict.fromkeys(names, 0.0),
        "hypervolume_baselines": 0.741,
        "coefficients": tuple(
            _table(rng, i, ", ".join(tags)) for i in front if (tags := _tags(i, front, searched, names))
        ),
        "failures": (FailureRow("NonFiniteWeights", int(is_failed.sum()), "head.weight holds 3 NaN"),)
        if is_failed.any()
        else (),
        "exports": (ExportRow(front[-1], "runs/quickstart/export/knee", "hf", verified=True),) if front else (),
    }
    return ReportData(**{**made, **changes})


def _true_scores(rng: np.random.Generator, m: int, n: int) -> tuple[NDArray[np.float64], list[str]]:
    """Accuracies, shape ``(n, m)``: baselines trade one objective for another, the search improves with time."""
    labels = ["base", *MODELS[:4], "uniform", *(f"task arithmetic {scale:.2f}" for scale in np.linspace(0.2, 1.6, 8))]
    truth = np.empty((n, m))
    for i in range(n):
        angle = rng.dirichlet(np.full(m, 0.8))
        progress = 1 - np.exp(-3 * i / n)
        truth[i] = 0.62 + 0.22 * progress + 0.14 * np.sqrt(angle) * rng.uniform(0.4, 1) - 0.06 * rng.random(m)
    truth[0] = 0.55
    for k in range(1, 5):
        truth[k] = 0.42
        truth[k, (k - 1) % m] = 0.95
    truth[5] = 0.80
    for k, scale in enumerate(np.linspace(0.2, 1.6, 8)):
        truth[6 + k] = 0.83 - 0.5 * (scale - 0.9) ** 2 + 0.01 * np.arange(m)
    return np.clip(truth, 0.02, 0.99), labels[: min(n, len(labels))]


def _observed(rng: np.random.Generator, truth: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    return np.asarray(rng.binomial(n, truth) / n, dtype=np.float64)


def _front(scores: NDArray[np.float64]) -> list[int]:
    """Numbers of the non-dominated rows."""
    kept: list[int] = []
    for i in np.lexsort((np.arange(len(scores)), -scores.sum(axis=1))):  # a dominator has the larger sum
        if scores[i, 0] >= 0 and not np.any(np.all(scores[kept] >= scores[i], axis=1)):
            kept.append(int(i))
    return sorted(kept)


def _scores(names: tuple[str, ...], values: NDArray[np.float64], n: int) -> Scores:
    errors = np.sqrt(values * (1 - values) / n)
    return Scores(dict(zip(names, map(float, values), strict=True)), dict(zip(names, map(float, errors), strict=True)))


def _tags(i: int, front: list[int], scores: NDArray[np.float64], names: tuple[str, ...]) -> tuple[str, ...]:
    knee = max(front, key=lambda k: float(scores[k].min()))
    best = [f"best:{name}" for k, name in enumerate(names) if i == front[int(np.argmax(scores[front, k]))]]
    return (*(["knee"] if i == knee else []), *best)


def _objective(name: str) -> ObjectiveInfo:
    return ObjectiveInfo(name, "maximize", "fraction", {"search": N_SEARCH, "select": 90, "held_out": N_HELD_OUT})


def _recipe(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "operator": "task_arithmetic",
        "models": list(MODELS),
        "base": "base",
        "boundaries": [0, 4096, 20480],
        "coefficients": np.round(rng.random((2, 4)), 3).tolist(),
        "settings": {},
    }


def _table(rng: np.random.Generator, candidate: int, title: str) -> CoefficientTable:
    values = np.round(np.clip(rng.normal(0.45, 0.3, (len(SEGMENTS), len(MODELS))), 0, 1.5), 4)
    return CoefficientTable(candidate, title, SEGMENTS, MODELS, tuple(tuple(map(float, row)) for row in values))


def _growth(n: int, first: float, last: float, rng: np.random.Generator) -> tuple[float, ...]:
    steps = rng.random(n) * (rng.random(n) < 12 / np.arange(5, n + 5))
    grown = np.cumsum(steps) / max(float(steps.sum()), 1e-9)
    return tuple(map(float, first + (last - first) * grown))


_CONFIG = """\
run: runs/quickstart
seed: 0
pool:
  base: examples/digits/base
  models: [examples/digits/low, examples/digits/high, examples/digits/noisy, examples/digits/shifted]
operator: {name: task_arithmetic}
space: {name: layer_wise, range: [0.0, 1.5], by: [block]}
strategy: {name: auto}
budget: {evaluations: 200}
"""
