"""Genes of spaces whose groups of tensors each have coefficients of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Genome
from searcher.recipe import Recipe
from searcher.spaces.base import Space, SpaceContext
from searcher.spaces.coefficients import CoefficientGenes, Constraints, coefficient_genes
from searcher.spaces.group_map import GroupMap
from searcher.spaces.setting_genes import SettingGenes, gene_name

UNCONSTRAINED = Constraints()
BUNDLES = 3  # into which a bundle of groups is cut on the next level: early, middle and late layers first


class GroupedGenes:
    """Genes of a space whose groups each have one coefficient per model (or one position between two ends).

    The genome is: coefficients of group 0 (one per model), of group 1, ...; then the searched operator
    settings, each with one gene, or one per group.

    Args:
        context: Pool, operator and settings.
        groups: The groups.
        low: Coefficient at gene 0.
        high: Coefficient at gene 1.
        constraints: On the coefficients of each group.
        coefficients: A map from genes to coefficients that takes the place of range and constraints.

    Raises:
        ValueError: If the constraints do not fit.
    """

    def __init__(
        self,
        context: SpaceContext,
        groups: GroupMap,
        low: float,
        high: float,
        constraints: Constraints = UNCONSTRAINED,
        coefficients: CoefficientGenes | None = None,
    ) -> None:
        self.context, self.groups = context, groups
        self._coefficients = coefficients or coefficient_genes(context, low, high, constraints)
        self._settings = SettingGenes(context, groups)
        heads = self._coefficients.heads
        names = [gene_name(head, label, len(groups.labels)) for label in groups.labels for head in heads]
        self.names = (*names, *self._settings.names)

    @property
    def n_coefficients(self) -> int:
        """Number of genes that are coefficients."""
        return len(self.groups.labels) * len(self._coefficients.heads)

    def decode(self, genome: Genome) -> Recipe:
        """The recipe of a genome of shape ``(dim,)``; genes outside [0, 1] are clipped.

        Raises:
            ValueError: If the genome has another shape or is not finite.
        """
        genes = checked_genes(genome, len(self.names))
        n = self.n_coefficients
        per_group = self._coefficients.decode(genes[:n].reshape(len(self.groups.labels), -1))
        rows = self.groups.spread(per_group, self.groups.fixed)  # (S, columns)
        if self.context.interpolates and len(self.context.models) == 2:
            rows = np.concatenate([1.0 - rows, rows], axis=1)
        recipe = Recipe(
            operator=self.context.operator,
            models=self.context.models,
            base=self.context.base,
            boundaries=self.groups.boundaries,
            coefficients=rows,
            settings=self._settings.decode(genes[n:]),
        )
        return recipe.canonical()

    def encode(self, recipe: Recipe) -> Genome | None:
        """The genome with the recipe's coefficients, or None if they are not constant on groups or out of range."""
        columns = columns_of(recipe, self.context)
        if columns is None:
            return None
        per_group = self.groups.gather(recipe.boundaries, columns, self.groups.fixed)
        genes = None if per_group is None else self._coefficients.encode(per_group)
        if genes is None:
            return None
        genome: Genome = np.concatenate([genes.ravel(), self._settings.encode(recipe)]).clip(0.0, 1.0)
        return genome

    def levels(self) -> tuple[tuple[int, ...], ...]:
        """Neighbouring groups tied together: all of them, then bundles, three times as many on each level."""
        n, found = 1, []
        while 2 * n <= len(self.groups.labels):  # a level that is hardly coarser than the next is not worth its search
            found.append(self._tied(np.arange(len(self.groups.labels)) * n // len(self.groups.labels)))
            n *= BUNDLES
        return tuple(found)

    def _tied(self, bundle_of: NDArray[np.int64]) -> tuple[int, ...]:
        """The gene that moves each one, for groups in bundles."""
        n_heads, n_bundles = len(self._coefficients.heads), int(bundle_of.max()) + 1
        ties = (bundle_of[:, None] * n_heads + np.arange(n_heads)).ravel().tolist()
        n = n_bundles * n_heads
        for setting in self.context.searched:
            ties += (n + bundle_of).tolist() if setting.per == "group" else [n]
            n += n_bundles if setting.per == "group" else 1
        return tuple(ties)

    def describe_coefficients(self) -> str:
        """How many genes the coefficients have, and what these may be."""
        n = len(self.groups.labels)
        each = self.n_coefficients if n == 1 else f"{n} groups x {self.n_coefficients // n} = {self.n_coefficients}"
        genes = "gene" if self.n_coefficients == 1 else "genes"
        return f"{each} {genes} for coefficients {self._coefficients.describe()}"

    def describe_settings(self) -> list[str]:
        """One line for each searched operator setting."""
        return self._settings.describe()


class GroupedSpace(Space):
    """A space whose genes are coefficients of groups of tensors; leaves make the groups in their constructor.

    Args:
        simplex: The coefficients of each group are not negative and add up to ``total``. By stick-breaking: one gene
            per model but the last, ``after MODEL``, which leaves nothing to the models behind it at 0, all at 1.
        total: Sum of the coefficients on the simplex. ``[low, high]`` makes it one more gene per group; from 0 on
            this contains the base.
        max_models: At most so many models of each group are not 0: those with the largest genes.
        fixed: Groups without genes, each ``{match: PATTERN, coefficients: C}``: tensors whose name matches the shell
            pattern always have the coefficient C, or one per model. ``coefficients: 0`` leaves them as in the base.
    """

    _genes: GroupedGenes

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
    def levels(self) -> tuple[tuple[int, ...], ...]:
        return self._genes.levels()


def checked_genes(genome: Genome, dim: int) -> NDArray[np.float64]:
    """The genes clipped to [0, 1], shape ``(dim,)``.

    Raises:
        ValueError: If the genome has another shape or is not finite.
    """
    genes = np.asarray(genome, dtype=np.float64)
    if genes.shape != (dim,) or not np.all(np.isfinite(genes)):
        raise ValueError(
            f"Expected a finite genome of shape ({dim},), one gene per name in Space.names, "
            f"but got shape {genes.shape}."
        )
    return np.clip(genes, 0.0, 1.0)


def columns_of(recipe: Recipe, context: SpaceContext) -> NDArray[np.float64] | None:
    """Coefficients of a recipe in the context's model order, shape ``(S, columns)``; None if it is foreign.

    For operators between two models the only column is the position, if the coefficients add up to 1.
    """
    if recipe.n_parameters != context.layout.n_parameters or not set(recipe.models) <= set(context.models):
        return None
    if recipe.layers is not None:  # of another depth
        return None
    full = np.zeros((recipe.n_segments, len(context.models)))
    for column, model in enumerate(recipe.models):
        full[:, context.models.index(model)] = recipe.coefficients[:, column]
    if context.interpolates and len(context.models) == 2:
        total = full.sum(axis=1, keepdims=True)
        if np.any(np.abs(total - 1.0) >= 1e-9):
            return None
        return np.asarray(full[:, 1:] / total, dtype=np.float64)
    return full


def ranges(pair: Sequence[float]) -> tuple[float, float]:
    """Check a [low, high] pair.

    Raises:
        ValueError: If there are not two finite numbers in increasing order.
    """
    if len(pair) != 2 or not np.all(np.isfinite(pair)) or pair[0] >= pair[1]:
        raise ValueError(f"Expected a range [low, high] with low < high, but got {list(pair)}.")
    return float(pair[0]), float(pair[1])
