"""Several runs with the same objectives, side by side: fronts over one reference point, search and held-out apart.

Search scores chose the points of a front and flatter them, the more so the longer a run searched. Held-out scores
are shown where every run has them: for every point of the front that the search reported, and the best score of an
objective is that of the point chosen on the search examples, not the best of the held-out scores.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from searcher.errors import ConfigError
from searcher.history import History, ObjectiveInfo
from searcher.multi_objective.dominance import Front
from searcher.multi_objective.hypervolume import hypervolume

CURVE_STEPS = 60  # of a hypervolume curve: in five objectives one of its values may take a tenth of a second

Rows = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class RunFront:
    """What a comparison takes of a run.

    Args:
        name: What the run is called in tables, unique in the comparison.
        history: Its record.
        header: Its header.
    """

    name: str
    history: History
    header: Mapping[str, Any]


@dataclass(frozen=True)
class FrontMeasures:
    """A run's front on one split.

    Args:
        hypervolume: Over the common reference point.
        points: Points with all scores.
        best: Score by objective of the point that is best in it on the search examples.
        dominated: How many of the points are dominated by a point of another run.
    """

    hypervolume: float
    points: int
    best: Mapping[str, float]
    dominated: int


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """One run of a comparison.

    Args:
        name: Its name.
        evaluations: Search evaluations, baselines included.
        numbers: Candidates of its front.
        fitness: Their scores by split, signed so that more is better, shape ``(n_points, n_objectives)``.
        search: Measures on the search examples.
        held_out: Measures on the held-out examples; None unless every run has them.
        curve: Evaluations and hypervolume over the common reference, where it was computed.
    """

    name: str
    evaluations: int
    numbers: tuple[int, ...]
    fitness: Mapping[str, Rows]
    search: FrontMeasures
    held_out: FrontMeasures | None
    curve: tuple[tuple[int, float], ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs side by side.

    Args:
        objectives: In the order of the first run.
        reference_point: The worst of the runs' reference points, in the objectives' own directions.
        runs: In the order given.
        notes: What makes the comparison doubtful, one sentence each.
    """

    objectives: tuple[ObjectiveInfo, ...]
    reference_point: tuple[float, ...]
    runs: tuple[ComparedRun, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON object; scores in the objectives' own units and directions."""
        return {
            "objectives": [{"name": o.name, "direction": o.direction, "unit": o.unit} for o in self.objectives],
            "reference_point": list(self.reference_point),
            "runs": [
                {
                    "run": run.name,
                    "evaluations": run.evaluations,
                    "search": _json(run.search),
                    "held_out": None if run.held_out is None else _json(run.held_out),
                }
                for run in self.runs
            ],
            "notes": list(self.notes),
        }


def compare_runs(runs: Sequence[RunFront]) -> Comparison:
    """Compare the reported fronts of runs.

    Raises:
        ConfigError: If there are fewer than two, or they differ in the names, directions or units of objectives.
    """
    if len(runs) < 2:
        raise ConfigError(
            "One run alone cannot be compared.", where="command line", fix="Give two or more run folders."
        )
    objectives = runs[0].history.objectives
    for run in runs[1:]:
        _check_objectives(runs[0], run)
    names = [o.name for o in objectives]
    reference = np.min([_in_order(run.history, run.history.reference, names) for run in runs], axis=0)
    numbers = [run.history.reported() for run in runs]
    search = [_fitness(run.history, found, "search", names) for run, found in zip(runs, numbers, strict=True)]
    tested = [_fitness(run.history, found, "held_out", names) for run, found in zip(runs, numbers, strict=True)]
    has_held_out = all(np.isfinite(rows).all(axis=1).any() for rows in tested)
    signs = np.array([o.sign for o in objectives])
    compared = tuple(
        ComparedRun(
            run.name,
            run.history.n_searched,
            numbers[i],
            {"search": search[i], **({"held_out": tested[i]} if has_held_out else {})},
            _measures(search, search, i, reference, objectives),
            _measures(tested, search, i, reference, objectives) if has_held_out else None,
            _curve(run.history, reference, names),
        )
        for i, run in enumerate(runs)
    )
    return Comparison(objectives, tuple((signs * reference + 0.0).tolist()), compared, _notes(runs, has_held_out))


def _check_objectives(first: RunFront, other: RunFront) -> None:
    """Refuse runs whose scores mean different things."""
    ours, theirs = ({o.name: (o.direction, o.unit) for o in run.history.objectives} for run in (first, other))
    if ours == theirs:
        return
    said = f"{_listed(ours)} in {first.name}, {_listed(theirs)} in {other.name}"
    if set(ours) != set(theirs):
        what = f"The runs have different objectives: {said}."
    else:
        what = "The runs' objectives differ in direction or unit: " + "; ".join(
            f"{name} is {' '.join(ours[name])} in {first.name}, {' '.join(theirs[name])} in {other.name}"
            for name in ours
            if ours[name] != theirs[name]
        )
    fix = "Compare runs whose objectives have the same names, directions and units."
    raise ConfigError(what, where=other.name, fix=fix)


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(names)


def _in_order(history: History, row: Rows, names: Sequence[str]) -> Rows:
    """A fitness vector, or rows of them, in the order of the first run's objectives."""
    own = [o.name for o in history.objectives]
    return np.asarray(row[..., [own.index(name) for name in names]], dtype=np.float64)


def _fitness(
    history: History, numbers: Sequence[int], split: Literal["search", "held_out"], names: Sequence[str]
) -> Rows:
    """Fitness of candidates on a split, shape ``(n, m)``; nan where they were not scored."""
    found = [history.evaluations.get((number, split)) for number in numbers]
    rows = [
        history.fitness_of(e) if e is not None and e.error is None else np.full(len(names), math.nan) for e in found
    ]
    return _in_order(history, np.array(rows, dtype=np.float64).reshape(len(rows), len(names)), names)


def _measures(
    fitness: Sequence[Rows], search: Sequence[Rows], i: int, reference: Rows, objectives: Sequence[ObjectiveInfo]
) -> FrontMeasures:
    own = fitness[i]
    whole = np.isfinite(own).all(axis=1)
    others = np.concatenate([rows for k, rows in enumerate(fitness) if k != i])
    best = {}
    for k, objective in enumerate(objectives):
        scored = np.flatnonzero(np.isfinite(own[:, k]))
        chosen = scored[np.argmax(search[i][scored, k])] if scored.size else None
        best[objective.name] = math.nan if chosen is None else float(objective.sign * own[chosen, k])
    dominated = sum(_is_dominated(row, others) for row in own[whole])
    return FrontMeasures(hypervolume(own[whole], reference), int(whole.sum()), best, dominated)


def _is_dominated(row: Rows, others: Rows) -> bool:
    """Comparisons with nan are False, so that a point without all scores dominates nothing."""
    return bool(((others >= row).all(axis=1) & (others > row).any(axis=1)).any())


def _curve(history: History, reference: Rows, names: Sequence[str]) -> tuple[tuple[int, float], ...]:
    """Hypervolume over the common reference after some of the evaluations that changed the front, and the last."""
    front = Front(len(names))
    fronts: list[tuple[int, Rows]] = []
    searched = [number for number, split in history.evaluations if split == "search"]
    for n, number in enumerate(searched, start=1):
        fitness = history.fitness(number)
        if fitness is not None and front.add(number, _in_order(history, fitness, names)):
            fronts.append((n, front.fitness))
    if not fronts:
        return ()
    kept = np.unique(np.linspace(0, len(fronts) - 1, CURVE_STEPS).round().astype(int))
    curve = [(fronts[i][0], hypervolume(fronts[i][1], reference)) for i in kept]
    return (*curve, (len(searched), curve[-1][1]))


def _notes(runs: Sequence[RunFront], has_held_out: bool) -> tuple[str, ...]:
    """What a reader must know before believing a difference."""
    notes = []
    if not has_held_out:
        without = [r.name for r in runs if not any(split == "held_out" for _, split in r.history.evaluations)]
        which = f" ({', '.join(without)} has none)" if without else ""
        notes.append(f"Not every run has held-out scores{which}: search scores flatter the longer search.")
    first = _scoring(runs[0])
    for run in runs[1:]:
        other = _scoring(run)
        changed = [name for name in first if first[name] != other.get(name)]
        if changed:
            notes.append(
                f"{', '.join(changed)}: scored with other data or settings in {run.name} than in {runs[0].name}; "
                "scores may not be comparable, and held-out examples of one may be search examples of the other."
            )
    return tuple(notes)


def _scoring(run: RunFront) -> dict[str, str]:
    """What decides the scores of an objective besides the model: settings, number of examples, files of data."""
    sections = {section["name"]: section for section in run.header.get("config", {}).get("objectives", [])}
    hashes = run.header.get("data_hashes", {})
    found = {}
    for o in run.history.objectives:
        section = {k: v for k, v in sections.get(o.name, {}).items() if k not in ("target", "reference")}
        used = {path: digest for path, digest in hashes.items() if path in json.dumps(section)}
        found[o.name] = json.dumps([section, dict(o.n_examples), used], sort_keys=True)
    return found


def _json(measures: FrontMeasures) -> dict[str, Any]:
    best = {name: value if math.isfinite(value) else None for name, value in measures.best.items()}
    return {
        "hypervolume": measures.hypervolume,
        "points": measures.points,
        "best": best,
        "dominated_by_others": measures.dominated,
    }
