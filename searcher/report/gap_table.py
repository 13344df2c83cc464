"""How far search scores flatter: one row per objective, as finished texts for the template."""

from __future__ import annotations

import math
from dataclasses import dataclass

from searcher.analysis.optimism import Gap
from searcher.report.data import ReportData
from searcher.report.wording import UNSCORED, decimals_for, number


@dataclass(frozen=True)
class GapRow:
    """Texts of one objective; intervals are 95 %."""

    objective: str
    unit: str
    front: str
    baselines: str
    excess: str
    reading: str


def gap_rows(data: ReportData) -> list[GapRow]:
    """One row per objective with held-out scores of front points."""
    units = {o.name: o.unit for o in data.objectives}
    rows = []
    for gap in data.insight.gaps:
        known = [g for g in (gap.front, gap.baselines, gap.excess) if g is not None]
        decimals = decimals_for([g.value for g in known], [g.stderr for g in known])
        front, baselines, excess = (_text(g, decimals) for g in (gap.front, gap.baselines, gap.excess))
        unit = units.get(gap.objective, "")
        rows.append(GapRow(gap.objective, unit, front, baselines, excess, _reading(gap.excess or gap.front)))
    return rows


def _text(gap: Gap | None, decimals: int) -> str:
    if gap is None or not math.isfinite(gap.value):
        return UNSCORED
    sign = "+" if gap.value > 0 else ""
    low, high = gap.interval
    between = f" ({number(low, decimals)} to {number(high, decimals)})" if math.isfinite(gap.stderr) else ""
    return sign + number(gap.value, decimals) + between + (" at most" if gap.is_bound and between else "")


def _reading(gap: Gap) -> str:
    low, high = gap.interval
    if not math.isfinite(low):
        return "of unknown error"
    if low > 0:
        return "search scores flatter"
    return "held-out scores are better" if high < 0 else "no gap that the examples show"
