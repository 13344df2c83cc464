"""What a report is written from: plain data, filled by the caller from a finished or interrupted run.

Scores are in the objective's own unit and direction; nan means unscored. Texts may come from models, configs
and other people: the page escapes them, strips control characters and removes what looks like a secret.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from searcher.report.insight_data import Insight


@dataclass(frozen=True)
class ObjectiveInfo:
    """One objective of the search.

    Args:
        name: Name in the config, unique in the run.
        direction: Which way is better.
        unit: Unit of the scores, such as ``fraction`` or ``nats per token``; may be empty.
        n_examples: Number of examples by split (``search``, ``select``, ``held_out``); splits not used are left out.
    """

    name: str
    direction: Literal["maximize", "minimize"]
    unit: str = ""
    n_examples: Mapping[str, int] = field(default_factory=dict)

    @property
    def sign(self) -> int:
        """1 if more is better, -1 if less is: fitness is sign times score."""
        return 1 if self.direction == "maximize" else -1


@dataclass(frozen=True)
class Scores:
    """Scores of one model on one split, by objective name.

    Args:
        values: Score by objective; an objective that is missing or nan is unscored.
        stderr: Standard error by objective; missing or nan if unknown.
    """

    values: Mapping[str, float]
    stderr: Mapping[str, float] = field(default_factory=dict)

    def value(self, objective: str) -> float:
        """The score, nan if it is missing or not finite."""
        return _finite(self.values.get(objective))

    def error(self, objective: str) -> float:
        """The standard error, nan if it is missing or not finite."""
        return _finite(self.stderr.get(objective))


@dataclass(frozen=True)
class BaselineRow:
    """One baseline: the base, a source model, the uniform average, a point of the task-arithmetic line.

    Args:
        name: Such as ``base`` or ``uniform``.
        candidate: Its candidate number.
        search: Scores on the search examples; None if it failed.
        held_out: Scores on the held-out examples; None if it was not re-scored or failed.
        error: Error class if an evaluation of it failed.
    """

    name: str
    candidate: int
    search: Scores | None
    held_out: Scores | None = None
    error: str | None = None


@dataclass(frozen=True)
class CandidateRow:
    """One candidate in the order of the run.

    Args:
        number: Candidate number.
        origin: ``baseline``, ``seed`` or ``strategy``.
        scores: Search scores by objective; empty if it failed.
        error: Error class if it failed.
        seconds: Wall time of building and scoring.
        on_front: Whether it is on the final front.
        summary: One line on its recipe for the hover label, such as ``ties, low 0.43, high 0.61``; may be empty.
        is_estimate: Whether it was stopped early, so that its scores are estimates.
    """

    number: int
    origin: str
    scores: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None
    seconds: float = 0.0
    on_front: bool = False
    summary: str = ""
    is_estimate: bool = False

    def value(self, objective: str) -> float:
        """The search score, nan if it is missing or not finite."""
        return math.nan if self.error is not None else _finite(self.scores.get(objective))


@dataclass(frozen=True)
class FrontRow:
    """One point of the final front.

    Args:
        candidate: Candidate number.
        tags: Such as ``knee``, ``best:low``, ``target``.
        search: Scores on the search examples.
        select: Scores on the select examples, if the run has such a split.
        held_out: Scores on the held-out examples; None if not re-scored.
        recipe: The recipe as ``Recipe.to_json`` gives it.
        genes: Gene in [0, 1] by gene name; empty for a candidate without a genome.
    """

    candidate: int
    tags: tuple[str, ...]
    search: Scores
    select: Scores | None = None
    held_out: Scores | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    genes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CoefficientTable:
    """Merge coefficients of one chosen point, one row per segment of the parameter line.

    Args:
        candidate: Candidate number.
        title: What it was chosen as, such as ``knee`` or ``best: low``.
        segments: Label per segment, such as ``embedding`` or ``block 0``; S of them.
        models: Source model names; K of them.
        coefficients: S rows of K numbers.

    Raises:
        ValueError: If the numbers do not form S rows of K.
    """

    candidate: int
    title: str
    segments: tuple[str, ...]
    models: tuple[str, ...]
    coefficients: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.coefficients}
        if len(self.coefficients) != len(self.segments) or not widths <= {len(self.models)}:
            raise ValueError(
                f"Expected {len(self.segments)} rows of {len(self.models)} coefficients (segments x models), "
                f"but got {len(self.coefficients)} rows of {sorted(widths)}."
            )


@dataclass(frozen=True)
class ExportRow:
    """One exported point.

    Args:
        candidate: Candidate number.
        folder: Folder it was written to.
        format: ``hf``, ``lora``, ``mergekit`` or ``recipe``.
        verified: Whether the export, re-loaded in a fresh process, gave its scores again; None if not tried.
    """

    candidate: int
    folder: str
    format: str
    verified: bool | None = None


@dataclass(frozen=True)
class FailureRow:
    """How often one class of failure happened.

    Args:
        error: Error class, such as ``NonFiniteWeights``.
        count: Number of failed evaluations.
        example: Message of one of them; may be empty.
    """

    error: str
    count: int
    example: str = ""


@dataclass(frozen=True)
class ReportData:
    """All a report shows.

    Args:
        run: Run folder as the user typed it; it appears in the export commands.
        name: Name of the run.
        date: When the run started, ISO 8601.
        searcher_version: Version of searcher that ran it.
        objectives: At least one, in config order.
        seed: Seed of the run.
        elapsed: Wall time of the run, seconds.
        strategy: One line: which strategy, and why if it was chosen automatically.
        space: One line: which space, its dimension.
        operator: One line: which operator and its fixed settings.
        budget: One line, such as ``200 evaluations``.
        config: The resolved config file, YAML text.
        packages: Version by package name.
        hashes: SHA-256 (hex) by ``model/file``.
        baselines: In the order of the run.
        candidates: All of them, baselines included, by number.
        front: Points of the final front.
        hypervolume: Hypervolume of the front after each evaluation, in the order of the run.
        reference_point: Reference point of the hypervolume by objective, in the objective's unit and direction.
        hypervolume_baselines: Hypervolume of the baselines alone; nan if unknown.
        coefficients: Coefficients of the chosen points.
        failures: Failed evaluations by class.
        exports: Exported points.
        warnings: One sentence each.
        insight: Sensitivity, coefficients along the front, differences between points, how far search scores flatter.
        secrets: Texts that must not appear in the page, such as values of ``api_key_env`` variables.

    Raises:
        ValueError: If there is no objective, or two have the same name.
    """

    run: str
    name: str
    date: str
    searcher_version: str
    objectives: tuple[ObjectiveInfo, ...]
    seed: int
    elapsed: float
    strategy: str
    space: str
    operator: str
    budget: str
    config: str
    packages: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    baselines: tuple[BaselineRow, ...] = ()
    candidates: tuple[CandidateRow, ...] = ()
    front: tuple[FrontRow, ...] = ()
    hypervolume: tuple[float, ...] = ()
    reference_point: Mapping[str, float] = field(default_factory=dict)
    hypervolume_baselines: float = math.nan
    coefficients: tuple[CoefficientTable, ...] = ()
    failures: tuple[FailureRow, ...] = ()
    exports: tuple[ExportRow, ...] = ()
    warnings: tuple[str, ...] = ()
    insight: Insight = field(default_factory=Insight, compare=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        names = [objective.name for objective in self.objectives]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"Expected at least one objective, each with its own name, but got {names}.")

    @property
    def front_in_order(self) -> tuple[FrontRow, ...]:
        """Front points for tables: tagged ones first, each part by candidate number."""
        return tuple(sorted(self.front, key=lambda point: (not point.tags, point.candidate)))


def _finite(value: float | None) -> float:
    """The value as float, nan if it is missing, infinite or not a number."""
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else math.nan
