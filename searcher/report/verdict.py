"""The first sentence of a report: did the search beat its baselines, as far as the data can tell?

Two questions are asked. Is the hypervolume of the front larger than that of the baselines alone? And is the
point that the search would choose better than the best baseline where it is worst? Both models are chosen on
the examples used for searching and compared on the held-out ones, so that choosing does not flatter them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

from searcher.report.data import BaselineRow, FrontRow, ObjectiveInfo, ReportData, Scores
from searcher.report.wording import clean_line, decimals_for, number, significant

Outcome: TypeAlias = Literal["better", "not_distinguishable", "not_better", "unconfirmed", "unknown"]

HEADLINES: dict[Outcome, str] = {
    "better": "Yes, the search beat the baselines",
    "not_distinguishable": "Not distinguishable from the baselines",
    "not_better": "No, the search did not beat the baselines",
    "unconfirmed": "Perhaps, but nothing confirms it",
    "unknown": "No verdict",
}


@dataclass(frozen=True)
class Duel:
    """The search's point against the best baseline, each where it is worst.

    Args:
        point: Candidate number of the point.
        baseline: Name of the baseline.
        split: Examples on which they were compared.
        difference: How much better the point is, in the unit of the scores (or of the scale, if units differ).
        stderr: Standard error of the difference: that of the paired examples if both are worst in one objective and
            its examples are known, else both errors taken as independent; nan if unknown.
        detail: The two scores in words.
    """

    point: int
    baseline: str
    split: Literal["held_out", "search"]
    difference: float
    stderr: float
    detail: str

    @property
    def is_distinguishable(self) -> bool:
        """Whether the difference is larger than two standard errors; False if they are unknown."""
        return math.isfinite(self.stderr) and abs(self.difference) > 2 * self.stderr


@dataclass(frozen=True)
class Verdict:
    """The outcome and one plain sentence, ``headline: reason``."""

    outcome: Outcome
    reason: str

    @property
    def headline(self) -> str:
        """The beginning of the sentence."""
        return HEADLINES[self.outcome]


def judge(data: ReportData) -> Verdict:
    """The verdict on a run; never raises, whatever is missing."""
    if not any(row.error is None and row.scores for row in data.candidates):
        return Verdict("unknown", "no candidate was scored.")
    own = {row.candidate for row in data.baselines}
    points = [point for point in data.front if point.candidate not in own and _is_scored(point.search, data)]
    baselines = [row for row in data.baselines if _is_scored(row.search, data)]
    if not baselines:
        return Verdict("unknown", "no baseline was scored, so there is nothing to compare the front with.")
    if all(row.origin == "baseline" for row in data.candidates):
        return Verdict("unknown", "the budget ended with the baselines, before the search began.")
    if not points:
        return Verdict("not_better", "no merge that it proposed is on the front; the baselines remain the best.")
    duel = _duel(data, points, baselines)
    grew = _grew(data)
    outcome = _outcome(duel, grew)
    volume = _volume_clause(data, grew)
    agrees = bool(grew) == (duel.is_distinguishable and duel.difference > 0)
    joint = ", and " if agrees else ", but "
    end = "; there are no held-out scores." if duel.split == "search" else "."
    return Verdict(outcome, (volume + joint if volume else "") + _duel_clause(data, duel) + end)


def _outcome(duel: Duel, grew: bool | None) -> Outcome:
    """Held-out evidence decides; without it the best answer is 'perhaps'."""
    if grew is False or (duel.is_distinguishable and duel.difference < 0):
        return "not_better"
    if not math.isfinite(duel.stderr):
        return "unconfirmed" if duel.difference > 0 else "not_better"
    if not duel.is_distinguishable:
        return "not_distinguishable"
    return "better" if duel.split == "held_out" else "unconfirmed"


def _grew(data: ReportData) -> bool | None:
    """Whether the front's hypervolume exceeds that of the baselines; None if unknown or for one objective."""
    alone = data.hypervolume_baselines
    if len(data.objectives) == 1 or not data.hypervolume or not math.isfinite(alone + data.hypervolume[-1]):
        return None
    return data.hypervolume[-1] > alone + 1e-9 * abs(alone)  # the margin absorbs rounding


def _volume_clause(data: ReportData, grew: bool | None) -> str:
    if grew is None:
        return ""
    final, alone = data.hypervolume[-1], data.hypervolume_baselines
    if not grew:
        return f"the front's hypervolume, {significant(final)}, is not above that of the baselines alone"
    gain = f" ({final / alone - 1:+.1%})".replace("%", " %") if alone > 0 and final / alone < 100 else ""
    return f"the front's hypervolume is {significant(final)} against {significant(alone)} for the baselines alone{gain}"


def _duel_clause(data: ReportData, duel: Duel) -> str:
    shown = decimals_for([duel.difference], [duel.stderr])
    size = number(abs(duel.difference), shown)
    if math.isfinite(duel.stderr):
        size += f" ± {number(duel.stderr, shown)}"
    examples = "held-out" if duel.split == "held_out" else "search"
    where = "" if len(data.objectives) == 1 else " on the worst objective"
    side = "better" if duel.difference >= 0 else "worse"
    clause = (
        f"on the {examples} examples point {duel.point} is {side} than the best baseline, “{duel.baseline}”, "
        f"by {size}{where} ({duel.detail})"
    )
    if not math.isfinite(duel.stderr):
        return clause + ", of unknown standard error"
    return clause if duel.is_distinguishable else clause + ", which is within two standard errors"


def _is_scored(scores: Scores | None, data: ReportData) -> bool:
    return scores is not None and all(math.isfinite(scores.value(objective.name)) for objective in data.objectives)


def _duel(data: ReportData, points: list[FrontRow], baselines: list[BaselineRow]) -> Duel:
    """Choose both sides on the search scores; compare them on the held-out ones if both have them."""
    has_held_out = [point for point in points if _is_scored(point.held_out, data)]
    tested = [row for row in baselines if _is_scored(row.held_out, data)]
    on_held_out = bool(has_held_out and tested)
    if on_held_out:
        points, baselines = has_held_out, tested
    scales = _scales(data, points, baselines)
    point = max(points, key=lambda p: (_worst(p.search, data, scales)[0], -p.candidate))
    best = max(baselines, key=lambda b: (_worst(b.search, data, scales)[0], -b.candidate))
    sides = (point.held_out, best.held_out) if on_held_out else (point.search, best.search)
    ours, our_error, where = _worst(sides[0], data, scales)
    theirs, their_error, their_where = _worst(sides[1], data, scales)
    detail = f"{_named(sides[0], where, data)} against {_named(sides[1], their_where, data)}"
    if where is their_where and len(data.objectives) > 1:
        detail = detail.replace(f" on {clean_line(where.name)}", "", 1)
    if any(scale != (0.0, 1.0) for scale in scales):
        detail += "; scores scaled to 0 for the worst and 1 for the best of the front and the baselines"
    name = clean_line(best.name)
    split: Literal["held_out", "search"] = "held_out" if on_held_out else "search"
    error = math.hypot(our_error, their_error)
    if where is their_where:
        k = data.objectives.index(where)
        error = _paired_error(data, split, (point.candidate, best.candidate), k, scales[k][1], error)
    return Duel(point.candidate, name, split, ours - theirs, error, detail)


def _paired_error(
    data: ReportData,
    split: Literal["held_out", "search"],
    sides: tuple[int, int],
    objective: int,
    width: float,
    otherwise: float,
) -> float:
    """Standard error of the difference on the same examples, in scaled units; what hurts one model mostly hurts both."""
    known = data.insight.differences
    if known is None or known.split != split or not known.is_paired[objective]:
        return otherwise
    error = known.of(*sides, objective) / width
    return error if math.isfinite(error) else otherwise


def _scales(data: ReportData, points: list[FrontRow], baselines: list[BaselineRow]) -> list[tuple[float, float]]:
    """Offset and width of the fitness per objective: (0, 1) if all share a unit and a direction."""
    if len({(objective.unit, objective.direction) for objective in data.objectives}) == 1:
        return [(0.0, 1.0)] * len(data.objectives)
    scales = []
    for objective in data.objectives:
        rows = [*(point.search for point in points), *(row.search for row in baselines)]
        fitness = [objective.sign * scores.value(objective.name) for scores in rows if scores is not None]
        scales.append((min(fitness), (max(fitness) - min(fitness)) or 1.0))
    return scales


def _worst(
    scores: Scores | None, data: ReportData, scales: list[tuple[float, float]]
) -> tuple[float, float, ObjectiveInfo]:
    """Smallest scaled fitness over the objectives, its standard error, its objective."""
    assert scores is not None
    fitness = [
        ((o.sign * scores.value(o.name) - low) / width, scores.error(o.name) / width, o)
        for o, (low, width) in zip(data.objectives, scales, strict=True)
    ]
    return min(fitness, key=lambda entry: entry[0])


def _named(scores: Scores | None, objective: ObjectiveInfo, data: ReportData) -> str:
    """``0.842 on low``; only the number if there is one objective."""
    assert scores is not None
    decimals = decimals_for([scores.value(objective.name)], [scores.error(objective.name)])
    text = number(scores.value(objective.name), decimals)
    name = clean_line(objective.name)
    return text if len(data.objectives) == 1 else f"{text} on {name}"
