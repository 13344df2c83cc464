"""Histories from numbers: one row of scores per candidate, None for a failure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from searcher.candidate import Candidate, Evaluation, Score, Split
from searcher.history import History, ObjectiveInfo
from searcher.recipe import Recipe

Row = Sequence[float] | None

GAIN = ObjectiveInfo("gain", "maximize", "nats")
COST = ObjectiveInfo("cost", "minimize", "seconds")
ACCURACY = ObjectiveInfo("accuracy", "maximize", "fraction")
ERROR = ObjectiveInfo("error", "minimize", "fraction")


def recipe(number: int) -> Recipe:
    """A merge of its own for every number."""
    return Recipe("linear", ("a", "b"), None, np.array([0, 10]), np.array([[1.0, float(number)]]))


def candidate(number: int, n_baselines: int) -> Candidate:
    """Baselines have names and no genome, the others a genome and no name."""
    if number < n_baselines:
        return Candidate(number, recipe(number), None, (), "baseline", f"baseline {number}")
    return Candidate(number, recipe(number), np.array([number / 1000]), (0,) if number else ())


def evaluation(number: int, objectives: Sequence[ObjectiveInfo], row: Row, split: Split = "search") -> Evaluation:
    """A row of scores, or a failure; nan values are left out, as for an objective without this split."""
    if row is None:
        return Evaluation(number, split, {}, 0.5, "NonFiniteWeights", "3 merged weights are NaN or infinite.")
    scores = {o.name: Score(v, 0.125) for o, v in zip(objectives, row, strict=True) if not math.isnan(v)}
    return Evaluation(number, split, scores, 0.5)


def make_history(
    objectives: Sequence[ObjectiveInfo],
    rows: Sequence[Row],
    *,
    n_baselines: int = 1,
    select: Mapping[int, Row] | None = None,
    held_out: Mapping[int, Row] | None = None,
) -> History:
    """The history of these search scores, the first rows being baselines, and of scores on other splits."""
    found = [evaluation(i, objectives, row) for i, row in enumerate(rows)]
    found += [evaluation(i, objectives, row, "select") for i, row in (select or {}).items()]
    found += [evaluation(i, objectives, row, "held_out") for i, row in (held_out or {}).items()]
    return History.of(objectives, [candidate(i, n_baselines) for i in range(len(rows))], found)
