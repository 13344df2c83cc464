"""One coefficient per source model, the same everywhere (the default first search: K genes)."""

from __future__ import annotations

from typing_extensions import override

from searcher.spaces.base import SPACES, SpaceContext
from searcher.spaces.coefficients import Constraints
from searcher.spaces.group_map import group_tensors
from searcher.spaces.groups import GroupedGenes, GroupedSpace, ranges
from searcher.spaces.name_patterns import FixedGroup, describe_fixed, with_fixed


@SPACES.register("model_wise")
class ModelWise(GroupedSpace):
    """One gene per model; for slerp one gene, the position between the two ends.

    Args:
        context: Pool and operator.
        range: Coefficients at gene 0 and gene 1. Negative values subtract a task vector.
    """

    def __init__(
        self,
        context: SpaceContext,
        *,
        range: tuple[float, float] = (0.0, 1.0),
        simplex: bool = False,
        total: float | tuple[float, float] = 1.0,
        max_models: int | None = None,
        fixed: tuple[FixedGroup, ...] = (),
    ) -> None:
        low, high = ranges(range)
        label, rows = with_fixed(lambda _: "all", fixed, context)
        groups = group_tensors(context.layout, label, fixed=rows)
        self._genes = GroupedGenes(context, groups, low, high, Constraints(simplex, total, max_models))
        self._fixed = fixed

    @override
    def describe(self) -> str:
        head = f"model_wise: {self._genes.describe_coefficients()}"
        return "\n".join([head, *describe_fixed(self._fixed), *self._genes.describe_settings()])
