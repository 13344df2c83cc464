"""The text of one fused kernel: a TensorPlan's slots as straight-line code for one element.

A kernel is generated per *shape* of plan (number of models, slots, storage types), not per candidate. With the
number of models known every intermediate value stays in a register, which makes the difference between a third
and nearly all of the memory bandwidth. The text is the same for numba and Triton: both provide the functions it
calls (``where``, ``load_bfloat16``, ``finish_hash`` ...).

Scalars come in two tables, one row per row of the tensor: float32 and uint32. :func:`scalars` fills them in the order
in which :class:`KernelText` numbers them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from searcher.merge.counter_hash import model_key
from searcher.merge.plan import (
    Clip,
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


def kernel_spec(plan: TensorPlan, buffers: Buffers) -> KernelSpec:
    """The code that a plan needs."""
    origin = "none" if plan.origin is None else _kind_of(plan.origin, {0.0: "none", 1.0: "one"})
    deltas = plan.vectors == "deltas"
    reads_base = origin != "none" or any(d != deltas for d in buffers.is_delta)
    dtypes = [buffers.out.dtype, buffers.base.dtype if reads_base and buffers.base is not None else ""]
    dtypes += [m.dtype for m in buffers.models]
    return KernelSpec(
        tuple(_dtype_name(d) for d in dtypes),
        buffers.is_delta,
        deltas,
        _keep_variant(plan),
        plan.vote,
        plan.average,
        plan.zero_sign > 0,
        origin,
        _kind_of(plan.factor, {1.0: "one"}) == "scaled",
    )


def _kind_of(values: np.ndarray, kinds: dict[float, str]) -> str:
    """The name of the one value that an array holds; ``scaled`` if it holds others."""
    found = set(values.tolist())
    return kinds.get(found.pop(), "scaled") if len(found) == 1 else "scaled"


@cache
def _dtype_name(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")


def _keep_variant(plan: TensorPlan) -> tuple[Any, ...]:
    keep = plan.keep
    if isinstance(keep, KeepMagnitude):
        low = "tie" if keep.low_tie is not None else ""
        high = "" if keep.high is None else "high"
        return ("magnitude", low, high, "tie" if keep.high_tie is not None else "")
    if isinstance(keep, KeepRandom):
        states = {0: BOUND_NONE, 1 << 32: BOUND_ALL}
        return ("random", *(states.get(int(b), BOUND_SOME) for b in keep.bounds))
    if isinstance(keep, KeepRanked):
        return ("ranked", keep.rescale)
    if isinstance(keep, KeepVariance):
        return ("variance", "" if keep.tie is None else "tie")
    kinds = {KeepImportance: "importance", Clip: "clip", KeepMask: "mask"}
    return (kinds.get(type(keep), "all"),)


def scalars(plan: TensorPlan, spec: KernelSpec, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The tables of a plan: float32 (R, F) and uint32 (R, U), in the order of :class:`KernelText`.

    Args:
        plan: The plan.
        spec: Its code.
        names: Names of the models that take part.
    """
    n, keep = plan.n_rows, plan.keep
    floats: list[Any] = [plan.scales]
    whole: list[Any] = []
    if isinstance(keep, KeepMagnitude):
        floats.append(keep.low)
        if keep.low_tie is not None:
            with np.errstate(over="ignore"):  # above the largest number there is infinity
                floats.append(np.nextafter(keep.low, np.float32(np.inf)))
        floats += [] if keep.high is None else [keep.high]
        whole += [tie for tie in (keep.low_tie, keep.high_tie) if tie is not None]
    elif isinstance(keep, KeepRandom):
        whole.append(np.maximum(keep.bounds - 1, 0))
    elif isinstance(keep, KeepRanked):
        floats += [keep.low, keep.high - keep.low]
    elif isinstance(keep, KeepImportance):
        floats += [keep.row_factor, keep.threshold]
    elif isinstance(keep, Clip):
        floats.append(keep.limit)
    elif isinstance(keep, KeepVariance):
        floats.append([keep.threshold])
        whole += [] if keep.tie is None else [[keep.tie]]
    if spec.average not in ("sum", "agreeing_sum", "agreeing_count"):
        floats.append(np.abs(plan.weights) if spec.average == "agreeing" else plan.weights)
    if spec.vote == "unweighted" and spec.average not in ("sum", "unique"):
        floats.append(np.sign(plan.scales))
    floats += [plan.factor[:, None]] if spec.scaled else []
    floats += [plan.origin[:, None]] if spec.origin == "scaled" and plan.origin is not None else []
    if spec.keep[0] in ("random", "ranked"):
        whole.append([part for name in names for part in model_key(name)])
    return _table(floats, n, np.float32), _table(whole, n, np.uint32)


def _table(parts: list[Any], n: int, dtype: Any) -> np.ndarray:  # noqa: ANN401
    if n == 1:
        with np.errstate(over="ignore"):  # numbers beyond float32 become infinite
            return np.array([x for part in parts for x in np.asarray(part).ravel().tolist()]).astype(dtype)[None]
    rows = [np.broadcast_to(np.atleast_2d(np.asarray(part)), (n, np.asarray(part).shape[-1])) for part in parts]
    return np.ascontiguousarray(np.concatenate(rows, axis=1) if rows else np.zeros((n, 0)), dtype)


class KernelText:
    """Code of one kernel, for element ``first + i`` of the tensor, ``i`` of the arrays, in one row.

    Attributes:
        arrays: Names of the array arguments, in order.
        prelude: Statements that read the row's scalars from ``floats[row, j]`` and ``whole[row, j]``.
        body: Statements for one element; the result is ``value``.
    """

    def __init__(self, spec: KernelSpec) -> None:
        self.spec = spec
        self.prelude: list[str] = []
        self.body: list[str] = []
        self.arrays = ["out", *(["base"] if spec.dtypes[1] else []), *(f"model{k}" for k in self._all)]
        self._n_floats = self._n_whole = 0
        self._write()

    @property
    def _all(self) -> range:
        return range(self.spec.n_models)

    def _float(self, name: str) -> None:
        self.prelude.append(f"{name} = floats[row, {self._n_floats}]")
        self._n_floats += 1

    def _uint(self, name: str) -> None:
        self.prelude.append(f"{name} = whole[row, {self._n_whole}]")
        self._n_whole += 1

    def _write(self) -> None:
        spec = self.spec
        if spec.dtypes[1]:
            self.body.append(f"b = load_{spec.dtypes[1]}(base, i)")
        for k in self._all:
            self._float(f"scale{k}")
            self.body.append(f"v{k} = {self._vector(k)}")
        self._keep()
        for k in self._all:
            self.body.append(f"s{k} = m{k} * scale{k}")
        self._average()
        self._finish()

    def _vector(self, k: int) -> str:
        load = f"load_{self.spec.dtypes[2 + k]}(model{k}, i)"
        if self.spec.deltas and not self.spec.is_delta[k]:
            return f"{load} - b"
        return f"b + {load}" if self.spec.is_delta[k] and not self.spec.deltas else load

    def _keep(self) -> None:
        kind, *variant = self.spec.keep
        if kind == "all":
            self.body += [f"m{k} = v{k}" for k in self._all]
        else:
            getattr(self, f"_keep_{kind}")(*variant)

    def _tie_hash(self) -> None:
        self.body.append("tie = shared_hash(i, key)")

    def _keep_magnitude(self, low: str, high: str, high_tie: str) -> None:
        for name in ["low", *(["above_low"] if low else []), *(["high"] if high else [])]:
            for k in self._all:
                self._float(f"{name}{k}")
        for name in [*(["low_tie"] if low else []), *(["high_tie"] if high_tie else [])]:
            for k in self._all:
                self._uint(f"{name}{k}")
        if low or high_tie:
            self._tie_hash()
        for k in self._all:
            self.body.append(f"a{k} = absolute(v{k})")
            test = f"(a{k} > low{k})"
            if low:  # the same as "above, or equal with a tie hash that is low enough", in fewer operations
                test = f"(a{k} >= where(at_most(tie, low_tie{k}), low{k}, above_low{k}))"
            if high:
                below = f"(a{k} < high{k})"
                if high_tie:
                    below = f"({below} | ((a{k} == high{k}) & above(tie, high_tie{k})))"
                test = f"({test} & {below})"
            self.body.append(f"m{k} = where({test}, v{k}, ZERO)")

    def _keep_random(self, *states: str) -> None:
        for k in self._all:
            self._uint(f"bound{k}")
        self._model_keys()
        for k, state in enumerate(states):
            test = f"at_most(finish_hash(shared, offset{k}, multiplier{k}), bound{k})"
            kept = f"where({test}, v{k}, ZERO)"
            self.body.append(
                f"m{k} = " + {BOUND_SOME: kept, BOUND_ALL: f"v{k}", BOUND_NONE: f"where(False, v{k}, ZERO)"}[state]
            )

    def _keep_ranked(self, rescale: bool) -> None:
        for name in ("low", "span"):
            for k in self._all:
                self._float(f"{name}{k}")
        self.arrays += [f"rank{k}" for k in self._all]
        self._model_keys()
        for k in self._all:
            self.body.append(f"p{k} = load_rank(rank{k}, i) * span{k} + low{k}")
            kept = f"v{k} / p{k}" if rescale else f"v{k}"
            self.body.append(
                f"m{k} = where(uniform(finish_hash(shared, offset{k}, multiplier{k})) < p{k}, {kept}, ZERO)"
            )

    def _keep_importance(self) -> None:
        for name in ("importance", "threshold"):
            for k in self._all:
                self._float(f"{name}{k}")
        for k in self._all:
            self.body.append(f"m{k} = where(absolute(v{k}) * importance{k} >= threshold{k}, v{k}, ZERO)")

    def _keep_clip(self) -> None:
        for k in self._all:
            self._float(f"limit{k}")
            self.body.append(f"m{k} = where(v{k} > limit{k}, limit{k}, where(v{k} < -limit{k}, -limit{k}, v{k}))")

    def _keep_mask(self) -> None:
        self.arrays += [f"mask{k}" for k in self._all]
        self.body += [f"m{k} = where(load_mask(mask{k}, i), v{k}, ZERO)" for k in self._all]

    def _keep_variance(self, tie: str) -> None:
        self._float("threshold")
        n = f"FLOAT({self.spec.n_models}.0)"
        self.body += [f"e{k} = v{k} - v0" for k in self._all]
        self.body.append(f"mean = divide({self._sum('e')}, {n})")
        self.body += [f"d{k} = e{k} - mean" for k in self._all]
        self.body += [f"q{k} = d{k} * d{k}" for k in self._all]
        self.body.append(f"variance = divide({self._sum('q')}, {n})")
        test = "(variance > threshold)"
        if tie:
            self._uint("threshold_tie")
            self._tie_hash()
            test = f"({test} | ((variance == threshold) & at_most(tie, threshold_tie)))"
        self.body += [f"m{k} = where({test}, v{k}, ZERO)" for k in self._all]

    def _model_keys(self) -> None:
        for k in self._all:
            self._uint(f"offset{k}")
            self._uint(f"multiplier{k}")
        self.body.append("shared = shared_hash(i, key)")

    def _average(self) -> None:
        spec = self.spec
        if spec.average == "sum":
            self.body.append(f"value = {self._sum('s')}")
            return
        counts = spec.average == "agreeing_count"
        if spec.average in ("agreeing", "agreeing_signed", "unique"):
            for k in self._all:
                self._float(f"weight{k}")
        if spec.average == "unique":
            self.body += [f"n{k} = where(m{k} != ZERO, ONE, ZERO)" for k in self._all]
            self.body.append(f"number = {self._sum('n')}")
            self.body += [f"w{k} = s{k} * weight{k}" for k in self._all]
            divided = f"divide({self._sum('s')}, where(number > ONE, number, ONE))"
            self.body.append(f"value = where(number == ONE, {self._sum('w')}, {divided})")
            return
        if spec.vote == "weighted":
            vote = self._sum("s")
        else:
            for k in self._all:
                self._float(f"side{k}")
                self.body.append(f"u{k} = m{k} * side{k}")
            vote = self._sum("u")
        self.body.append(f"vote = {vote}")
        elected = "vote" if spec.zero_is_positive else "where(vote > ZERO, ONE, -ONE)"
        self.body.append(f"sign = sign_bits({elected})")
        for k in self._all:
            self.body.append(f"x{k} = flip(s{k}, sign)")
            self.body.append(f"t{k} = where(x{k} > ZERO, x{k}, ZERO)")
        self.body.append(f"value = {self._sum('t')}")
        if spec.average != "agreeing_sum":
            self.body += [f"w{k} = where(x{k} > ZERO, {'ONE' if counts else f'weight{k}'}, ZERO)" for k in self._all]
            self.body.append(f"divisor = {self._sum('w')}")
            self.body.append("value = divide(value, where(divisor == ZERO, ONE, divisor))")
        self.body.append("value = flip(value, sign)")

    def _sum(self, letter: str) -> str:
        return " + ".join(f"{letter}{k}" for k in self._all)

    def _finish(self) -> None:
        if self.spec.scaled:
            self._float("factor")
            self.body.append("value = value * factor")
        if self.spec.origin == "scaled":
            self._float("origin")
            self.body.append("value = value + b * origin")
        elif self.spec.origin == "one":
            self.body.append("value = value + b")
