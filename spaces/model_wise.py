"""One coefficient per source model, the same everywhere (the default first search: K genes)."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from searcher.candidate import Genome
from searcher.recipe import Recipe
from searcher.spaces.base import SPACES, Space, SpaceContext
from searcher.spaces.groups import GroupedGenes, group_tensors, ranges


@SPACES.register("model_wise")
class ModelWise(Space):
    """One gene per model; for slerp one gene, the position between the two ends.

    Args:
        context: Pool and operator.
        range: Coefficients at gene 0 and gene 1. Negative values subtract a task vector.
    """

    def __init__(self, context: SpaceContext, *, range: tuple[float, float] = (0.0, 1.0)) -> None:
        low, high = ranges(range)
        self._genes = GroupedGenes(context, group_tensors(context.layout, lambda _: "all"), low, high)

    @property
    @override
    def names(self) -> tuple[str, ...]:
        return self._genes.names

    @override
    def decode(self, genome: Genome, parents: Sequence[Recipe] = ()) -> Recipe:
        return self._genes.decode(genome)

    @override
    def encode(self, recipe: Recipe) -> Genome | None:
        return self._genes.encode(recipe)

    @override
    def describe(self) -> str:
        head = f"model_wise: {self._genes.n_coefficients} coefficients in [{self._genes.low:g}, {self._genes.high:g}]"
        return "\n".join([head, *self._genes.describe_settings()])
