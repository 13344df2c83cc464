"""One coefficient per source model and group of layers."""

from __future__ import annotations

from typing import Literal

from typing_extensions import override

from searcher.pool.layout import Layout, TensorEntry
from searcher.spaces.base import SPACES, SpaceContext
from searcher.spaces.groups import GroupedGenes, GroupedSpace, group_tensors, ranges


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
    """

    def __init__(
        self,
        context: SpaceContext,
        *,
        range: tuple[float, float] = (0.0, 1.0),
        by: tuple[Literal["block", "kind"], ...] = ("block",),
        granularity: int = 1,
    ) -> None:
        low, high = ranges(range)
        if not by or not set(by) <= {"block", "kind"}:
            raise ValueError(f"Expected `by` to hold block, kind or both, but got {list(by)}.")
        if granularity < 1:
            raise ValueError(f"Expected a granularity of at least 1 block, but got {granularity}.")
        self._by, self._granularity = frozenset(by), granularity
        groups = group_tensors(context.layout, self._label_of(context.layout), context.unchanged)
        self._genes = GroupedGenes(context, groups, low, high)

    def _label_of(self, layout: Layout) -> _Labels:
        return _Labels(self._by, self._granularity, layout.n_blocks)

    @override
    def describe(self) -> str:
        genes = self._genes
        labels = genes.groups.labels
        head = (
            f"layer_wise: {len(labels)} groups x {genes.n_coefficients // len(labels)} = {genes.n_coefficients} "
            f"coefficients in [{genes.low:g}, {genes.high:g}]"
        )
        return "\n".join([head, "groups: " + ", ".join(labels), *genes.describe_settings()])


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
