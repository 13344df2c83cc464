"""One coefficient per source model and group of layers."""

from __future__ import annotations

from typing import Literal

from typing_extensions import override

from searcher.pool.layout import TensorEntry
from searcher.spaces.base import SPACES, SpaceContext
from searcher.spaces.coefficients import Constraints
from searcher.spaces.group_map import group_tensors
from searcher.spaces.groups import GroupedGenes, GroupedSpace, ranges
from searcher.spaces.name_patterns import FixedGroup, NameFilter, describe_fixed, with_filters, with_fixed


@SPACES.register("layer_wise")
class LayerWise(GroupedSpace):
    """Groups by block, optionally by module kind; embeddings, the final norm and the head are groups of their own.

    Tensors that no model changes, such as the embeddings of a pool of adapters, have no genes.

    Args:
        context: Pool and operator.
        range: Coefficients at gene 0 and gene 1. Negative values subtract a task vector.
        by: ``block`` separates blocks, ``kind`` separates module kinds (attention, mlp, norm ...) inside
            them; ``[kind]`` alone shares each kind over all blocks.
        granularity: Number of consecutive blocks that share genes.
        filters: Groups of your own, each ``{match: PATTERN, group: NAME}``: tensors whose name matches the shell
            pattern (``*``, ``?``, ``[ab]``) belong to that group, whatever their block. The first match wins.
    """

    def __init__(
        self,
        context: SpaceContext,
        *,
        range: tuple[float, float] = (0.0, 1.0),
        by: tuple[Literal["block", "kind"], ...] = ("block",),
        granularity: int = 1,
        filters: tuple[NameFilter, ...] = (),
        simplex: bool = False,
        total: float | tuple[float, float] = 1.0,
        max_models: int | None = None,
        fixed: tuple[FixedGroup, ...] = (),
    ) -> None:
        low, high = ranges(range)
        if not by or not set(by) <= {"block", "kind"}:
            raise ValueError(f"Expected `by` to hold block, kind or both, but got {list(by)}.")
        if granularity < 1:
            raise ValueError(f"Expected a granularity of at least 1 block, but got {granularity}.")
        labels = _Labels(frozenset(by), granularity, context.layout.n_blocks)
        label, rows = with_fixed(with_filters(labels, filters, context.layout), fixed, context)
        groups = group_tensors(context.layout, label, context.unchanged, rows)
        self._genes = GroupedGenes(context, groups, low, high, Constraints(simplex, total, max_models))
        self._fixed = fixed

    @override
    def describe(self) -> str:
        genes = self._genes
        head = f"layer_wise: {genes.describe_coefficients()}"
        groups = "groups: " + ", ".join(genes.groups.labels)
        return "\n".join([head, groups, *describe_fixed(self._fixed), *genes.describe_settings()])


class _Labels:
    """The group label of a tensor."""

    def __init__(self, by: frozenset[str], granularity: int, n_blocks: int) -> None:
        self._by, self._granularity, self._n_blocks = by, granularity, n_blocks

    def __call__(self, tensor: TensorEntry) -> str:
        if tensor.block is None:
            return tensor.kind
        if "block" not in self._by:
            return f"blocks.{tensor.kind}"
        first = tensor.block - tensor.block % self._granularity
        last = min(first + self._granularity, self._n_blocks) - 1
        block = f"block {first}" if first == last else f"blocks {first}-{last}"
        return f"{block}.{tensor.kind}" if "kind" in self._by else block
