"""Recipes whose layers are chosen: from layers, factors and ends to coefficients, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from searcher.pool.depth import Stack
from searcher.pool.layout import Layout
from searcher.recipe import Recipe, SettingValue
from searcher.spaces.slots import LayerOf


class FlowRecipes:
    """Writes and reads recipes with ``layers`` of one pool.

    Args:
        stack: The layers.
        models: Names of the K models of every recipe.
        outputs: Names, inside a layer, of tensors that are divided by the stream's factor.
        settings: Settings of the operator linear; ``normalize`` becomes False.
    """

    def __init__(
        self, stack: Stack, models: tuple[str, ...], outputs: frozenset[str], settings: Mapping[str, SettingValue]
    ) -> None:
        self._stack, self._models, self._outputs = stack, models, outputs
        self._settings = {**settings, "normalize": False}
        self._is_output = [[stack.local(t.name) in outputs for t in layer] for layer in stack.layers]

    def recipe(self, layers: Sequence[LayerOf], ends: str, factors: Sequence[float]) -> Recipe:
        """The recipe with a layer at each depth.

        Args:
            layers: Model and number of each layer.
            ends: Model of what lies outside the layers.
            factors: Of the stream at each depth, against an unscaled one.
        """
        sizes, rows = [t.size for t in self._stack.before], [self._row(ends)] * len(self._stack.before)
        for (source, layer), factor in zip(layers, factors, strict=True):
            row = self._row(source)
            for tensor, is_output in zip(self._stack.layers[layer], self._is_output[layer], strict=True):
                sizes.append(tensor.size)
                rows.append(row / factor if is_output else row)
        sizes += [t.size for t in self._stack.after]
        rows += [self._row(ends)] * len(self._stack.after)
        filled = np.array(sizes) > 0
        borders = np.concatenate([[0], np.cumsum(np.array(sizes)[filled])])
        coefficients = np.array(rows)[filled]
        return Recipe("linear", self._models, None, borders, coefficients, self._settings, tuple(layers)).canonical()

    def of_single_model(self, recipe: Recipe) -> Recipe | None:
        """The same model with layers, of a recipe that leaves one model as it is; None if it does not."""
        source = _only_source(recipe)
        if source not in self._models or recipe.n_parameters != self._stack.layout.n_parameters:
            return None
        n = len(self._stack.layers)
        return self.recipe([(source, layer) for layer in range(n)], source, [1.0] * n)

    def line(self, recipe: Recipe) -> Layout | None:
        """The parameter line of a recipe with layers; None if it is of other models."""
        if recipe.layers is None or not set(recipe.models) <= set(self._models):
            return None
        try:
            found = self._stack.at_depth([layer for _, layer in recipe.layers]).layout
        except ValueError:
            return None
        return found if found.n_parameters == recipe.n_parameters else None

    def ends(self, recipe: Recipe) -> str | None:
        """The model that a recipe's embeddings are mostly of; None if nothing lies outside the layers."""
        line = self.line(recipe)
        outside = [t for t in line.tensors if t.block is None and t.size] if line is not None else []
        return recipe.models[int(np.argmax(np.abs(_row_at(recipe, outside[0].offset))))] if outside else None

    def factors(self, recipe: Recipe) -> list[float]:
        """The stream's factor at each depth, from the coefficients of its first output projection."""
        line = self.line(recipe)
        firsts: dict[int, int] = {}
        for tensor in line.tensors if line is not None else ():
            if tensor.block is not None and self._stack.local(tensor.name) in self._outputs:
                firsts.setdefault(tensor.block, tensor.offset)
        values = [float(np.abs(_row_at(recipe, firsts[depth])).max()) for depth in sorted(firsts)]
        return [1.0 / value if value else 1.0 for value in values]

    def _row(self, source: str) -> NDArray[np.float64]:
        return np.array([float(name == source) for name in self._models])


def same_numbers(found: Recipe, wanted: Recipe) -> bool:
    """Whether two recipes with equal layers give every position the same coefficients."""
    if wanted.operator != "linear" or wanted.base is not None or wanted.settings.get("normalize", True) is not False:
        return False
    cuts = np.union1d(found.boundaries, wanted.boundaries)[:-1]
    rows = wanted.coefficients[np.searchsorted(wanted.boundaries, cuts, side="right") - 1]
    theirs = np.zeros((len(cuts), len(found.models)))
    for column, name in enumerate(wanted.models):
        theirs[:, found.models.index(name)] += rows[:, column]
    ours = found.coefficients[np.searchsorted(found.boundaries, cuts, side="right") - 1]
    return bool(np.allclose(ours, theirs, rtol=1e-6, atol=1e-9))


def _only_source(recipe: Recipe) -> str | None:
    """The model that a recipe without layers leaves as it is, everywhere; None if it is a mixture."""
    defaults = {"lambda": 1.0, "lines_alpha": 1.0, "lines_beta": 0.0}
    settings = recipe.settings_at(0)
    rows = recipe.canonical().coefficients
    if recipe.operator not in ("linear", "task_arithmetic") or len(rows) != 1:
        return None
    if any(settings.get(name, value) != value for name, value in defaults.items()):
        return None
    used = np.flatnonzero(rows[0])
    if used.size == 0:
        return recipe.base if recipe.operator == "task_arithmetic" else None
    return recipe.models[int(used[0])] if used.size == 1 and rows[0, used[0]] == 1.0 else None


def _row_at(recipe: Recipe, position: int) -> NDArray[np.float64]:
    """Coefficients at a position, shape ``(K,)``."""
    segment = int(np.searchsorted(recipe.boundaries, position, side="right")) - 1
    return np.asarray(recipe.coefficients[segment], dtype=np.float64)
