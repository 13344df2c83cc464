"""What the code of a kernel depends on, and the tables of numbers that it reads.

A kernel is generated per *shape* of plan (number of models, slots, storage types), not per candidate: the shape is a
:class:`KernelSpec`. Scalars come in two tables, one row per row of a tensor: float32 and uint32. :func:`scalars`
fills them in the order in which ``source.KernelText`` numbers them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from searcher.merge.counter_hash import model_key
from searcher.merge.plan import (
    ONE_ROW,
    Clip,
    KeepAll,
    KeepImportance,
    KeepMagnitude,
    KeepMask,
    KeepRandom,
    KeepRanked,
    KeepVariance,
    TensorPlan,
)

if TYPE_CHECKING:
    from searcher.merge.kernels.buffers import Buffers

BOUND_NONE, BOUND_SOME, BOUND_ALL = "none", "some", "all"  # what a random mask keeps of a model
STATES = {0: BOUND_NONE, 1 << 32: BOUND_ALL}
KINDS: dict[type, tuple[Any, ...]] = {
    KeepAll: ("all",), KeepImportance: ("importance",), Clip: ("clip",), KeepMask: ("mask",),
}  # fmt: skip
PAIRED = {"bfloat16", "float16"}

Tables: TypeAlias = tuple[NDArray[np.float32], NDArray[np.uint32]]
Stack: TypeAlias = Callable[[Callable[[TensorPlan], Any]], NDArray[Any]]


@dataclass(frozen=True)
class KernelSpec:
    """All that the code of a kernel depends on.

    Args:
        dtypes: Storage types of the result, the base (empty if not read) and the models, in torch's spelling.
        is_delta: Per model, whether its task vector is stored.
        deltas: Whether the plan works on task vectors.
        keep: Kind and variant of the keep slot.
        vote: As in the plan.
        average: As in the plan.
        zero_is_positive: Sign of a zero vote.
        origin: ``none``, ``one`` or ``scaled``.
        scaled: Whether the total has a factor.
    """

    dtypes: tuple[str, ...]
    is_delta: tuple[bool, ...]
    deltas: bool
    keep: tuple[Any, ...]
    vote: str
    average: str
    zero_is_positive: bool
    origin: str
    scaled: bool

    @property
    def n_models(self) -> int:
        """Number of models that take part."""
        return len(self.is_delta)

    @property
    def hashes(self) -> bool:
        """Whether the kernel computes hashes."""
        return self.keep[0] in ("random", "ranked") or "tie" in self.keep

    @property
    def pairs(self) -> bool:
        """Whether every number that is read or written has 16 bits, so that two can be handled as one word."""
        return PAIRED.issuperset(d for d in self.dtypes if d) and self.keep[0] != "mask"


def kernel_spec(plan: TensorPlan, buffers: Buffers) -> KernelSpec:
    """The code that a plan needs."""
    origin = "none" if plan.origin is None else _kind_of(plan.origin, {0.0: "none", 1.0: "one"})
    return _spec(
        buffers.dtypes,
        buffers.is_delta,
        plan.vectors == "deltas",
        _keep_variant(plan),
        plan.vote,
        plan.average,
        plan.zero_sign > 0,
        origin,
        _kind_of(plan.factor, {1.0: "one"}) == "scaled",
    )


@lru_cache(maxsize=4096)
def _spec(dtypes: tuple[str, ...], is_delta: tuple[bool, ...], deltas: bool, *rest: Any) -> KernelSpec:  # noqa: ANN401
    """Specifications are made in thousands and few differ."""
    keep, vote, average, zero_is_positive, origin, scaled = rest
    reads_base = origin != "none" or any(d != deltas for d in is_delta)
    out, base, *models = dtypes
    return KernelSpec(
        (out, base if reads_base else "", *models),
        is_delta, deltas, keep, vote, average, zero_is_positive, origin, scaled,
    )  # fmt: skip


def _kind_of(values: NDArray[np.float64], kinds: dict[float, str]) -> str:
    """The name of the one value that an array holds; ``scaled`` if it holds others."""
    if values is ONE_ROW:
        return "one"
    found = set(values.tolist())
    return kinds.get(found.pop(), "scaled") if len(found) == 1 else "scaled"


def _keep_variant(plan: TensorPlan) -> tuple[Any, ...]:
    keep = plan.keep
    if isinstance(keep, KeepMagnitude):
        low = "tie" if keep.low_tie is not None else ""
        high = "" if keep.high is None else "high"
        return ("magnitude", low, high, "tie" if keep.high_tie is not None else "")
    if isinstance(keep, KeepRandom):
        return ("random", *(STATES.get(b, BOUND_SOME) for b in keep.bounds.tolist()))
    if isinstance(keep, KeepRanked):
        return ("ranked", keep.rescale)
    if isinstance(keep, KeepVariance):
        return ("variance", "" if keep.tie is None else "tie")
    return KINDS[type(keep)]


def scalars(plan: TensorPlan, spec: KernelSpec, names: tuple[str, ...]) -> Tables:
    """The tables of a plan: float32 (R, F) and uint32 (R, U), in the order of ``KernelText``.

    Args:
        plan: The plan.
        spec: Its code.
        names: Names of the models that take part.
    """
    n = plan.n_rows
    if n == 1:
        return stacked_scalars([plan], spec, [names])

    def stack(pick: Callable[[TensorPlan], Any]) -> NDArray[Any]:
        part = np.atleast_2d(np.asarray(pick(plan)))
        return np.broadcast_to(part, (n, part.shape[-1]))

    return _tables(stack, plan, spec, stack(lambda _: _model_keys(names)), n)


def stacked_scalars(plans: Sequence[TensorPlan], spec: KernelSpec, names: Sequence[tuple[str, ...]]) -> Tables:
    """The tables of plans with one row each, that row for each of them.

    Args:
        plans: Plans with the same code, ``R = 1``.
        spec: Their code.
        names: For each, the names of the models that take part.
    """

    def stack(pick: Callable[[TensorPlan], Any]) -> NDArray[Any]:
        return np.array([pick(plan) for plan in plans]).reshape(len(plans), -1)

    return _tables(stack, plans[0], spec, np.array([_model_keys(n) for n in names]), len(plans))


def _tables(stack: Stack, first: TensorPlan, spec: KernelSpec, keys: NDArray[Any], n: int) -> Tables:
    """Both tables.

    Args:
        stack: From a part of a plan to a column for each number in it, with all rows.
        first: One of the plans.
        spec: Their code.
        keys: Keys of the models, shape (n, 2 * K').
        n: Number of rows.
    """
    floats, whole = _keep_columns(stack, first, keys)
    floats.insert(0, stack(lambda p: p.scales))
    if spec.average not in ("sum", "agreeing_sum", "agreeing_count"):
        weights = stack(lambda p: p.weights)
        floats.append(np.abs(weights) if spec.average == "agreeing" else weights)
    if spec.vote == "unweighted" and spec.average not in ("sum", "unique"):
        floats.append(np.sign(floats[0]))
    if spec.scaled:
        floats.append(stack(lambda p: _column(p.factor)))
    if spec.origin == "scaled":
        floats.append(stack(lambda p: _column(p.origin)))
    with np.errstate(over="ignore"):  # numbers beyond float32 become infinite
        return _joined(floats, n, np.float32), _joined(whole, n, np.uint32)


def _keep_columns(stack: Stack, first: TensorPlan, keys: NDArray[Any]) -> tuple[list[Any], list[Any]]:
    """Floats and whole numbers of the keep slot."""
    keep: Any = first.keep
    if isinstance(keep, KeepMagnitude):
        return _magnitude_columns(stack, keep)
    if isinstance(keep, KeepRandom):
        return [], [np.maximum(stack(lambda p: p.keep.bounds) - 1, 0), keys]  # type: ignore[union-attr]
    if isinstance(keep, KeepRanked):
        low, high = stack(lambda p: p.keep.low), stack(lambda p: p.keep.high)  # type: ignore[union-attr]
        return [low, high - low], [keys]
    if isinstance(keep, KeepImportance):
        return [stack(lambda p: p.keep.row_factor), stack(lambda p: p.keep.threshold)], []  # type: ignore[union-attr]
    if isinstance(keep, Clip):
        return [stack(lambda p: p.keep.limit)], []  # type: ignore[union-attr]
    if isinstance(keep, KeepVariance):
        ties = [] if keep.tie is None else [stack(lambda p: [p.keep.tie])]  # type: ignore[union-attr]
        return [stack(lambda p: [p.keep.threshold])], ties  # type: ignore[union-attr]
    return [], []


def _magnitude_columns(stack: Stack, keep: KeepMagnitude) -> tuple[list[Any], list[Any]]:
    floats, whole = [stack(lambda p: p.keep.low)], []  # type: ignore[union-attr]
    if keep.low_tie is not None:
        with np.errstate(over="ignore"):  # above the largest number there is infinity
            floats.append(np.nextafter(floats[0], np.float32(np.inf)))
        whole.append(stack(lambda p: p.keep.low_tie))  # type: ignore[union-attr]
    if keep.high is not None:
        floats.append(stack(lambda p: p.keep.high))  # type: ignore[union-attr]
    if keep.high_tie is not None:
        whole.append(stack(lambda p: p.keep.high_tie))  # type: ignore[union-attr]
    return floats, whole


@cache
def _model_keys(names: tuple[str, ...]) -> tuple[int, ...]:
    """Offset and multiplier of each model."""
    return tuple(part for name in names for part in model_key(name))


def _joined(parts: list[Any], n: int, dtype: type) -> NDArray[Any]:
    joined = np.concatenate(parts, axis=1) if parts else np.zeros((n, 0))
    return np.ascontiguousarray(joined.astype(dtype))


def _column(values: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """One number per row, shape (R, 1)."""
    assert values is not None
    return values[:, None]
