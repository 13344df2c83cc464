"""Coefficients that follow a curve over depth, through a few knots (two knots: LiNeS)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.pool.layout import Layout, TensorEntry
from searcher.spaces.base import SPACES, SpaceContext
from searcher.spaces.coefficients import Constraints
from searcher.spaces.group_map import GroupMap, group_tensors
from searcher.spaces.groups import GroupedGenes, GroupedSpace, ranges
from searcher.spaces.name_patterns import FixedGroup, describe_fixed, with_fixed

BEFORE, BEHIND = "before the blocks", "behind the blocks"


@SPACES.register("depth_profile")
class DepthProfile(GroupedSpace):
    """One gene per model and knot; blocks take the curve's value at their depth.

    Block b of n lies at depth b / (n - 1), knot j of k at j / (k - 1). Two linear knots are therefore LiNeS (Wang et
    al. 2025), ``alpha + beta * b / (n - 1)``: the first knot is alpha, the last alpha + beta.

    Args:
        context: Pool and operator.
        range: Coefficients at gene 0 and gene 1. Negative values subtract a task vector.
        knots: Number of knots, at least 2 and at most the number of blocks.
        interpolation: Between neighbouring knots: ``linear``, or ``cosine``, which is level at the knots.
        outside: Tensors that belong to no block. ``knots``: embeddings take the first knot's value, the final norm and
            the head the last one's; ``first``: all take the first one's, as in LiNeS; ``own``: groups of their own.
        simplex: The coefficients of each knot are not negative and add up to ``total``; so do those of the blocks.
            Genes as in the other spaces: ``after MODEL``.
    """

    def __init__(
        self,
        context: SpaceContext,
        *,
        range: tuple[float, float] = (0.0, 1.0),
        knots: int = 2,
        interpolation: Literal["linear", "cosine"] = "linear",
        outside: Literal["knots", "first", "own"] = "knots",
        simplex: bool = False,
        total: float | tuple[float, float] = 1.0,
        fixed: tuple[FixedGroup, ...] = (),
    ) -> None:
        low, high = ranges(range)
        if interpolation not in ("linear", "cosine") or outside not in ("knots", "first", "own"):
            raise ValueError(f"Expected a known interpolation and outside, but got {interpolation!r} and {outside!r}.")
        self._place = _Place(context.layout, own=outside == "own")
        label, rows = with_fixed(self._place, fixed, context)
        groups = group_tensors(context.layout, label, context.unchanged, rows)
        depths = self._place.depths(groups.labels)
        if outside == "first":
            depths = {**depths, BEHIND: 0.0}
        if knots < 2:
            raise ValueError(f"Expected at least 2 knots, but got {knots}.")
        self._groups = _through_knots(groups, depths, knots, interpolation)
        self._genes = GroupedGenes(context, self._groups, low, high, Constraints(simplex, total))
        self._fixed, self._knots, self._interpolation, self._outside = fixed, knots, interpolation, outside

    @override
    def describe(self) -> str:
        head = f"depth_profile: {self._genes.describe_coefficients()}"
        curve = (
            f"{self._knots} knots over {self._place.n_blocks} blocks, {self._interpolation}; outside: {self._outside}"
        )
        groups = "groups: " + ", ".join(self._groups.labels)
        return "\n".join([head, curve, groups, *describe_fixed(self._fixed), *self._genes.describe_settings()])


class _Place:
    """Where a tensor stands: its block, before the blocks or behind them (or, if these are apart, its kind)."""

    def __init__(self, layout: Layout, *, own: bool) -> None:
        inside = [t for t in layout.tensors if t.block is not None]
        self._first_offset = inside[0].offset if inside else layout.n_parameters
        # the blocks of a part of a network need not begin with 0
        blocks = sorted({t.block for t in inside if t.block is not None})
        self._first, self._last = (blocks[0], blocks[-1]) if blocks else (0, 0)
        self._own, self.n_blocks = own, len(blocks)

    def __call__(self, tensor: TensorEntry) -> str:
        if tensor.block is not None:
            return f"block {tensor.block}"
        if self._own:
            return tensor.kind
        return BEFORE if tensor.offset < self._first_offset else BEHIND

    def depths(self, labels: Sequence[str]) -> dict[str, float]:
        """Depth in [0, 1] of the labels that have one."""
        span = max(self._last - self._first, 1)
        found = {label: (int(label[6:]) - self._first) / span for label in labels if label.startswith("block ")}
        return found | {label: depth for label, depth in ((BEFORE, 0.0), (BEHIND, 1.0)) if label in labels}


def _through_knots(groups: GroupMap, depths: dict[str, float], n_knots: int, interpolation: str) -> GroupMap:
    """The same segments, with genes for the knots and for the groups that have no depth."""
    own = [label for label in groups.labels if label not in depths]
    weights = np.zeros((len(groups.labels), n_knots + len(own)))
    for row, label in enumerate(groups.labels):
        if label in depths:
            weights[row, :n_knots] = knot_weights(depths[label], n_knots, interpolation)
        else:
            weights[row, n_knots + own.index(label)] = 1.0
    if np.linalg.matrix_rank(weights) < weights.shape[1]:  # several genomes would be one recipe
        n_depths = len({depth for label, depth in depths.items() if label in groups.labels})
        raise ValueError(f"Expected at most as many knots as searched blocks, but got {n_knots} for {n_depths} depths.")
    labels = (*(f"depth {j / (n_knots - 1):.4g}" for j in range(n_knots)), *own)
    return replace(groups, labels=labels, weights=weights)


def knot_weights(depth: float, n_knots: int, interpolation: str) -> NDArray[np.float64]:
    """Share of each knot in the value at a depth, shape ``(n_knots,)``; not negative, with sum 1.

    Args:
        depth: In [0, 1].
        n_knots: Number of knots, evenly spaced from 0 to 1.
        interpolation: ``linear`` or ``cosine``.
    """
    at = depth * (n_knots - 1)
    left = min(int(at), n_knots - 2)
    share = at - left
    if interpolation == "cosine":
        share = (1.0 - np.cos(np.pi * share)) / 2.0
    found = np.zeros(n_knots)
    found[left : left + 2] = 1.0 - share, share
    return found
