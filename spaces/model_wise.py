"""One coefficient per source model, the same everywhere (the default first search: K genes)."""

from __future__ import annotations

from typing_extensions import override

from searcher.spaces.base import SPACES, SpaceContext
from searcher.spaces.groups import GroupedGenes, GroupedSpace, group_tensors, ranges


@SPACES.register("model_wise")
class ModelWise(GroupedSpace):
    """One gene per model; for slerp one gene, the position between the two ends.

    Args:
        context: Pool and operator.
        range: Coefficients at gene 0 and gene 1. Negative values subtract a task vector.
    """

    def __init__(self, context: SpaceContext, *, range: tuple[float, float] = (0.0, 1.0)) -> None:
        low, high = ranges(range)
        self._genes = GroupedGenes(context, group_tensors(context.layout, lambda _: "all"), low, high)

    @override
    def describe(self) -> str:
        head = f"model_wise: {self._genes.n_coefficients} coefficients in [{self._genes.low:g}, {self._genes.high:g}]"
        return "\n".join([head, *self._genes.describe_settings()])
