"""Some tensors of a parameter line as a line of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from searcher.pool.layout import Layout, TensorEntry
from searcher.recipe import Recipe, SettingValue
from searcher.spaces.base import SpaceContext


class PartOfLine:
    """Positions of the whole line and of the part, in runs of neighbouring tensors.

    Args:
        layout: The whole line.
        tensors: Those of the part, in the order of the line; at least one has elements.
    """

    def __init__(self, layout: Layout, tensors: Sequence[TensorEntry]) -> None:
        runs: list[tuple[int, int]] = []
        for tensor in (t for t in tensors if t.size):
            start = runs.pop()[0] if runs and runs[-1][1] == tensor.offset else tensor.offset
            runs.append((start, tensor.stop))
        self.n_whole = layout.n_parameters
        self.starts, self.stops = np.array(runs, dtype=np.int64).T
        sizes = self.stops - self.starts
        self._inner_stops = np.cumsum(sizes)
        self._inner_starts = self._inner_stops - sizes
        offsets = np.cumsum([0, *(t.size for t in tensors)]).tolist()
        moved = tuple(replace(t, offset=offset) for t, offset in zip(tensors, offsets, strict=False))
        names = {t.name for t in tensors}
        self.layout = Layout(moved, {alias: name for alias, name in layout.tied.items() if name in names})

    def context(self, context: SpaceContext) -> SpaceContext:
        """What a space on this part knows; settings with one gene per run are left to the whole."""
        searched = tuple(setting for setting in context.searched if setting.per == "group")
        products = context.prefix_products
        return replace(
            context,
            layout=self.layout,
            searched=searched,
            prefix_products=None if products is None else self._products(products),
        )

    def restrict(self, recipe: Recipe) -> Recipe:
        """A recipe of the whole line on this part.

        Raises:
            ValueError: If it is of another line.
        """
        if recipe.n_parameters != self.n_whole:
            raise ValueError(f"Expected a recipe of {self.n_whole} parameters, but got {recipe.n_parameters}.")
        first = np.searchsorted(recipe.boundaries, self.starts, side="right") - 1
        last = np.searchsorted(recipe.boundaries, self.stops, side="left")
        rows = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
        run = np.repeat(np.arange(len(self.starts)), last - first)
        ends = np.minimum(recipe.boundaries[rows + 1], self.stops[run])
        borders = np.concatenate([[0], ends - self.starts[run] + self._inner_starts[run]])
        settings = {name: v[rows] if isinstance(v, np.ndarray) else v for name, v in recipe.settings.items()}
        return Recipe(recipe.operator, recipe.models, recipe.base, borders, recipe.coefficients[rows], settings)

    def pieces(self, recipe: Recipe) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """A recipe of the part cut at the runs' ends: starts on the whole line, and the segment of each."""
        cuts = np.union1d(recipe.boundaries[:-1], self._inner_starts)
        run = np.searchsorted(self._inner_stops, cuts, side="right")
        segment = np.searchsorted(recipe.boundaries, cuts, side="right") - 1
        return self.starts[run] + cuts - self._inner_starts[run], segment

    def _products(self, whole: Callable[[int], NDArray[np.float64]]) -> Callable[[int], NDArray[np.float64]]:
        """Inner products over the part's first positions, from those over the whole line's."""

        def products(position: int) -> NDArray[np.float64]:
            found = np.zeros_like(whole(0))
            for start, inner, stop in zip(self.starts, self._inner_starts, self._inner_stops, strict=True):
                if inner < position:
                    end = int(start + min(position, stop) - inner)
                    found += whole(end) - whole(int(start))
            return found

        return products


def joined(parts: Sequence[PartOfLine], recipes: Sequence[Recipe], settings: dict[str, SettingValue]) -> Recipe:
    """One recipe of recipes of all parts of a line, which have the same models in the same order.

    Args:
        parts: Together the whole line.
        recipes: One per part.
        settings: More settings of the whole.

    """
    found = [part.pieces(recipe) for part, recipe in zip(parts, recipes, strict=True)]
    starts = np.concatenate([start for start, _ in found])
    order = np.argsort(starts)
    segments = [segment for _, segment in found]

    def lay(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.concatenate([row[segment] for row, segment in zip(rows, segments, strict=True)])[order]

    merged: dict[str, SettingValue] = dict(settings)
    for name, first in recipes[0].settings.items():
        values = [recipe.settings[name] for recipe in recipes]
        if isinstance(first, bool | str) or all(not isinstance(v, np.ndarray) and v == first for v in values):
            merged.setdefault(name, first)
        else:
            merged.setdefault(name, lay([_per_segment(r, v) for r, v in zip(recipes, values, strict=True)]))
    model = recipes[0]
    borders = np.append(starts[order], parts[0].n_whole)
    coefficients = lay([recipe.coefficients for recipe in recipes])
    return Recipe(model.operator, model.models, model.base, borders, coefficients, merged).canonical()


def _per_segment(recipe: Recipe, value: SettingValue) -> NDArray[np.float64]:
    array = np.asarray(value, dtype=np.float64)
    return array if array.ndim else np.full(recipe.n_segments, float(array))
