"""Genes that are operator settings."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from searcher.recipe import Recipe, SettingValue
from searcher.spaces.base import SearchedSetting, SpaceContext
from searcher.spaces.group_map import GroupMap


class SettingGenes:
    """The searched settings of an operator: one gene each, or one per group.

    Fixed groups take the middle of a range.

    Args:
        context: Operator and settings.
        groups: The groups.
    """

    def __init__(self, context: SpaceContext, groups: GroupMap) -> None:
        self._context, self._groups = context, groups
        names: list[str] = []
        for setting in context.searched:
            labels = groups.labels if setting.per == "group" else ("",)
            names += [gene_name(setting.name, label, len(labels)) for label in labels]
        self.names = tuple(names)

    def decode(self, genes: NDArray[np.float64]) -> dict[str, SettingValue]:
        """All settings of the recipe, the fixed ones too, of genes in [0, 1], shape ``(n,)``."""
        settings: dict[str, SettingValue] = dict(self._context.fixed)
        at = 0
        for setting in self._context.searched:
            n = self._n_genes(setting)
            values = setting.low + genes[at : at + n] * (setting.high - setting.low)
            settings[setting.name] = self._per_segment(setting, values) if setting.per == "group" else float(values[0])
            at += n
        return settings

    def encode(self, recipe: Recipe) -> NDArray[np.float64]:
        """The genes of a recipe's settings; what it lacks, or has from another operator, takes the middle."""
        parts = [self._encode_one(setting, recipe) for setting in self._context.searched]
        genes: NDArray[np.float64] = np.clip(np.concatenate([np.zeros(0), *parts]), 0.0, 1.0)
        return genes

    def describe(self) -> list[str]:
        """One line for each searched setting."""
        return [
            f"{s.name} of {self._context.operator}: [{s.low:g}, {s.high:g}], one gene per {s.per}"
            for s in self._context.searched
        ]

    def _n_genes(self, setting: SearchedSetting) -> int:
        return len(self._groups.labels) if setting.per == "group" else 1

    def _per_segment(self, setting: SearchedSetting, values: NDArray[np.float64]) -> NDArray[np.float64]:
        fixed = self._groups.fixed
        middle = None if fixed is None else np.full((len(fixed), 1), (setting.low + setting.high) / 2)
        return self._groups.spread(values[:, None], middle)[:, 0]

    def _encode_one(self, setting: SearchedSetting, recipe: Recipe) -> NDArray[np.float64]:
        span, middle = setting.high - setting.low, np.full(self._n_genes(setting), 0.5)
        value = recipe.settings.get(setting.name) if recipe.operator == self._context.operator else None
        if value is None or span == 0:
            return middle
        per_segment = np.broadcast_to(np.asarray(value, np.float64), (recipe.n_segments,))
        if setting.per == "run":
            return (per_segment[:1] - setting.low) / span if np.ptp(per_segment) == 0 else middle
        found = self._groups.gather(recipe.boundaries, per_segment[:, None], None)
        return middle if found is None else np.asarray((found[:, 0] - setting.low) / span)


def gene_name(head: str, label: str, n_groups: int) -> str:
    """Name of a gene: the bare head if there is only one group."""
    return head if n_groups == 1 else f"{head}[{label}]"
