"""front.json: the Pareto front as data, and how its points are named."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from searcher.atomic import write_text_atomically
from searcher.candidate import Evaluation, Split
from searcher.errors import ConfigError, nearest
from searcher.history import History
from searcher.multi_objective.knee import knee
from searcher.multi_objective.preference import closest_to_target

MAX_DIGITS = 10  # of a candidate number


def tags_of(history: History, numbers: Sequence[int]) -> dict[int, list[str]]:
    """Tags of front points.

    ``knee``; ``balanced``, the best worst objective, if several objectives share unit and direction;
    ``best:OBJECTIVE`` for each objective; ``target`` if targets are named.
    """
    tags: dict[int, list[str]] = {number: [] for number in numbers}
    if not numbers:
        return tags
    fitness = np.array([history.fitness(number) for number in numbers], dtype=np.float64)
    tags[numbers[knee(fitness)]].append("knee")
    if len(history.objectives) > 1 and len({(o.unit, o.direction) for o in history.objectives}) == 1:
        order = np.lexsort((-fitness.sum(axis=1), -fitness.min(axis=1)))
        tags[numbers[int(order[0])]].append("balanced")
    for i, objective in enumerate(history.objectives):
        tags[numbers[int(np.argmax(fitness[:, i]))]].append(f"best:{objective.name}")
    targets = [o.target for o in history.objectives]
    if any(t is not None for t in targets):
        best = fitness.max(axis=0)
        wished = [b if t is None else o.sign * t for b, t, o in zip(best, targets, history.objectives, strict=True)]
        tags[numbers[closest_to_target(fitness, np.array(wished))]].append("target")
    return tags


def find_point(history: History, point: str | int) -> int:
    """Number of the candidate that a user calls ``knee``, ``best:OBJECTIVE`` or another tag, or by its number.

    Raises:
        ConfigError: If there is no such point, or the candidate was not scored.
    """
    numbers = history.reported()
    text = str(point)
    if text.isascii() and text.isdecimal() and len(text) < MAX_DIGITS:
        if history.fitness(int(text)) is None:
            found = history.evaluations.get((int(text), "search"))
            is_estimate = found is not None and found.stopped is not None
            reason = (
                "it was stopped early, so that its scores are estimates"
                if is_estimate
                else "it has no scores in this run"
            )
            raise _no_point(text, reason, numbers)
        return int(text)
    tags = {tag: number for number, found in tags_of(history, numbers).items() for tag in found}
    if text not in tags:
        hint = nearest(text, tags)
        reason = f"known points are {', '.join(sorted(tags))}" if tags else "the run has no scored candidate yet"
        raise _no_point(text, reason + (f"; did you mean {hint}?" if hint else ""), numbers)
    return tags[text]


def _no_point(text: str, reason: str, numbers: Sequence[int]) -> ConfigError:
    listed = ", ".join(map(str, numbers[:12])) + (" ..." if len(numbers) > 12 else "")
    return ConfigError(
        f"There is no point {text!r}: {reason}.",
        where="--point",
        fix=f"Use knee, balanced, best:OBJECTIVE or a candidate number; on the front are: {listed or 'none'}.",
    )


def front_record(history: History) -> dict[str, Any]:
    """The content of front.json; scores are in the objectives' own units and directions."""
    numbers = history.reported()
    tags = tags_of(history, numbers)
    reference = [o.sign * r for o, r in zip(history.objectives, history.reference.tolist(), strict=True)]
    return {
        "objectives": [{"name": o.name, "direction": o.direction, "unit": o.unit} for o in history.objectives],
        "evaluations": history.n_searched,
        "stopped_early": history.n_stopped,
        "example_evaluations": history.examples_scored,
        "example_evaluations_saved": history.examples_saved,
        "hypervolume": _json(history.hypervolume),
        "reference_point": [r + 0.0 for r in reference],
        "baselines": [_baseline(history, c.number, c.name) for c in history.baselines()],
        "points": [_point(history, number, tags[number]) for number in numbers],
    }


def stopped_early(n_stopped: int, n_scored: int, n_saved: int) -> str:
    """A line on how many candidates were stopped early and which part of the example evaluations that saved."""
    share = n_saved / max(n_scored + n_saved, 1)
    return f"{n_stopped} stopped early, saving {n_saved} of {n_scored + n_saved} example evaluations ({share:.0%})"


def _baseline(history: History, number: int, name: str) -> dict[str, Any]:
    evaluation = history.evaluations.get((number, "search"))
    record: dict[str, Any] = {
        "name": name,
        "candidate": number,
        "scores": _values(evaluation),
        "stderr": _stderr(evaluation),
    }
    if evaluation is not None and evaluation.error is not None:
        record["error"] = evaluation.error
    return _with_split(record, history, number, "held_out")


def _point(history: History, number: int, tags: Sequence[str]) -> dict[str, Any]:
    candidate = history.candidates[number]
    evaluation = history.evaluations[number, "search"]
    record: dict[str, Any] = {
        "candidate": number,
        "tags": list(tags),
        "origin": candidate.name or candidate.origin,
        "scores": _values(evaluation),
        "stderr": _stderr(evaluation),
    }
    _with_split(record, history, number, "select")
    _with_split(record, history, number, "held_out")
    record["genome"] = None if candidate.genome is None else candidate.genome.tolist()
    record["recipe"] = candidate.recipe.to_json()
    return record


def _with_split(record: dict[str, Any], history: History, number: int, split: Split) -> dict[str, Any]:
    evaluation = history.evaluations.get((number, split))
    if evaluation is not None and evaluation.error is None:
        record[split] = _values(evaluation)
        record[f"{split}_stderr"] = _stderr(evaluation)
    return record


def _values(evaluation: Evaluation | None) -> Mapping[str, float | None]:
    return {} if evaluation is None else {name: _json(score.value) for name, score in evaluation.scores.items()}


def _stderr(evaluation: Evaluation | None) -> Mapping[str, float | None]:
    return {} if evaluation is None else {name: _json(score.stderr) for name, score in evaluation.scores.items()}


def _json(value: float) -> float | None:
    """Unscored is null, never 0; JSON has no infinity either."""
    return value if math.isfinite(value) else None


def write_front(history: History, path: Path) -> None:
    """Write front.json, whole or not at all."""
    write_text_atomically(path, front_text(front_record(history)))


def front_text(record: Mapping[str, Any]) -> str:
    """The record as JSON, one line per key, baseline and point (an indenting encoder is ten times slower)."""
    lines = [f"{json.dumps(key)}: {_rows(value)}" for key, value in record.items()]
    return "{" + ",\n ".join(lines) + "}\n"


def _rows(value: object) -> str:
    if not isinstance(value, list) or not value or not isinstance(value[0], dict):
        return json.dumps(value, allow_nan=False)
    return "[\n  " + ",\n  ".join(json.dumps(row, allow_nan=False) for row in value) + "]"


def write_csv(record: Mapping[str, Any], stream: TextIO) -> None:
    """Baselines and points, one row each: candidate, name or tags, scores of each split."""
    names = [o["name"] for o in record["objectives"]]
    splits = ("scores", "stderr", "select", "select_stderr", "held_out", "held_out_stderr")
    shown = ("search", "search_stderr", *splits[2:])
    writer = csv.writer(stream)
    writer.writerow(["candidate", "what", *(f"{name}.{split}" for split in shown for name in names)])
    for row in [*record["baselines"], *record["points"]]:
        what = row.get("name") or ",".join(row["tags"]) or row["origin"]
        writer.writerow([row["candidate"], what, *(row.get(split, {}).get(name) for split in splits for name in names)])
