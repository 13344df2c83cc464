"""Which source's layer runs at each depth: models of another depth, with repeats and skips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.candidate import Genome
from searcher.pool.depth import find_stack
from searcher.pool.residual import residual_outputs
from searcher.recipe import Recipe
from searcher.spaces.base import SPACES, Space, SpaceContext
from searcher.spaces.flow_recipes import FlowRecipes, same_numbers
from searcher.spaces.groups import checked_genes
from searcher.spaces.slots import find_slots, make_slots, running

MAX_GENES = 100  # of layers and scales that the default granularity stays within
ON, OFF = 0.75, 0.25  # genes of known merges: a mutation reaches the other side
LARGEST_FACTOR = 1e6  # of the stream against an unscaled one, and its inverse: coefficients have 12 decimals


@SPACES.register("data_flow")
class DataFlow(Space):
    """Layers of all models in a row, each of which runs or not (Akiba et al. 2024, evolutionary model merge).

    All layers of the first model, then of the second and so on make a list, which is gone through ``repeats`` times. A
    layer runs where its gene is above one half; the weights stay as they are. The result is an ordinary model with as
    many layers as run. Use the operator linear. Known merges (a model alone) have genes 0.75 and 0.25.

    Args:
        context: Pool and operator.
        sources: Models whose layers may run, in this order; all models of the pool by default. The pool's base may be
            named too.
        repeats: How often the list of all layers is gone through (3 in the paper). With 1 a layer runs once at most,
            and never after one of a later model.
        max_layers: Most layers of a result; beyond, those with the largest genes are kept. By default one and a half
            times as many as a source has.
        granularity: Number of consecutive layers that share a gene; by default as small as 100 genes allow.
        scale: The stream may be multiplied by a factor from this range before each group of layers that runs; one more
            gene per group. ``[1, 1]`` does not scale. Contains 1. For layers like Llama's, GPT-2's and GPT-NeoX's.
        ends: Model that gives embeddings, final norm and head; by default one gene chooses.
    """

    changes_depth: ClassVar[bool] = True

    def __init__(
        self,
        context: SpaceContext,
        *,
        sources: tuple[str, ...] = (),
        repeats: int = 2,
        max_layers: int | None = None,
        granularity: int | None = None,
        scale: tuple[float, float] = (1.0, 1.0),
        ends: str | None = None,
    ) -> None:
        if context.operator != "linear":
            raise ValueError(
                f"Expected operator `linear`, which leaves layers as they are, but got {context.operator}."
            )
        if context.searched:
            names = ", ".join(setting.name for setting in context.searched)
            raise ValueError(
                f"Expected operator settings that are numbers, because layers stay as they are, not {names}."
            )
        self._stack = find_stack(context.layout)
        n = len(self._stack.layers)
        self._low, self._high = _checked_scale(scale)
        self._is_scaled = self._high > self._low
        self._sources, self._ends = _checked_sources(context, sources, ends)
        models = tuple(dict.fromkeys([*context.models, *self._sources, *self._ends]))
        self._repeats = _at_least(repeats, 1, "repeats")
        if granularity is None:
            granularity = _default_granularity(n, len(self._sources) * repeats * (1 + self._is_scaled))
        self._granularity = min(_at_least(granularity, 1, "granularity"), n)
        self._max_layers = n + n // 2 if max_layers is None else _at_least(max_layers, self._granularity, "max_layers")
        outputs = residual_outputs(self._stack) if self._is_scaled else frozenset()
        self._recipes = FlowRecipes(self._stack, models, outputs, context.fixed)
        self._slots = make_slots(self._sources, n, self._granularity, self._repeats)
        labels = [slot.label(self._repeats) for slot in self._slots]
        scales = [f"scale before {label}" for label in labels] if self._is_scaled else []
        self._names = (*labels, *scales, *(["ends"] if len(self._ends) > 1 else []))

    @property
    @override
    def names(self) -> tuple[str, ...]:
        return self._names

    @override
    def decode(self, genome: Genome, parents: Sequence[Recipe] = ()) -> Recipe:
        genes, n = checked_genes(genome, len(self._names)), len(self._slots)
        slots = running(self._slots, genes[:n], self._max_layers)
        layers = [layer for index in slots for layer in self._slots[index].layers]
        position = int(genes[-1] * len(self._ends)) if len(self._ends) > 1 else 0
        ends = self._ends[min(position, len(self._ends) - 1)]
        return self._recipes.recipe(layers, ends, self._factors(slots, genes[n : 2 * n]))

    @override
    def encode(self, recipe: Recipe) -> Genome | None:
        """A genome with the recipe's layers and coefficients; also of a single model that is left as it is."""
        wanted = recipe if recipe.layers is not None else self._recipes.of_single_model(recipe)
        slots = None if wanted is None else find_slots(self._slots, wanted.layers or ())
        if wanted is None or not slots or self._recipes.line(wanted) is None:
            return None
        genome = np.full(len(self._names), OFF)
        genome[slots] = ON
        if self._is_scaled:
            genome[len(self._slots) : 2 * len(self._slots)] = self._scale_genes(slots, self._recipes.factors(wanted))
        ends = self._recipes.ends(wanted)
        if len(self._ends) > 1 and ends in self._ends:
            genome[-1] = (self._ends.index(ends) + 0.5) / len(self._ends)
        found = self.decode(genome)
        return genome if found.layers == wanted.layers and same_numbers(found, wanted) else None

    @override
    def describe(self) -> str:
        n, each = len(self._stack.layers), self._granularity
        group = "1 layer" if each == 1 else f"{each} layers"
        passes = "once" if self._repeats == 1 else f"{self._repeats} times over"
        scale = f"scaled by {self._low:g} to {self._high:g} before each" if self._is_scaled else "not scaled between"
        ends = self._ends[0] if len(self._ends) == 1 else f"one of {', '.join(self._ends)} (one gene)"
        return "\n".join(
            [
                f"data_flow: {len(self._slots)} groups of {group} run or not, {scale}; at most {self._max_layers} layers",
                f"groups: {n} layers each of {', '.join(self._sources)}, {passes}",
                f"embeddings, final norm and head: {ends}",
            ]
        )

    def _factors(self, slots: Sequence[int], genes: NDArray[np.float64]) -> list[float]:
        """Factor of the stream at each depth, against an unscaled one, of scale genes of shape ``(n_slots,)``."""
        factor, found = 1.0, []
        for index in slots:
            if self._is_scaled:
                factor *= self._low + float(genes[index]) * (self._high - self._low)
                factor = min(max(factor, 1.0 / LARGEST_FACTOR), LARGEST_FACTOR)
            found += [factor] * len(self._slots[index].layers)
        return found

    def _scale_genes(self, slots: Sequence[int], factors: Sequence[float]) -> NDArray[np.float64]:
        """Scale genes, shape ``(n_slots,)``; of slots that do not run, the gene of factor 1."""
        scales = np.ones(len(self._slots))
        depth, before = 0, 1.0
        for index in slots:
            scales[index], before = factors[depth] / before, factors[depth]
            depth += len(self._slots[index].layers)
        genes: NDArray[np.float64] = ((scales - self._low) / (self._high - self._low)).clip(0.0, 1.0)
        return genes


def _checked_sources(
    context: SpaceContext, sources: tuple[str, ...], ends: str | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Models whose layers may run, and those of which one gives the ends."""
    known = [*context.models, *([] if context.base is None else [context.base])]
    unknown = [name for name in (*sources, *([] if ends is None else [ends])) if name not in known]
    if unknown or len(set(sources)) < len(sources):
        raise ValueError(f"Expected models of the pool ({', '.join(known)}), each once, but got {unknown or sources}.")
    chosen = sources or context.models
    return chosen, chosen if ends is None else (ends,)


def _checked_scale(scale: Sequence[float]) -> tuple[float, float]:
    low, high = (float(scale[0]), float(scale[1])) if len(scale) == 2 else (0.0, 0.0)
    if not 0.0 < low <= 1.0 <= high < LARGEST_FACTOR:
        raise ValueError(f"Expected a scale [low, high] with 0 < low <= 1 <= high, but got {list(scale)}.")
    return low, high


def _at_least(value: int, least: int, name: str) -> int:
    if value < least:
        raise ValueError(f"Expected {name} of at least {least}, but got {value}.")
    return value


def _default_granularity(n_layers: int, n_genes: int) -> int:
    """The fewest layers per group with which there are at most ``MAX_GENES`` genes, ``n_genes`` for each group."""
    allowed = (g for g in range(1, n_layers) if -(-n_layers // g) * n_genes <= MAX_GENES)
    return next(allowed, n_layers)
