"""report.html of a run: its record as the plain data that the report room draws."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from searcher.candidate import Candidate, Evaluation, Split
from searcher.front_file import stopped_early, tags_of
from searcher.history import History
from searcher.multi_objective.hypervolume import hypervolume
from searcher.pool.depth import built_layout
from searcher.pool.layout import Layout, TensorEntry
from searcher.recipe import Recipe, layers_text
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
from searcher.report.insight_data import Insight

ENOUGH = 10  # candidates before a constant objective is suspicious


def report_data(
    folder: Path,
    header: Mapping[str, Any],
    history: History,
    insight: Insight,
    exports: Sequence[ExportRow],
    notes: Sequence[str] = (),
) -> ReportData:
    """Everything the report shows of a run."""
    numbers = history.reported()
    tags = tags_of(history, numbers)
    config = header["config"]
    fixed = ", ".join(f"{k} {v}" for k, v in config["operator"].items() if k != "name")
    warnings = [*header["warnings"], *notes, *_constant_objectives(history)]
    return ReportData(
        run=_shown(folder, Path(header["root"])),
        name=folder.name,
        date=header["started"],
        searcher_version=header["searcher"],
        objectives=tuple(ObjectiveInfo(o.name, o.direction, o.unit, o.n_examples) for o in history.objectives),
        seed=header["seed"],
        elapsed=max(header.get("elapsed", 0.0), history.seconds),
        strategy=header["strategy"],
        space=header["space"],
        operator=config["operator"]["name"] + (f" ({fixed})" if fixed else ""),
        budget=_budget(header["budget"], history),
        config=_yaml(config),
        packages=header["versions"],
        hashes={**header["hashes"], **header["data_hashes"]},
        baselines=tuple(_baseline(history, c) for c in history.baselines()),
        candidates=tuple(_candidate(history, c, c.number in tags) for c in history.candidates if _known(history, c)),
        front=tuple(_front_row(history, number, tags[number], header["genes"]) for number in numbers),
        hypervolume=_curve(history),
        reference_point={
            o.name: o.sign * r for o, r in zip(history.objectives, history.reference.tolist(), strict=True)
        },
        hypervolume_baselines=_baseline_volume(history),
        coefficients=tuple(
            _table(history.candidates[n], ", ".join(tags[n]), header["layout"]) for n in numbers if tags[n]
        ),
        failures=_failures(history),
        exports=tuple(exports),
        warnings=tuple(warnings),
        insight=insight,
    )


def _budget(budget: Mapping[str, Any], history: History) -> str:
    parts = [f"{v:g} {k}" for k, v in budget.items() if v is not None and k != "errors"]
    if history.n_stopped:
        parts.append(stopped_early(history.n_stopped, history.examples_scored, history.examples_saved))
    return ", ".join(parts)


def _shown(folder: Path, root: Path) -> str:
    """The run folder as the user would type it."""
    return str(folder.relative_to(root)) if folder.is_relative_to(root) else folder.name


def _yaml(config: Mapping[str, Any]) -> str:
    from ruamel.yaml import YAML

    text = StringIO()
    YAML(typ="safe", pure=True).dump(dict(config), text)
    return text.getvalue()


def _known(history: History, candidate: Candidate) -> bool:
    return (candidate.number, "search") in history.evaluations


def _scores(history: History, number: int, split: Split) -> Scores | None:
    evaluation = history.evaluations.get((number, split))
    if evaluation is None or evaluation.error is not None:
        return None
    values = {name: score.value for name, score in evaluation.scores.items()}
    return Scores(values, {name: score.stderr for name, score in evaluation.scores.items()})


def _baseline(history: History, candidate: Candidate) -> BaselineRow:
    evaluation = history.evaluations.get((candidate.number, "search"))
    return BaselineRow(
        candidate.name,
        candidate.number,
        _scores(history, candidate.number, "search"),
        _scores(history, candidate.number, "held_out"),
        None if evaluation is None else evaluation.error,
    )


def _candidate(history: History, candidate: Candidate, on_front: bool) -> CandidateRow:
    evaluation = history.evaluations[candidate.number, "search"]
    values = {name: score.value for name, score in evaluation.scores.items()}
    summary = candidate.name or _summary(candidate.recipe)
    return CandidateRow(
        candidate.number,
        candidate.origin,
        values,
        evaluation.error,
        evaluation.seconds,
        on_front,
        summary,
        is_estimate=evaluation.stopped is not None,
    )


def _summary(recipe: Recipe) -> str:
    """One line: operator and mean coefficient of each model over the parameter line."""
    lengths = np.diff(recipe.boundaries) / recipe.n_parameters
    means = lengths @ recipe.coefficients
    if recipe.layers is not None:
        return f"{len(recipe.layers)} layers: {layers_text(recipe.layers)}"
    return f"{recipe.operator}, mean " + ", ".join(f"{m} {c:.2f}" for m, c in zip(recipe.models, means, strict=True))


def _front_row(history: History, number: int, tags: Sequence[str], genes: Sequence[str]) -> FrontRow:
    candidate = history.candidates[number]
    search = _scores(history, number, "search")
    assert search is not None  # only scored candidates are on a front
    values = [] if candidate.genome is None else candidate.genome.tolist()
    return FrontRow(
        number,
        tuple(tags),
        search,
        _scores(history, number, "select"),
        _scores(history, number, "held_out"),
        candidate.recipe.to_json(),
        dict(zip(genes, values, strict=False)),
    )


def _curve(history: History) -> tuple[float, ...]:
    """Hypervolume after each evaluation."""
    curve = np.zeros(history.n_searched)
    for n_evaluations, volume in history.hypervolumes:
        curve[n_evaluations - 1 :] = volume
    return tuple(curve.tolist())


def _baseline_volume(history: History) -> float:
    fitness = [f for c in history.baselines() if (f := history.fitness(c.number)) is not None]
    return hypervolume(np.array(fitness), history.reference) if fitness else math.nan


def _table(candidate: Candidate, title: str, layout: Sequence[Sequence[Any]]) -> CoefficientTable:
    """Coefficients of a point, one row per stretch of the layout on which they are constant."""
    recipe = candidate.recipe
    tensors = tuple(TensorEntry(name, (), offset, size, block, kind) for name, offset, size, block, kind in layout)
    built = built_layout(recipe, Layout(tensors)).tensors
    labels = [
        _segment_label(built, int(a), int(b))
        for a, b in zip(recipe.boundaries[:-1], recipe.boundaries[1:], strict=True)
    ]
    rows = tuple(tuple(row) for row in recipe.coefficients.tolist())
    title = title if recipe.layers is None else f"{title}; layers {layers_text(recipe.layers)}"
    return CoefficientTable(candidate.number, title, tuple(labels), recipe.models, rows)


def _segment_label(tensors: Sequence[TensorEntry], start: int, stop: int) -> str:
    """What stands between two positions: one part's name, or the first and last."""
    inside = [t for t in tensors if t.offset < stop and t.stop > start]
    names = list(dict.fromkeys(t.kind if t.block is None else f"block {t.block}" for t in inside))
    if start == 0 and stop == tensors[-1].stop:
        return "whole model"
    label = names[0] if len(names) == 1 else f"{names[0]} - {names[-1]}"
    kinds = {t.kind for t in inside}
    partial = len(names) == 1 and len(kinds) == 1 and inside[0].block is not None
    return f"{label}, {inside[0].kind}" if partial else label


def _constant_objectives(history: History) -> list[str]:
    """A warning for each objective that cannot guide a search because it never changes."""
    fitness = [f for c in history.candidates if (f := history.fitness(c.number)) is not None]
    if len(fitness) < ENOUGH:
        return []
    spread = np.ptp(np.array(fitness), axis=0)
    constant = [o.name for o, width in zip(history.objectives, spread, strict=True) if width == 0]
    return [
        f"Objective {name} gave every candidate the same score; is it scored on the right data?" for name in constant
    ]


def _failures(history: History) -> tuple[FailureRow, ...]:
    failed: list[Evaluation] = [e for e in history.evaluations.values() if e.error is not None]
    counts = Counter(str(e.error) for e in failed)
    examples = {str(e.error): e.message for e in failed}
    return tuple(FailureRow(kind, count, examples[kind]) for kind, count in counts.most_common())
