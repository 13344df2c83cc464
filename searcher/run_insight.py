"""What the report says of the trade-offs beyond scores: read from a run's record and its per-example scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from searcher.analysis.optimism import Gap, excess_gap, gap_of_examples, gap_of_scores
from searcher.analysis.paired import independent_stderr, paired_stderr
from searcher.analysis.sensitivity import GeneEffects, gene_effects, is_enough
from searcher.candidate import Score, Split
from searcher.history import History, ObjectiveInfo
from searcher.report.insight_data import Differences, FrontCoefficients, Insight, SearchGap
from searcher.sqlite_storage import SqliteStorage
from searcher.storage import RunStorage

COMPARED_POINTS: Final = 200  # more cannot be read in a map of pairs
PART_LIMIT: Final = 40  # of the network; deeper ones are shown in even stretches

_BOTH: Final[tuple[Split, Split]] = ("search", "held_out")

Rows = NDArray[np.float64]
Examples = Callable[[int, Split], Mapping[str, Rows]]


def insight_of(folder: Path, header: Mapping[str, Any], history: History) -> Insight:
    """All that the record of a run allows to say."""
    numbers = history.reported()
    if not numbers:
        return Insight()
    with ExitStack() as stack:
        is_stored = (folder / "run.db").is_file()
        examples = _Examples(stack.enter_context(SqliteStorage(folder)) if is_stored else None, history)
        return Insight(
            front_coefficients(history, numbers, header["layout"]),
            tuple(header["genes"]),
            gene_effects_of(history, len(header["genes"])),
            differences(history, numbers, examples),
            search_gaps(history, numbers, examples),
        )


class _Examples:
    """Per-example scores of a stored run; those of a repeated candidate are the first one's."""

    def __init__(self, storage: RunStorage | None, history: History) -> None:
        self._storage, self._history = storage, history
        self._known: dict[tuple[int, Split], Mapping[str, Rows]] = {}

    def __call__(self, candidate: int, split: Split) -> Mapping[str, Rows]:
        evaluation = self._history.evaluations.get((candidate, split))
        if evaluation is None or evaluation.error is not None:
            return {}
        origin = candidate if evaluation.copied_from is None else evaluation.copied_from
        if (origin, split) not in self._known:
            self._known[origin, split] = self._read(origin, split)
        return self._known[origin, split]

    def _read(self, candidate: int, split: Split) -> Mapping[str, Rows]:
        try:
            return {} if self._storage is None else self._storage.examples(candidate, split)
        except (OSError, ValueError, KeyError, BadZipFile):
            return {}  # a damaged file of examples is no reason to have no report


def differences(history: History, numbers: Sequence[int], examples: Examples) -> Differences | None:
    """Differences between front points and baselines, on the held-out examples if all front points have them."""
    numbers = numbers[:COMPARED_POINTS]
    is_tested = all(_is_scored(history, n, "held_out") for n in numbers)
    split: Literal["search", "held_out"] = "held_out" if is_tested else "search"
    rest = [c.number for c in history.baselines() if c.number not in numbers and _is_scored(history, c.number, split)]
    points = (*numbers, *rest)
    fitness, stderr, is_paired = [], [], []
    for objective in history.objectives:
        own = _split_of(objective, split)
        scores = [history.evaluations[n, own].scores[objective.name] for n in points]
        rows = _stacked(history, points, own, objective.name, examples)
        fitness.append([objective.sign * score.value for score in scores])
        known = np.array([score.stderr for score in scores])
        stderr.append(independent_stderr(known) if rows is None else paired_stderr(rows))
        is_paired.append(rows is not None)
    return Differences(split, points, np.array(fitness).T, np.stack(stderr, axis=2), tuple(is_paired))


def _split_of(objective: ObjectiveInfo, split: Split) -> Split:
    """An objective without examples, such as a size, has one score for all splits."""
    return split if split in objective.n_examples else "search"


def _is_scored(history: History, number: int, split: Split) -> bool:
    """Whether a candidate has every objective on a split, and there are such examples at all."""
    splits = [_split_of(objective, split) for objective in history.objectives]
    if split not in splits and split != "search":
        return False
    scores = [
        _score(history, number, own, objective.name) for own, objective in zip(splits, history.objectives, strict=True)
    ]
    return all(score is not None for score in scores)


def _score(history: History, number: int, split: Split, name: str) -> Score | None:
    """A score that is no estimate; None if there is none."""
    found = history.evaluations.get((number, split))
    if found is None or found.error is not None or found.stopped is not None or name not in found.scores:
        return None
    return found.scores[name] if math.isfinite(found.scores[name].value) else None


def _stacked(history: History, points: Sequence[int], split: Split, name: str, examples: Examples) -> Rows | None:
    """Per-example scores of an objective, shape ``(p, n)``; None if a point lacks them or the score is not their mean.

    A perplexity, say, is not the mean of its examples: differences of means would be in another unit.
    """
    rows = [examples(number, split).get(name) for number in points]
    found = [row for row in rows if row is not None]
    if not found or len(found) < len(rows) or len({row.shape for row in found}) > 1:
        return None
    stacked = np.array(found, dtype=np.float64)
    values = np.array([history.evaluations[n, split].scores[name].value for n in points])
    counts = (~np.isnan(stacked)).sum(axis=1)
    if not counts.all():
        return None
    means = np.nansum(stacked, axis=1) / counts
    return stacked if np.allclose(means, values, rtol=1e-6, atol=1e-9) else None


def search_gaps(history: History, numbers: Sequence[int], examples: Examples) -> tuple[SearchGap, ...]:
    """Search minus held-out, for the front points that the search proposed and for the baselines."""
    own = {c.number for c in history.baselines()}
    proposed = [n for n in numbers if n not in own]
    gaps = []
    for objective in history.objectives:
        name = objective.name
        both = {n for n in {*proposed, *own} if all(_score(history, n, split, name) for split in _BOTH)}
        chosen, controls = [n for n in proposed if n in both], [n for n in sorted(own) if n in both]
        if not chosen:
            continue
        rows = [_pair(history, group, name, examples) for group in (chosen, controls)]
        excess = None
        if rows[0] is not None and rows[1] is not None:
            excess = excess_gap(*rows[0], *rows[1])
        front, baselines = (_gap(history, g, name, r) for g, r in zip((chosen, controls), rows, strict=True))
        assert front is not None  # there are chosen points
        gaps.append(SearchGap(name, front, baselines, excess))
    return tuple(gaps)


def _pair(history: History, numbers: Sequence[int], name: str, examples: Examples) -> tuple[Rows, Rows] | None:
    """Signed per-example scores on both splits; None unless all have them."""
    sign = next(o.sign for o in history.objectives if o.name == name)
    search = _stacked(history, numbers, "search", name, examples)
    held_out = _stacked(history, numbers, "held_out", name, examples)
    return None if search is None or held_out is None else (sign * search, sign * held_out)


def _gap(history: History, numbers: Sequence[int], name: str, rows: tuple[Rows, Rows] | None) -> Gap | None:
    if not numbers:
        return None
    if rows is not None:
        return gap_of_examples(*rows)
    sign = next(o.sign for o in history.objectives if o.name == name)
    scores = [[history.evaluations[n, split].scores[name] for n in numbers] for split in ("search", "held_out")]
    values = [np.array([sign * s.value for s in found]) for found in scores]
    errors = [np.array([s.stderr for s in found]) for found in scores]
    return gap_of_scores(values[0], values[1], errors[0], errors[1])


def gene_effects_of(history: History, n_genes: int) -> dict[str, GeneEffects]:
    """Effects by objective, learned from candidates with whole scores; empty if there are too few of them."""
    tried = [c for c in history.candidates if c.genome is not None and len(c.genome) == n_genes]
    known = [(c.genome, f) for c in tried if (f := history.fitness(c.number)) is not None and np.isfinite(f).all()]
    if not is_enough(len(known), n_genes):
        return {}
    genomes, fitness = (np.array(column, dtype=np.float64) for column in zip(*known, strict=True))
    scores = history.signs * fitness
    return {
        o.name: gene_effects(genomes, scores[:, k])
        for k, o in enumerate(history.objectives)
        if np.ptp(scores[:, k]) > 0
    }


def front_coefficients(
    history: History, numbers: Sequence[int], layout: Sequence[Sequence[Any]]
) -> FrontCoefficients | None:
    """Coefficients of the front over the parts of the network; None where points differ in their layers or models."""
    recipes = {n: history.candidates[n].recipe for n in numbers}
    models = {recipe.models for recipe in recipes.values()}
    if len(numbers) < 2 or len(models) > 1 or any(recipe.layers is not None for recipe in recipes.values()):
        return None
    borders, labels = _parts(layout)
    first = history.objectives[0]
    order = sorted(numbers, key=lambda n: (history.evaluations[n, "search"].scores[first.name].value * first.sign, n))
    values = np.stack([_means(recipes[n].boundaries, recipes[n].coefficients, borders) for n in order])
    return FrontCoefficients(tuple(order), next(iter(models)), tuple(labels), values)


def _parts(layout: Sequence[Sequence[Any]]) -> tuple[NDArray[np.int64], list[str]]:
    """Borders and names of blocks and of what stands before, between and after them; at most ``PART_LIMIT``."""
    borders, labels = [0], list[str]()
    for _, offset, size, block, kind in layout:
        label = str(kind) if block is None else f"block {block}"
        if labels and labels[-1] == label:
            borders[-1] = offset + size
        else:
            borders.append(offset + size)
            labels.append(label)
    kept = np.unique(np.linspace(0, len(labels), min(len(labels), PART_LIMIT) + 1).round().astype(int))
    joined = [labels[a] if b - a == 1 else f"{labels[a]} - {labels[b - 1]}" for a, b in pairwise(kept)]
    return np.array(borders, dtype=np.int64)[kept], joined


def _means(boundaries: NDArray[np.int64], coefficients: Rows, borders: NDArray[np.int64]) -> Rows:
    """Mean coefficients between borders, weighted by the number of parameters, shape ``(S, K)``."""
    lengths = np.diff(boundaries)[:, None].astype(np.float64)
    total = np.concatenate([np.zeros((1, coefficients.shape[1])), np.cumsum(lengths * coefficients, axis=0)])
    at_borders = np.stack([np.interp(borders, boundaries, column) for column in total.T], axis=1)
    return np.asarray(np.diff(at_borders, axis=0) / np.diff(borders)[:, None])
