"""More coefficients where a layer matters more (importance-guided chunks)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from searcher.pool.layout import TensorEntry
from searcher.spaces.base import SPACES, SpaceContext
from searcher.spaces.chunk_importance import assumed, norms
from searcher.spaces.chunk_plan import Unit, allocate, importances
from searcher.spaces.coefficients import Constraints
from searcher.spaces.group_map import GroupMap, make_groups
from searcher.spaces.groups import GroupedGenes, GroupedSpace, ranges
from searcher.spaces.name_patterns import FixedGroup, describe_fixed, with_fixed

REST = "the rest"
LINES = 40  # of the plan that are printed


@SPACES.register("chunk_wise")
class ChunkWise(GroupedSpace):
    """One gene per model and chunk; important layers are cut into more chunks (Expert Merging++).

    A layer's importance is the sum over models of |coefficient| x mean |task vector| x number of parameters,
    normalised to sum 1; it gets ``floor(chunks * importance^kappa / sum of importance^kappa)`` contiguous chunks of
    nearly equal size. Source: arXiv 2509.25712. The mean magnitudes are measured when the space is made, which reads
    the pool once.

    Args:
        context: Pool and operator.
        range: Coefficients at gene 0 and gene 1. Negative values subtract a task vector.
        per: What is cut: every ``block`` as a whole (tensors outside blocks one by one), or every ``tensor``.
        chunks: Budget; there are never more groups than this. None: as many as blocks or tensors.
        kappa: Exponent of the importance; 0 gives every layer as many chunks.
        coefficients: Those that the importance assumes: one number, one per model, or the recipe file of an earlier
            run (``recipe.json`` of an export), whose values are averaged over each layer.
        rest: Layers too unimportant for a chunk ``shared`` one group, or stay at the ``base`` without genes.
        remainder: Hand out the chunks that rounding down leaves over, by largest fraction.
    """

    def __init__(
        self,
        context: SpaceContext,
        *,
        range: tuple[float, float] = (0.0, 1.0),
        per: Literal["block", "tensor"] = "block",
        chunks: int | None = None,
        kappa: float = 1.0,
        coefficients: float | tuple[float, ...] | str = 1.0,
        rest: Literal["shared", "base"] = "shared",
        remainder: bool = False,
        simplex: bool = False,
        total: float | tuple[float, float] = 1.0,
        max_models: int | None = None,
        fixed: tuple[FixedGroup, ...] = (),
    ) -> None:
        low, high = ranges(range)
        _check(context, per, chunks, kappa, rest)
        label, rows = with_fixed(lambda tensor: _unit_of(tensor, per), fixed, context)
        units = make_units(context, label)
        free = [unit for unit in units if unit.name not in rows]
        if not free:
            raise ValueError("Expected at least one tensor with genes, but all are fixed.")
        self._importance = importances(assumed(coefficients, free, context), norms(free, _magnitudes(context)))
        self._budget, self._fixed, self._rest = len(free) if chunks is None else chunks, fixed, rest
        sizes = [unit.size for unit in free]
        self._chunks = allocate(
            self._importance, sizes, self._budget, kappa=kappa, with_rest=rest == "shared", remainder=remainder
        )
        self._units = free
        groups = self._groups(context, units, rows)
        self._genes = GroupedGenes(context, groups, low, high, Constraints(simplex, total, max_models))

    def _groups(self, context: SpaceContext, units: Sequence[Unit], fixed: Mapping[str, tuple[float, ...]]) -> GroupMap:
        """Chunks, the rest and fixed tensors as groups; what no model changes joins what stands before it."""
        n_chunks = {unit.name: int(n) for unit, n in zip(self._units, self._chunks, strict=True)}
        held = dict(fixed)
        if self._rest == "base":
            held[REST] = (0.0,) * (1 if context.interpolates else len(context.models))
        pieces = sorted(piece for unit in units for piece in _labelled(unit, n_chunks.get(unit.name)))
        index = {label: i for i, label in enumerate(dict.fromkeys(label for _, _, label in pieces))}
        borders = [0, *(start for start, _, _ in pieces[1:]), context.layout.n_parameters]
        return make_groups([*index], borders, [index[label] for _, _, label in pieces], held)

    @override
    def describe(self) -> str:
        genes, order = self._genes, np.argsort(-self._importance, kind="stable")
        head = f"chunk_wise: {genes.describe_coefficients()}; at most {self._budget} groups asked for"
        chosen = [int(i) for i in order if self._chunks[i]]
        plan = [f"  {self._units[i].name}: {self._line(i)}" for i in chosen[:LINES]]
        if len(chosen) > LINES:
            plan.append(f"  ... and {len(chosen) - LINES} more")
        n_rest = len(self._units) - len(chosen)
        place = "share one group" if self._rest == "shared" else "stay at the base"
        plan += [f"  the {n_rest} least important of {len(self._units)} {place}"] if n_rest else []
        return "\n".join([head, *plan, *describe_fixed(self._fixed), *genes.describe_settings()])

    def _line(self, unit: int) -> str:
        n, size = int(self._chunks[unit]), self._units[unit].size
        what = "1 chunk" if n == 1 else f"{n} chunks"
        return f"{what} of {size / n:.0f} parameters, importance {self._importance[unit]:.3g}"


def make_units(context: SpaceContext, label: Callable[[TensorEntry], str]) -> list[Unit]:
    """What is cut, in the order of the line, without the tensors that no model changes.

    Args:
        context: The pool.
        label: Name of the unit of a tensor.
    """
    tensors = [t for t in context.layout.tensors if t.size]
    members: dict[str, list[TensorEntry]] = {}
    for tensor in [t for t in tensors if t.name not in context.unchanged] or tensors:
        members.setdefault(label(tensor), []).append(tensor)
    return [Unit(name, tuple(found)) for name, found in members.items()]


def _magnitudes(context: SpaceContext) -> Mapping[str, NDArray[np.float64]]:
    if context.magnitudes is None:
        raise ValueError("Expected a pool whose task vectors can be measured; chunk_wise needs their magnitudes.")
    return context.magnitudes()


def _check(context: SpaceContext, per: str, chunks: int | None, kappa: float, rest: str) -> None:
    if per not in ("block", "tensor") or rest not in ("shared", "base"):
        raise ValueError(f"Expected `per` block or tensor and `rest` shared or base, but got {per!r} and {rest!r}.")
    if chunks is not None and chunks < 1:
        raise ValueError(f"Expected at least 1 chunk, but got {chunks}.")
    if not (np.isfinite(kappa) and kappa >= 0.0):
        raise ValueError(f"Expected a finite kappa of at least 0, but got {kappa}.")
    if rest == "base" and context.base is None:
        raise ValueError("Expected `rest: shared`, because the pool has no base to stay at.")


def _unit_of(tensor: TensorEntry, per: str) -> str:
    return tensor.name if per == "tensor" or tensor.block is None else f"block {tensor.block}"


def _labelled(unit: Unit, n_chunks: int | None) -> list[tuple[int, int, str]]:
    """Pieces ``(start, stop, label)`` of a unit; None: it is fixed and keeps its name."""
    if n_chunks is None or n_chunks == 0:
        return [(start, stop, unit.name if n_chunks is None else REST) for start, stop in unit.intervals]
    names = [unit.name] if n_chunks == 1 else [f"{unit.name} {j + 1}/{n_chunks}" for j in range(n_chunks)]
    return [(start, stop, names[chunk]) for start, stop, chunk in unit.pieces(n_chunks)]
