"""Groups of tensors that share genes, and the segments of the parameter line they cover."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Genome
from searcher.pool.layout import Layout, TensorEntry
from searcher.recipe import Recipe, SettingValue
from searcher.spaces.base import Space, SpaceContext


@dataclass(frozen=True, eq=False)
class GroupMap:
    """Which group each segment of the parameter line belongs to.

    Args:
        labels: One name per group, in order of first appearance, length G.
        boundaries: Segment borders, int64, shape ``(S + 1,)``.
        group_of_segment: Index into ``labels``, int64, shape ``(S,)``.
    """

    labels: tuple[str, ...]
    boundaries: NDArray[np.int64]
    group_of_segment: NDArray[np.int64]


def group_tensors(
    layout: Layout, label: Callable[[TensorEntry], str], unchanged: Collection[str] = frozenset()
) -> GroupMap:
    """Group the tensors of a layout by a label; neighbours of one group form one segment.

    Args:
        layout: The parameter line.
        label: Name of a tensor's group.
        unchanged: Tensors that join the group before them, or at the start the one behind, instead of having one
            of their own: whatever their coefficients, the merge is the same.
    """
    index: dict[str, int] = {}
    borders: list[int] = [0]
    groups: list[int] = []
    changed = [tensor for tensor in layout.tensors if tensor.name not in unchanged] or layout.tensors
    names = {tensor.name for tensor in changed}
    current = label(changed[0])
    for tensor in layout.tensors:
        current = label(tensor) if tensor.name in names else current
        group = index.setdefault(current, len(index))
        if groups and groups[-1] == group:
            borders[-1] = tensor.stop
        else:
            groups.append(group)
            borders.append(tensor.stop)
    return GroupMap(tuple(index), np.array(borders, dtype=np.int64), np.array(groups, dtype=np.int64))


class GroupedGenes:
    """Genes of a space whose groups each have one coefficient per model (or one position between two ends).

    The genome is: coefficients of group 0 (one per model), of group 1, ...; then the searched operator
    settings, each with one gene, or one per group.

    Args:
        context: Pool, operator and settings.
        groups: The groups.
        low: Coefficient at gene 0.
        high: Coefficient at gene 1.
    """

    def __init__(self, context: SpaceContext, groups: GroupMap, low: float, high: float) -> None:
        self.context, self.groups, self.low, self.high = context, groups, low, high
        heads = ("t",) if context.interpolates else context.models
        self._n_columns = len(heads)
        names = [_gene(head, label, len(groups.labels)) for label in groups.labels for head in heads]
        for setting in context.searched:
            labels = groups.labels if setting.per == "group" else ("",)
            names += [_gene(setting.name, label, len(labels)) for label in labels]
        self.names = tuple(names)

    @property
    def n_coefficients(self) -> int:
        """Number of genes that are coefficients."""
        return len(self.groups.labels) * self._n_columns

    def decode(self, genome: Genome) -> Recipe:
        """The recipe of a genome of shape ``(dim,)``; genes outside [0, 1] are clipped.

        Raises:
            ValueError: If the genome has another shape or is not finite.
        """
        genes = np.asarray(genome, dtype=np.float64)
        if genes.shape != (len(self.names),) or not np.all(np.isfinite(genes)):
            raise ValueError(
                f"Expected a finite genome of shape ({len(self.names)},), one gene per name in Space.names, "
                f"but got shape {genes.shape}."
            )
        genes = np.clip(genes, 0.0, 1.0)
        per_group = self.low + genes[: self.n_coefficients].reshape(-1, self._n_columns) * (self.high - self.low)
        rows = per_group[self.groups.group_of_segment]  # (S, columns)
        if self.context.interpolates and len(self.context.models) == 2:
            rows = np.concatenate([1.0 - rows, rows], axis=1)
        recipe = Recipe(
            operator=self.context.operator,
            models=self.context.models,
            base=self.context.base,
            boundaries=self.groups.boundaries,
            coefficients=rows,
            settings=self._decode_settings(genes[self.n_coefficients :]),
        )
        return recipe.canonical()

    def encode(self, recipe: Recipe) -> Genome | None:
        """The genome with the recipe's coefficients, or None if they are not constant on groups or out of range."""
        columns = self._columns_of(recipe)
        if columns is None or self.high == self.low:
            return None
        per_group = _constant_on_groups(recipe.boundaries, columns, self.groups)
        if per_group is None:
            return None
        genes = (per_group.ravel() - self.low) / (self.high - self.low)
        if np.any(genes < -1e-9) or np.any(genes > 1 + 1e-9):
            return None
        genome: Genome = np.concatenate([genes, self._encode_settings(recipe)]).clip(0.0, 1.0)
        return genome

    def _columns_of(self, recipe: Recipe) -> NDArray[np.float64] | None:
        """Coefficients of the recipe in this space's model order, shape (S, columns); None if a model is foreign."""
        if recipe.n_parameters != self.groups.boundaries[-1] or not set(recipe.models) <= set(self.context.models):
            return None
        full = np.zeros((recipe.n_segments, len(self.context.models)))
        for column, model in enumerate(recipe.models):
            full[:, self.context.models.index(model)] = recipe.coefficients[:, column]
        if self.context.interpolates and len(self.context.models) == 2:
            total = full.sum(axis=1, keepdims=True)
            if np.any(np.abs(total - 1.0) >= 1e-9):
                return None
            return np.asarray(full[:, 1:] / total, dtype=np.float64)
        return full

    def _decode_settings(self, genes: NDArray[np.float64]) -> dict[str, SettingValue]:
        settings: dict[str, SettingValue] = dict(self.context.fixed)
        at = 0
        for setting in self.context.searched:
            n = len(self.groups.labels) if setting.per == "group" else 1
            values = setting.low + genes[at : at + n] * (setting.high - setting.low)
            settings[setting.name] = (
                values[self.groups.group_of_segment] if setting.per == "group" else float(values[0])
            )
            at += n
        return settings

    def _encode_settings(self, recipe: Recipe) -> NDArray[np.float64]:
        genes: list[float] = []
        for setting in self.context.searched:
            n = len(self.groups.labels) if setting.per == "group" else 1
            value = recipe.settings.get(setting.name) if recipe.operator == self.context.operator else None
            array = None if value is None else np.broadcast_to(np.asarray(value, np.float64), (recipe.n_segments,))
            found = None if array is None else _constant_on_groups(recipe.boundaries, array[:, None], self.groups)
            span = setting.high - setting.low
            if found is None or span == 0:
                genes += [0.5] * n
            else:
                genes += [
                    float((x - setting.low) / span) for x in (found[:, 0] if setting.per == "group" else found[:1, 0])
                ]
        return np.clip(np.array(genes, dtype=np.float64), 0.0, 1.0)

    def describe_settings(self) -> list[str]:
        """One line for each searched operator setting."""
        return [
            f"{s.name} of {self.context.operator}: [{s.low:g}, {s.high:g}], one gene per {s.per}"
            for s in self.context.searched
        ]


class GroupedSpace(Space):
    """A space whose genes are coefficients of groups of tensors; leaves make the groups in their constructor."""

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


def _gene(head: str, label: str, n_groups: int) -> str:
    """Name of a gene: the bare head if there is only one group."""
    return head if n_groups == 1 else f"{head}[{label}]"


def _constant_on_groups(
    boundaries: NDArray[np.int64], values: NDArray[np.float64], groups: GroupMap
) -> NDArray[np.float64] | None:
    """Values per group, shape (G, columns), of values per segment of another cut; None if one group has several."""
    found = np.full((len(groups.labels), values.shape[1]), np.nan)
    for segment, group in enumerate(groups.group_of_segment):
        first = int(np.searchsorted(boundaries, groups.boundaries[segment], side="right")) - 1
        last = int(np.searchsorted(boundaries, groups.boundaries[segment + 1], side="left"))
        for row in values[first:last]:
            if np.isnan(found[group, 0]):
                found[group] = row
            elif np.any(found[group] != row):
                return None
    return found


def ranges(pair: Sequence[float]) -> tuple[float, float]:
    """Check a [low, high] pair.

    Raises:
        ValueError: If there are not two finite numbers in increasing order.
    """
    if len(pair) != 2 or not np.all(np.isfinite(pair)) or pair[0] >= pair[1]:
        raise ValueError(f"Expected a range [low, high] with low < high, but got {list(pair)}.")
    return float(pair[0]), float(pair[1])
