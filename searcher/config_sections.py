"""Sections of config.yaml whose keys are the same whatever components are used."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from searcher.components import STRICT


class BudgetSection(BaseModel):
    """When a run ends."""

    model_config = STRICT
    evaluations: Annotated[int | None, Field(ge=1, description="Candidates, baselines included.")] = None
    hours: Annotated[float | None, Field(gt=0, description="Wall time, earlier sessions included.")] = None
    errors: Annotated[float, Field(ge=0, le=1, description="Fraction of the last 50 evaluations that may fail.")] = 0.2


class OutputSection(BaseModel):
    """What is exported when the search ends."""

    model_config = STRICT
    export: Annotated[
        list[str | int], Field(description="Points: knee, balanced, best:OBJECTIVE, target or a number.")
    ] = []
    formats: Annotated[list[Literal["hf", "lora", "mergekit", "recipe"]], Field(min_length=1)] = ["hf"]


class RacingSection(BaseModel):
    """Candidates that cannot reach the front stop before all their examples are scored."""

    model_config = STRICT
    enabled: Annotated[bool, Field(description="Whether candidates race against the front.")] = False
    error: Annotated[
        float, Field(gt=0, lt=1, description="Probability that a candidate that would reach the front is stopped.")
    ] = 0.05
    block: Annotated[int, Field(ge=1, description="Examples between two looks, of the objective with most.")] = 32
    margin: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="By how much a candidate must better the front to count as reaching it, as a share of the "
            "range of an example's score.",
        ),
    ] = 0.0


class CacheSection(BaseModel):
    """Scores known from this run or another."""

    model_config = STRICT
    enabled: Annotated[bool, Field(description="Whether scores are kept and used again, also by other runs.")] = True
    max_gb: Annotated[float, Field(gt=0, description="Size of the cache; scores not used for longest go first.")] = 1.0
    python_functions: Annotated[
        bool,
        Field(
            description="Keep scores given by your own Python functions too: only if they read nothing that changes "
            "besides their own source files."
        ),
    ] = False


class ItemSelectionSection(BaseModel):
    """Search candidates are scored on a subset of the search examples, chosen from the baselines' scores."""

    model_config = STRICT
    enabled: Annotated[bool, Field(description="Whether candidates are scored on a subset first.")] = False
    examples: Annotated[int, Field(ge=4, description="Examples per objective in the subset.")] = 100
    method: Annotated[
        Literal["anchors", "irt", "stratified"],
        Field(
            description="`anchors`: out of each cluster of examples that the baselines answer alike; `irt`: out of "
            "clusters of fitted difficulty and discrimination; `stratified`: out of equally difficult ones."
        ),
    ] = "anchors"


class HalvingSection(BaseModel):
    """Only the better part of the candidates is scored on the next, larger share of the search examples."""

    model_config = STRICT
    enabled: Annotated[bool, Field(description="Whether candidates are scored on growing shares.")] = False
    first: Annotated[int, Field(ge=4, description="Examples of the first share, of the objective with most.")] = 32
    reduction: Annotated[
        float, Field(gt=1, le=10, description="Factor between shares; 1 / reduction of the candidates goes on.")
    ] = 3.0
    by: Annotated[
        Literal["front", "worst"],
        Field(description="What is better: to be dominated by fewer candidates, or the worst objective."),
    ] = "front"


class LogSection(BaseModel):
    """External loggers are not part of this version; log.jsonl is always written."""

    model_config = STRICT
    tensorboard: Literal[False] = False
    wandb: Literal[False] = False
    mlflow: Literal[False] = False
