"""Plans of every kind over small tensors: what the tests of all backends run.

Half of the elements lie on a coarse grid, so that values often equal a threshold, cancel in a vote or agree in
all models; the others are drawn from a normal distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch
from numpy.typing import NDArray

from searcher.merge.kernels.buffers import Buffers
from searcher.merge.plan import (
    Average,
    Clip,
    Keep,
    KeepAll,
    KeepImportance,
    KeepMagnitude,
    KeepMask,
    KeepRandom,
    KeepRanked,
    KeepVariance,
    TensorPlan,
    Vectors,
    Vote,
)

Execute = Callable[[TensorPlan, Buffers, int, int], None]

AVERAGES: tuple[tuple[Average, Vote], ...] = (
    ("sum", "none"),
    ("agreeing", "weighted"),
    ("agreeing", "unweighted"),
    ("agreeing_signed", "weighted"),
    ("agreeing_signed", "unweighted"),
    ("agreeing_sum", "weighted"),
    ("agreeing_sum", "unweighted"),
    ("agreeing_count", "weighted"),
    ("agreeing_count", "unweighted"),
    ("unique", "none"),
)
KEEPS = (
    "all", "above", "above_tie", "band", "band_tie", "random", "ranked", "ranked_rescaled", "importance", "clip",
    "variance", "variance_tie", "mask",
)  # fmt: skip
SOURCES = ("bfloat16", "float16", "float32", "mixed")
STORED: tuple[tuple[Vectors, str], ...] = (
    ("deltas", "weights"), ("deltas", "mixed"), ("deltas", "deltas"), ("weights", "weights"), ("weights", "mixed"),
)  # fmt: skip
INT = {torch.bfloat16: torch.int16, torch.float16: torch.int16, torch.float32: torch.int32}


@dataclass(frozen=True)
class Case:
    """One plan and one tensor.

    Args:
        keep: One of ``KEEPS``.
        average: One of ``AVERAGES``, with the vote.
        n_models: Number of models.
        sources: One of ``SOURCES``: type of the models and the base.
        out: Type of the result.
        stored: One of ``STORED``: what the plan works on, and what is stored of the models.
        n_rows: Rows of the plan.
        row_length: Elements of a row.
        origin: Scale of the base: None, 1, or another number.
        factor: Scale of the total.
        zero_sign: Sign of a vote of zero.
        seed: Of everything random.
    """

    keep: str = "all"
    average: tuple[Average, Vote] = ("sum", "none")
    n_models: int = 2
    sources: str = "bfloat16"
    out: str = "bfloat16"
    stored: tuple[Vectors, str] = ("deltas", "weights")
    n_rows: int = 1
    row_length: int = 160
    origin: float | None = 1.0
    factor: float = 1.0
    zero_sign: float = 1.0
    seed: int = 0

    @property
    def name(self) -> str:
        """The slots, for messages."""
        return "-".join(
            [self.keep, *self.average, f"{self.n_models}x{self.n_rows}", self.sources, self.out, *self.stored]
        )

    @property
    def size(self) -> int:
        return self.n_rows * self.row_length

    def build(self) -> tuple[TensorPlan, Buffers]:
        """The plan and the arrays; ``out`` is filled with 7."""
        rng = np.random.default_rng(self.seed)
        buffers = self._buffers(rng)
        average, vote = self.average
        shape = (self.n_rows, self.n_models)
        scales = rng.choice([-1.0, 1.0, 1.0], shape) * rng.uniform(0.2, 1.5, shape)
        scales[rng.random(shape) < 0.2] = 1.0
        plan = TensorPlan(
            self.stored[0],
            tuple(range(self.n_models)),
            scales,
            None if self.origin is None else self._per_row(self.origin),
            self._per_row(self.factor),
            _keep(self.keep, rng, vectors(self.stored[0], buffers), self.n_rows),
            vote,
            average,
            rng.choice([-0.5, 0.5, 0.7, 1.0], self.n_models),
            self.zero_sign,
        )
        return plan, buffers

    def _per_row(self, number: float) -> NDArray[np.float64]:
        """The number, or numbers around it; exact ones stay as they are."""
        step = 0.0 if number == 1.0 else 0.1
        return np.array([number + step * row for row in range(self.n_rows)])

    def _buffers(self, rng: np.random.Generator) -> Buffers:
        names = [self.sources] * (self.n_models + 1)
        if self.sources == "mixed":
            names = [("float32", "bfloat16", "float16")[k % 3] for k in range(self.n_models + 1)]
        base = _tensor(_values(rng, self.size, 2.0), names[0])
        is_delta = [
            self.stored[1] == "deltas" or (self.stored[1] == "mixed" and k % 2 == 0) for k in range(self.n_models)
        ]
        models = []
        for name, delta in zip(names[1:], is_delta, strict=True):
            change = _values(rng, self.size, 0.5)
            models.append(_tensor(change if delta else base.double().numpy() + change, name))
        out = torch.full((self.size,), 7.0, dtype=getattr(torch, self.out))
        labels = tuple(f"m{k}" for k in range(self.n_models))
        return Buffers("layer.weight", out, base, tuple(models), tuple(is_delta), labels, self.row_length)


def _values(rng: np.random.Generator, n: int, scale: float) -> NDArray[np.float64]:
    grid = np.round(rng.uniform(-scale, scale, n) * 8.0) / 8.0
    return np.where(rng.random(n) < 0.5, grid, scale * rng.standard_normal(n) / 2.0)


def _tensor(values: NDArray[np.float64], dtype: str) -> torch.Tensor:
    return torch.from_numpy(values).to(getattr(torch, dtype))


def vectors(kind: Vectors, buffers: Buffers) -> NDArray[np.float32]:
    """``v_k``, shape (K', n)."""
    assert buffers.base is not None
    base, found = buffers.base.float(), []
    for stored, is_delta in zip(buffers.models, buffers.is_delta, strict=True):
        value = stored.float()
        shift = 0.0 if is_delta == (kind == "deltas") else base if is_delta else -base
        found.append((value + shift).numpy())
    return np.array(found, np.float32)


def _keep(kind: str, rng: np.random.Generator, v: NDArray[np.float32], n_rows: int) -> Keep:
    n_models, n = v.shape
    if kind == "all":
        return KeepAll()
    if kind.startswith(("above", "band")):
        return _magnitudes(kind, rng, n_rows, n_models)
    if kind == "random":
        bounds = np.array([1 << 31, 1 << 32, 3 << 30, 0], np.int64)
        return KeepRandom(bounds[np.arange(n_models) % 4], seed=5)
    if kind.startswith("ranked"):
        ranks = tuple(torch.from_numpy(rng.integers(0, 1 << 16, n).astype(np.uint16)) for _ in range(n_models))
        low = rng.uniform(0.1, 0.4, (n_models,)).astype(np.float32)
        return KeepRanked(low, low + np.float32(0.5), ranks, seed=6, rescale=kind == "ranked_rescaled")
    if kind == "importance":
        return KeepImportance(
            rng.uniform(0.5, 2.0, (n_rows, n_models)).astype(np.float32), np.full(n_models, 0.25, np.float32)
        )
    if kind == "clip":
        return Clip(np.linspace(0.25, 0.5, n_models, dtype=np.float32))
    if kind == "mask":
        return KeepMask(torch.from_numpy(rng.random((n_models, n)) < 0.6))
    # an element's own variance, so that equality occurs
    threshold = float(np.sort(variances(v))[n // 2])
    return KeepVariance(threshold, 1 << 31 if kind == "variance_tie" else None)


def _magnitudes(kind: str, rng: np.random.Generator, n_rows: int, n_models: int) -> KeepMagnitude:
    shape = (n_rows, n_models)
    keep = KeepMagnitude(rng.choice([0.0, 0.125, 0.25], shape).astype(np.float32))
    if kind.endswith("tie"):
        keep = replace(keep, low_tie=rng.integers(0, 1 << 32, shape).astype(np.uint32))
    if kind.startswith("band"):
        keep = replace(keep, high=rng.choice([0.375, 0.5], shape).astype(np.float32))
    if kind == "band_tie":
        keep = replace(keep, high_tie=rng.integers(0, 1 << 32, shape).astype(np.uint32))
    return keep


def variances(v: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over the models, in the order that plan.py defines, shape (n,)."""
    n = np.float32(len(v))
    v = v - v[0]
    mean = reduce(np.add, list(v)) / n
    squares = [(x - mean) * (x - mean) for x in v]
    found: NDArray[np.float32] = reduce(np.add, squares) / n
    return found


def merged(
    execute: Execute, plan: TensorPlan, buffers: Buffers, start: int = 0, stop: int | None = None
) -> torch.Tensor:
    """What a backend makes of a stretch; everything else stays 7."""
    out = torch.full_like(buffers.out, 7.0)
    execute(plan, replace(buffers, out=out), start, out.numel() if stop is None else stop)
    return out


def assert_same_bits(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal down to the sign of zero; any NaN equals any other."""
    assert found.dtype == expected.dtype
    kind = INT[found.dtype]
    differs = (found.view(kind) != expected.view(kind)) & ~(found.isnan() & expected.isnan())
    first = differs.nonzero().flatten()[:3].tolist()
    assert not first, f"elements {first}: {found[first].tolist()} instead of {expected[first].tolist()}"
