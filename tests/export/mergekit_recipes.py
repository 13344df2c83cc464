"""Recipes of one row, and places to ask their numbers for, for the tests of what is written for mergekit."""

from __future__ import annotations

from typing import Any

import numpy as np

from searcher.export.mergekit_recipe import Place
from searcher.recipe import Recipe

SIZES = (8, 32, 64, 1000)
PLACES = [Place(0, size) for size in SIZES]
IN_BLOCKS = [Place(0, 8, block) for block in (None, 0, 1, 2)]
HERE = PLACES[0]
MERGEKIT = {"convention": "mergekit"}
DEPTH: dict[str, Any] = {"lines_alpha": 0.5, "lines_beta": 1.0}  # 0.5 outside the blocks; 0.5, 1 and 1.5 inside


def recipe(operator: str, row: list[float], base: str | None = "base", **settings: Any) -> Recipe:
    models = ("low", "high", "mid")[: len(row)]
    return Recipe(operator, models, base, np.array([0, 100]), np.array([row]), settings)
