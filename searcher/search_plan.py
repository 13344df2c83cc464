"""What a search would do and cost, from a look at the pool and a few probes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from searcher.assembly import Parts, assemble
from searcher.candidate import Candidate, Evaluation
from searcher.config import Config
from searcher.errors import ErrorBudgetExceeded
from searcher.recipe import Recipe
from searcher.session import baselines_of

FIRST, SECOND = 0.5, 0.4  # genes of the probes; the first also pays for tables, compilation, tokens


@dataclass(frozen=True)
class SearchPlan:
    """What a config asks for.

    Args:
        models: Sources, the base first if there is one.
        n_parameters: Parameters of one model.
        memory: Where the sources live, and why.
        space: Description of the space.
        genes: Name of every gene.
        strategy: Description of the strategy.
        objectives: Examples per split, by objective.
        evaluations: Budget, baselines included; None if only hours limit it.
        hours: Budget in hours; None if only evaluations limit it.
        baselines: Merges scored before the strategy begins.
        preparation_seconds: What the first candidate needs beyond later ones: tables, compilation, tokens.
        seconds_per_evaluation: Building and scoring one candidate on the search examples.
        objective_seconds: Of these, what each objective needs.
        search_hours: Estimate for the whole search without re-scoring; None without a budget of evaluations.
        warnings: What the user should know.
    """

    models: tuple[str, ...]
    n_parameters: int
    memory: str
    space: str
    genes: tuple[str, ...]
    strategy: str
    objectives: Mapping[str, Mapping[str, int]]
    evaluations: int | None
    hours: float | None
    baselines: int
    preparation_seconds: float
    seconds_per_evaluation: float
    objective_seconds: Mapping[str, float]
    search_hours: float | None
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """A JSON object; its keys are the constructor's arguments."""
        return asdict(self)


def plan_search(config: Config) -> SearchPlan:
    """Open the pool, describe the search, and build and score two candidates.

    Nothing is written but side tables and compiled kernels, which the search uses again.

    Raises:
        SearcherError: If the config cannot be used, or the probe fails.
    """
    parts = assemble(config)
    parts.evaluator.known = parts.evaluator.selection = None  # a probe must compute everything
    strategy = parts.strategy(config.seed, config.budget.evaluations)
    first = _probe(parts).seconds
    building, scoring = _usual_seconds(parts)
    usual = building + sum(scoring.values())
    evaluations = config.budget.evaluations
    base = () if parts.pool.base is None else (parts.pool.base.name,)
    return SearchPlan(
        models=(*base, *(m.name for m in parts.pool.models)),
        n_parameters=parts.pool.layout.n_parameters,
        memory=parts.engine.memory_plan.reason,
        space=parts.space.describe(),
        genes=parts.space.names,
        strategy=strategy.describe(),
        objectives={o.name: dict(o.n_examples) for o in parts.infos},
        evaluations=evaluations,
        hours=config.budget.hours,
        baselines=len(baselines_of(parts)),
        preparation_seconds=max(first - usual, 0.0),
        seconds_per_evaluation=usual,
        objective_seconds=scoring,
        search_hours=None if evaluations is None else (first + (evaluations - 1) * usual) / 3600,
        warnings=(*parts.pool.warnings, *(w for o in parts.objectives for w in o.warnings)),
    )


def _probe(parts: Parts) -> Evaluation:
    found = parts.evaluator.evaluate(Candidate(0, _recipe(parts, FIRST)))
    if found.error is not None:
        raise ErrorBudgetExceeded(
            f"A probe in the middle of the space failed with {found.error}: {found.message}",
            where=f"recipe with all genes {FIRST:g}",
            fix="Mend the cause; if such merges are to be expected, narrow the range of the space.",
        )
    return found


def _recipe(parts: Parts, gene: float) -> Recipe:
    return parts.space.decode(np.full(len(parts.space.names), gene))


def _usual_seconds(parts: Parts) -> tuple[float, dict[str, float]]:
    """Seconds for building a second candidate, and for scoring it on each objective."""
    started = time.perf_counter()
    model = parts.engine.build(_recipe(parts, SECOND))
    building, scoring = time.perf_counter() - started, {}
    for objective in parts.objectives:
        started = time.perf_counter()
        objective.evaluate(model, objective.splits.get("search"), parts.config.seed)
        scoring[objective.name] = time.perf_counter() - started
    return building, scoring


def plan_text(plan: SearchPlan) -> str:
    """The plan for people, several lines."""
    budget = f"{plan.evaluations} evaluations" if plan.evaluations is not None else f"{plan.hours:g} hours"
    costs = ", ".join(f"{name} {_duration(seconds)}" for name, seconds in plan.objective_seconds.items())
    examples = "; ".join(
        f"{name}: " + (", ".join(f"{n} {split}" for split, n in sizes.items()) or "no examples")
        for name, sizes in plan.objectives.items()
    )
    prepared = _duration(plan.preparation_seconds)
    lines = [
        f"pool        {', '.join(plan.models)}; {plan.n_parameters:,} parameters each",
        f"memory      {plan.memory}",
        f"space       {plan.space}",
        f"genes       {len(plan.genes)}: {', '.join(plan.genes[:12])}{', ...' if len(plan.genes) > 12 else ''}",
        f"strategy    {plan.strategy}",
        f"examples    {examples}",
        f"budget      {budget}, {plan.baselines} of them baselines",
        f"evaluation  {_duration(plan.seconds_per_evaluation)} (scoring {costs}), and {prepared} of preparation once",
    ]
    if plan.search_hours is not None:
        lines.append(
            f"search      about {_duration(3600 * plan.search_hours)} without the strategy's own time and the "
            "re-scoring of the front"
        )
    lines += [f"warning     {warning}" for warning in plan.warnings]
    return "\n".join(line.replace("\n", "\n" + " " * 12) for line in lines)


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
