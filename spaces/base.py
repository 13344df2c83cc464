"""What every search space is: a total, deterministic map from the unit cube to recipes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from searcher.candidate import Genome
from searcher.pool.layout import Layout
from searcher.recipe import Recipe
from searcher.registry import Registry

SPACES: Registry[type[Space]] = Registry("space", "searcher.spaces")


@dataclass(frozen=True)
class SearchedSetting:
    """An operator setting that is a gene instead of a number.

    Args:
        name: Setting name.
        low: Value at gene 0.
        high: Value at gene 1.
        per: ``run``: one gene; ``group``: one gene per group of the space.
    """

    name: str
    low: float
    high: float
    per: Literal["run", "group"] = "run"


@dataclass(frozen=True)
class SpaceContext:
    """What a space knows of the pool and the operator.

    Args:
        layout: The parameter line.
        models: Names of the K source models.
        base: Name of the base model, or None.
        operator: Registered operator name.
        interpolates: True for operators between two ends (slerp): one gene ``t`` per group instead of one
            coefficient per model; the recipe's coefficients are then ``(1 - t, t)``, or ``(t,)`` from the base
            to a single model.
        fixed: Operator settings that are numbers; every setting not searched is listed, defaults included.
        searched: Operator settings that are genes.
        unchanged: Tensors that no model changes, such as the embeddings of a pool of adapters; genes of their own
            would do nothing.
        magnitudes: Measures the mean magnitude of each task vector, by tensor name, shape ``(K,)``; without a base
            that of the deviations from the models' mean. Reads the whole pool; None if there is none to read.
        prefix_products: Inner products of the base and the task vectors, or without a base of the models' weights,
            over positions ``0 ... p - 1`` of the line: from ``p`` to float64 of shape ``(V, V)``, V = K + 1 or K. Asking
            reads the sources the first time. None if there are no weights to ask.
    """

    layout: Layout
    models: tuple[str, ...]
    base: str | None
    operator: str
    interpolates: bool = False
    fixed: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    searched: tuple[SearchedSetting, ...] = ()
    unchanged: frozenset[str] = frozenset()
    magnitudes: Callable[[], Mapping[str, NDArray[np.float64]]] | None = None
    prefix_products: Callable[[int], NDArray[np.float64]] | None = None


class Space(ABC):
    """Genomes to recipes.

    The constructor takes the :class:`SpaceContext` and keyword-only settings; their annotations and defaults
    are the config schema of the space.
    """

    changes_depth: ClassVar[bool] = False
    """Whether recipes have ``layers``, so that models of another depth must be built."""

    @abstractmethod
    def __init__(self, context: SpaceContext) -> None: ...

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """One name per gene."""

    @abstractmethod
    def decode(self, genome: Genome, parents: Sequence[Recipe] = ()) -> Recipe:
        """The recipe of a genome; defined on the whole cube ``[0, 1]^dim``, deterministic."""

    @abstractmethod
    def encode(self, recipe: Recipe) -> Genome | None:
        """A genome whose coefficients are those of the recipe, or None if the space does not contain them.

        Settings that the recipe lacks take the middle of their range.
        """

    def levels(self) -> tuple[tuple[int, ...], ...]:
        """Coarser searches of the space, the coarsest first: for each gene the number of the one that moves it.

        Each level refines the one before; the finest, where every gene moves by itself, is not listed.
        """
        return ()

    @abstractmethod
    def describe(self) -> str:
        """A readable description: groups, genes, ranges."""
