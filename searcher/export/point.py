"""What an export needs to know of a point of a run: plain data, no weights, no paths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from searcher.export.redaction import public_name
from searcher.recipe import Recipe


@dataclass(frozen=True, eq=False)
class ExportPoint:
    """One candidate with everything that its export states about it.

    Args:
        candidate: Number in the run.
        tags: Why it was chosen, such as ``knee`` or ``best:accuracy``.
        recipe: The merge.
        genome: Gene name to value, or None for a candidate outside the space.
        scores: Split to objective to (value, standard error), in the objective's unit; nan where unknown.
        objectives: Objective to (direction, unit).
        run: Name of the run, never a path.
        seed: Seed of the run.
        versions: Package to version.
        source_hashes: ``name/file`` of a source file to its SHA-256.
        loader: The config's ``pool.loader``.
    """

    candidate: int
    tags: tuple[str, ...]
    recipe: Recipe
    genome: Mapping[str, float] | None
    scores: Mapping[str, Mapping[str, tuple[float, float]]]
    objectives: Mapping[str, tuple[str, str]]
    run: str
    seed: int
    versions: Mapping[str, str] = field(default_factory=dict)
    source_hashes: Mapping[str, str] = field(default_factory=dict)
    loader: str = "transformers"

    def to_json(self) -> dict[str, Any]:
        """The recipe with where it comes from; :meth:`Recipe.from_json` reads it (it ignores what it does not know)."""
        return {
            **self.recipe.to_json(),
            "candidate": self.candidate,
            "tags": list(self.tags),
            "genome": None if self.genome is None else dict(self.genome),
            "run": public_name(self.run),
            "seed": self.seed,
            "source_hashes": dict(sorted(self.source_hashes.items())),
        }
