"""Where two models are cut and how they are mixed: the space of M2N2, on recipes instead of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Genome
from searcher.niches.crossover import Interpolation, cosine, slerp_position
from searcher.niches.fields import Field, crossed, inner_products, simplified
from searcher.niches.genes import ENDS, RATIO, split_names
from searcher.pool.layout import Layout
from searcher.recipe import Recipe
from searcher.spaces.base import SPACES, Space, SpaceContext
from searcher.spaces.group_map import group_tensors
from searcher.spaces.groups import checked_genes
from searcher.spaces.recipe_fields import recipe_fields
from searcher.spaces.setting_genes import SettingGenes

TOLERANCE = 1e-9


@SPACES.register("niche_boundary")
class NicheBoundary(Space):
    """Crossover of two parents at searched split points with a searched ratio (Abrantes et al. 2025, M2N2).

    The parents are earlier candidates, if the strategy names them (natural_niches, genetic, map_elites). Otherwise two
    genes choose them among the source models, the base (if the operator needs one) and the sum of all task vectors
    (or the average), so that every strategy can search here. Searched operator settings have one gene each.

    Args:
        context: Pool and operator.
        splits: Number of split points. Before the first the child lies at the ratio w from the first parent to the
            second, behind it at 1 - w, behind the next at w again.
        snap: Where a split point may lie: ``none``: anywhere on the parameter line; ``tensor`` or ``block``: at the
            start of one, which is chosen with probability proportional to its size.
        interpolation: ``spherical``: along the great circle between the whole parents; ``linear``: straight.
        of: What is interpolated: ``weights``, or ``task_vectors`` around the base; ``auto``: weights for the operator
            linear, else task vectors. An operator that interpolates by itself (slerp) does it per tensor.
        max_segments: Most segments of a child; beyond, the borders at which least changes are left out.
    """

    def __init__(
        self,
        context: SpaceContext,
        *,
        splits: int = 1,
        snap: Literal["none", "tensor", "block"] = "none",
        interpolation: Interpolation = "spherical",
        of: Literal["auto", "weights", "task_vectors"] = "auto",
        max_segments: int = 128,
    ) -> None:
        _check(splits, snap, interpolation, max_segments)
        self._fields = recipe_fields(context, of)
        self._context, self._splits, self._snap = context, splits, snap
        self._interpolation: Interpolation = "linear" if self._fields.prefix is None else interpolation
        self._max_segments = max_segments
        self._starts = _starts(context.layout, snap)
        self._ends = tuple(self._fields.ends)
        per_run = replace(context, searched=tuple(replace(setting, per="run") for setting in context.searched))
        self._settings = SettingGenes(per_run, group_tensors(context.layout, lambda _: ""))
        self._names = (*split_names(splits), RATIO, *ENDS, *self._settings.names)

    @property
    @override
    def names(self) -> tuple[str, ...]:
        return self._names

    @override
    def decode(self, genome: Genome, parents: Sequence[Recipe] = ()) -> Recipe:
        """The child of the first and the second parent (of one parent with itself), or of two known merges.

        Raises:
            ValueError: If the genome has another shape or is not finite, or a parent is no merge of these models.
        """
        genes = checked_genes(genome, len(self._names))
        n = self._splits
        if parents:
            first, second = (self._fields.field(parent) for parent in (parents[0], parents[min(1, len(parents) - 1)]))
        else:
            first, second = (self._end(gene) for gene in genes[n + 1 : n + 3])
        field = self._cross(first, second, self._positions(genes[:n]), float(genes[n]))
        return self._fields.recipe(field, self._settings.decode(genes[n + 3 :]))

    @override
    def encode(self, recipe: Recipe) -> Genome | None:
        """A genome without parents, for recipes that are the child of two known merges."""
        try:
            wanted = self._fields.field(recipe.canonical())
        except ValueError:
            return None
        inside = wanted.boundaries[1:-1]
        if len(inside) > self._splits:
            return None
        settings = self._settings.encode(recipe)
        pairs = product(range(len(self._ends)), repeat=2)
        for i, j in sorted(pairs, key=lambda pair: pair[0] != pair[1]):  # clones first: an end as it is
            found = self._between(wanted, i, j)
            if found is not None:
                return np.concatenate([found, settings])
        return None

    @override
    def describe(self) -> str:
        where = {"none": "anywhere", "tensor": "at starts of tensors", "block": "at starts of blocks"}[self._snap]
        what = {"Weights": "whole weights", "Positions": f"positions of {self._context.operator}"}.get(
            type(self._fields).__name__, f"coefficients of {self._context.operator}"
        )
        points = "1 split point" if self._splits == 1 else f"{self._splits} split points"
        head = (
            f"niche_boundary: {points} {where} on {self._context.layout.n_parameters} parameters and a ratio, "
            f"{self._interpolation} interpolation of {what}"
        )
        lines = [head, f"without parents two of: {', '.join(self._ends)}"]
        return "\n".join([*lines, *self._settings.describe()])

    def _positions(self, genes: NDArray[np.float64]) -> NDArray[np.int64]:
        """Split points on the line, 0 ... P - 1, uniform over parameters, each moved to the start of its tensor."""
        n = self._context.layout.n_parameters
        positions = np.minimum((genes * n).astype(np.int64), n - 1)
        if self._snap == "none":
            return positions
        return self._starts[np.searchsorted(self._starts, positions, side="right") - 1]

    def _end(self, gene: float) -> Field:
        index = min(int(gene * len(self._ends)), len(self._ends) - 1)
        return Field.constant(self._fields.ends[self._ends[index]], self._context.layout.n_parameters)

    def _cross(self, first: Field, second: Field, splits: NDArray[np.int64], ratio: float) -> Field:
        child = crossed(first, second, splits, ratio, self._interpolation, self._fields.prefix)
        return simplified(child, self._max_segments)

    def _between(self, wanted: Field, i: int, j: int) -> NDArray[np.float64] | None:
        """Genes but those of settings of a child of two ends, or None if it is none of theirs."""
        n, p = self._context.layout.n_parameters, len(self._ends)
        a, b = ((k + 0.5) / p for k in (i, j))
        t = self._ratio(wanted.rows[0], self._end(a), self._end(b))
        if t is None:
            return None
        inside = wanted.boundaries[1:-1]
        unused = self._splits - len(inside)  # these lie at 0, where each swaps w and 1 - w
        splits = np.concatenate([np.zeros(unused), (inside + 0.5) / n])
        genes = np.concatenate([splits, [t if unused % 2 == 0 else 1.0 - t, a, b]]).clip(0.0, 1.0)
        child = self._cross(self._end(a), self._end(b), self._positions(splits), float(genes[self._splits]))
        borders = np.union1d(child.boundaries, wanted.boundaries)
        return genes if np.all(np.abs(child.on(borders) - wanted.on(borders)) <= TOLERANCE) else None

    def _ratio(self, row: NDArray[np.float64], first: Field, second: Field) -> float | None:
        """The position between two ends at which a row lies, if it can lie there; what it is, must be verified."""
        pair = np.stack([first.rows[0], second.rows[0]], axis=1)
        if np.array_equal(pair[:, 0], pair[:, 1]):
            return 0.0
        (p, q), *_ = np.linalg.lstsq(pair, row, rcond=None)
        if not pair[:, 0].any() or not pair[:, 1].any():  # an end of length 0: the line is straight
            return float(q) if pair[:, 1].any() else 1.0 - float(p)
        prefix = self._fields.prefix
        if self._interpolation == "linear" or prefix is None:
            return float(q)
        return slerp_position(float(p), float(q), cosine(*inner_products(first, second, prefix)))


def _check(splits: int, snap: str, interpolation: str, max_segments: int) -> None:
    if splits < 1:
        raise ValueError(f"Expected at least 1 split point, but got {splits}.")
    if snap not in ("none", "tensor", "block"):
        raise ValueError(f"Expected `snap` to be none, tensor or block, but got {snap!r}.")
    if interpolation not in ("spherical", "linear"):
        raise ValueError(f"Expected `interpolation` to be spherical or linear, but got {interpolation!r}.")
    if max_segments < 2:
        raise ValueError(f"Expected `max_segments` of at least 2, but got {max_segments}.")


def _starts(layout: Layout, snap: str) -> NDArray[np.int64]:
    """Where split points may lie, ascending, 0 among them."""
    tensors = [tensor for tensor in layout.tensors if tensor.size]
    starts = [
        tensor.offset
        for before, tensor in zip([None, *tensors], tensors, strict=False)
        if snap == "tensor" or before is None or tensor.block is None or tensor.block != before.block
    ]
    return np.array(starts, dtype=np.int64)
