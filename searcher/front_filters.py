"""Which points of a front to show: bounds, the nearest to wishes, the first few by an objective or by hypervolume.

Works on the content of front.json alone; scores are in the objectives' own units and directions.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from searcher.errors import ConfigError, nearest
from searcher.multi_objective.hypervolume import contributions
from searcher.multi_objective.preference import closest_to_target

HYPERVOLUME: Final = "hypervolume"

_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_SPLITS: Final = {"search": "scores", "select": "select", "held_out": "held_out"}  # as the CSV names its columns
_CONDITION: Final = re.compile(r"^(?P<name>[^<>=]+?)\s*(?P<sign>>=|<=|>|<)\s*(?P<bound>[^<>=]+)$")
_WISH: Final = re.compile(r"^(?P<name>[^<>=]+?)\s*=\s*(?P<bound>[^<>=]+)$")

Record = Mapping[str, Any]


@dataclass(frozen=True)
class FrontFilter:
    """What the user wants to see of a front; the parts apply in this order.

    Args:
        where: Conditions such as ``low>=0.9``, each perhaps several joined by ``and``; ``low.held_out`` and
            ``low.select`` are an objective's scores on those examples, its name alone the search score.
        closest: Wished scores, such as ``low=0.95,high=0.9``; objectives that are not named do not count.
        top: How many points to keep at most.
        by: ``hypervolume`` or an objective, best first; None is the hypervolume if ``top`` is given.
    """

    where: Sequence[str] = ()
    closest: str | None = None
    top: int | None = None
    by: str | None = None

    def __post_init__(self) -> None:
        if self.closest is not None and self.by is not None:
            raise ConfigError(
                "--closest and --by exclude each other: both give an order.",
                where="command line",
                fix="Give one of them; --top N takes the first N of either.",
            )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return not self.where and self.closest is None and self.top is None and self.by is None

    def apply(self, record: Record) -> dict[str, Any]:
        """The record with the wanted points only, best first where there is an order; all else as it was.

        The key ``filter`` says what was asked and how many points there were before. Points kept by hypervolume
        have ``hypervolume_contribution``, what the whole front would lose without them.

        Raises:
            ConfigError: If an objective is unknown or a condition cannot be read.
        """
        if self.is_empty:
            return dict(record)
        conditions = [_Condition.of(text, record) for text in _clauses(self.where)]
        wishes = None if self.closest is None else _wishes(self.closest, record)
        key = None if self.by in (None, HYPERVOLUME) else _objective(self.by or "", record, "--by")
        points = [point for point in record["points"] if all(c.holds(point) for c in conditions)]
        if wishes is not None:
            points = _nearest_points(points, wishes, record, self.top or 1)
        elif key is not None:
            points = _best_first(points, key, record)
        elif self.top is not None or self.by is not None:
            points = _by_contribution(points, record)
        points = points if self.top is None else points[: self.top]
        return {**record, "filter": self._told(record, conditions), "points": points}

    def _told(self, record: Record, conditions: Sequence[_Condition]) -> dict[str, Any]:
        """What was asked, for front.json readers and the table's caption."""
        alone = {c.text: sum(c.holds(point) for point in record["points"]) for c in conditions}
        by = self.by or (HYPERVOLUME if self.top is not None and self.closest is None else None)
        asked = {"where": alone, "closest": self.closest, "top": self.top, "by": by}
        return {**{k: v for k, v in asked.items() if v}, "points_before": len(record["points"])}


def filter_text(told: Mapping[str, Any], n_shown: int) -> str:
    """One line on a filter, such as ``3 of 49 points: low>=0.9``; says why nothing is left."""
    parts = list(told.get("where", {}))
    parts += [f"closest to {told['closest']}"] if "closest" in told else []
    parts += [f"by {told['by']}"] if "by" in told else []
    text = f"{n_shown} of {told['points_before']} points: " + ", ".join(parts)
    if n_shown == 0 and told.get("where"):
        alone = ", ".join(f"{condition} {n}" for condition, n in told["where"].items())
        text += f" (points that meet each condition alone: {alone})"
    return text


@dataclass(frozen=True)
class _Condition:
    """A bound on a score."""

    text: str
    split: str
    objective: str
    sign: str
    bound: float

    @classmethod
    def of(cls, text: str, record: Record) -> _Condition:
        found = _CONDITION.match(text)
        if found is None:
            raise _unreadable(text, "--where", 'Write it as "low>=0.9", with one of >=, <=, > and <.')
        name, split = _column(found["name"].strip(), record)
        return cls(text, split, name, found["sign"], _number(found["bound"], text, "--where"))

    def holds(self, point: Record) -> bool:
        """Whether a point has the score and it is within the bound."""
        score = point.get(self.split, {}).get(self.objective)
        return score is not None and _COMPARISONS[self.sign](score, self.bound)


def _clauses(where: Sequence[str]) -> list[str]:
    return [clause.strip() for text in where for clause in re.split(r"\s+and\s+", text)]


def _wishes(text: str, record: Record) -> dict[str, float]:
    """Wished scores by objective."""
    wishes: dict[str, float] = {}
    for part in text.split(","):
        found = _WISH.match(part.strip())
        if found is None:
            raise _unreadable(part.strip(), "--closest", 'Write it as "low=0.95,high=0.9".')
        name = _objective(found["name"].strip(), record, "--closest")
        wishes[name] = _number(found["bound"], part.strip(), "--closest")
    return wishes


def _nearest_points(points: Sequence[Record], wishes: Mapping[str, float], record: Record, n: int) -> list[Record]:
    """The point of choice (:func:`closest_to_target`), then the one that would be chosen without it, and so on."""
    signs = {o["name"]: _sign(o) for o in record["objectives"]}
    target = [signs[name] * wish for name, wish in wishes.items()]
    left = [point for point in points if all(point["scores"].get(name) is not None for name in wishes)]
    chosen: list[Record] = []
    while left and len(chosen) < n:
        fitness = [[signs[name] * point["scores"][name] for name in wishes] for point in left]
        chosen.append(left.pop(closest_to_target(fitness, target)))
    return chosen


def _best_first(points: Sequence[Record], objective: str, record: Record) -> list[Record]:
    """By the search score; points without one last, ties by candidate number."""
    sign = next(_sign(o) for o in record["objectives"] if o["name"] == objective)

    def place(point: Record) -> tuple[float, int]:
        score = point["scores"].get(objective)
        return (math.inf if score is None else -sign * score, point["candidate"])

    return sorted(points, key=place)


def _by_contribution(points: Sequence[Record], record: Record) -> list[Record]:
    """By what the whole front would lose without the point, the largest loss first."""
    fitness = fitness_of(record["points"], record["objectives"])
    reference = [_sign(o) * r for o, r in zip(record["objectives"], record["reference_point"], strict=True)]
    volumes = contributions(fitness, reference).tolist()
    own = {point["candidate"]: volume for point, volume in zip(record["points"], volumes, strict=True)}
    kept = sorted(points, key=lambda point: (-own[point["candidate"]], point["candidate"]))
    return [{**point, "hypervolume_contribution": own[point["candidate"]]} for point in kept]


def fitness_of(
    rows: Sequence[Record], objectives: Sequence[Mapping[str, Any]], split: str = "scores"
) -> NDArray[np.float64]:
    """Signed scores of rows of front.json, shape ``(n_rows, n_objectives)``; nan where there is none."""
    values = [[(row.get(split) or {}).get(o["name"]) for o in objectives] for row in rows]
    scores = np.array(values, dtype=np.float64).reshape(len(rows), len(objectives))  # None becomes nan
    return np.asarray(scores * np.array([_sign(o) for o in objectives]))


def _sign(objective: Mapping[str, Any]) -> float:
    return 1.0 if objective["direction"] == "maximize" else -1.0


def _column(text: str, record: Record) -> tuple[str, str]:
    """Objective and the key of a split in front.json; a name that holds a dot is found first."""
    names = [o["name"] for o in record["objectives"]]
    name, dot, split = text.rpartition(".")
    if text in names or not dot or split not in _SPLITS:
        return _objective(text, record, "--where"), "scores"
    return _objective(name, record, "--where"), _SPLITS[split]


def _objective(name: str, record: Record, where: str) -> str:
    names = [o["name"] for o in record["objectives"]]
    known = [*names, HYPERVOLUME] if where == "--by" else names
    if name in names:
        return name
    hint = nearest(name, known) or nearest(name.lower(), known)
    raise ConfigError(
        f"There is no objective {name!r}." + (f" Did you mean {hint!r}?" if hint else ""),
        where=where,
        fix=f"Use one of: {', '.join(known)}.",
    )


def _number(text: str, clause: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _unreadable(clause, where, f"{text.strip()!r} should be a number.")
    return value


def _unreadable(text: str, where: str, fix: str) -> ConfigError:
    return ConfigError(f"The condition {text!r} cannot be read.", where=where, fix=fix)
