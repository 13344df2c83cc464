"""The reference against the definitions of plan.py, once more and in float64."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from searcher.merge.kernels import reference
from searcher.merge.kernels.buffers import Buffers
from searcher.merge.plan import (
    Average,
    Clip,
    KeepImportance,
    KeepMagnitude,
    KeepMask,
    KeepRandom,
    KeepRanked,
    KeepVariance,
    TensorPlan,
    Vote,
)
from tests.merge.counter_hash_reference import random_words, tensor_key
from tests.merge.kernels.cases import AVERAGES, KEEPS, STORED, Case, assert_same_bits, merged, vectors

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

TAUS = ([0.5, -2.0, 0.0, 1.0], [-0.25, -1.0, 0.0, 3.0], [1.0, 4.0, -1.0, 0.0])


def merge(taus: tuple[list[float], ...] = TAUS, **slots: Any) -> list[float]:
    """Task vectors on a base of tens."""
    n, k = len(taus[0]), len(taus)
    base = torch.arange(10.0, 10.0 * n + 1.0, 10.0)
    slots = {"scales": np.ones((1, k)), "origin": np.ones(1), "factor": np.ones(1), "weights": np.ones(k)} | slots
    plan = TensorPlan("deltas", tuple(range(k)), **slots)
    names = tuple("abcdefgh"[:k])
    buffers = Buffers("t", torch.empty(n), base, tuple(torch.tensor(t) for t in taus), (True,) * k, names, n)
    found: list[float] = merged(reference.execute, plan, buffers).tolist()
    return found


def test_ties_by_hand() -> None:
    # signs + + - +; those who agree: 0.5 and 1, 4, -1, 1 and 3
    assert merge(vote="weighted", average="agreeing") == [10.75, 24.0, 29.0, 42.0]
    c = np.array([1.0, 4.0, 0.5])
    # s = (0.5, -1, 0.5), (-2, -4, 2), (0, 0, -0.5), (1, 12, 0); the first is a tie
    expected = [10.0 + 1.0 / 1.5, 20.0 - 6.0 / 5.0, 29.0, 40.0 + 13.0 / 5.0]
    assert merge(vote="weighted", average="agreeing", scales=c[None], weights=c) == pytest.approx(expected)


def test_ties_divides_by_signed_weights_or_counts_or_not() -> None:
    weights = np.array([1.0, 1.0, -0.5])
    scales = weights[None]
    slots: dict[str, Any] = {"scales": scales, "weights": weights, "vote": "weighted"}
    # s = (0.5, -0.25, -0.5), (-2, -1, -2), (0, 0, 0.5), (1, 3, 0)
    assert merge(average="agreeing_sum", **slots) == [9.25, 15.0, 30.5, 44.0]
    assert merge(average="agreeing_count", **slots) == pytest.approx([9.625, 20.0 - 5.0 / 3.0, 30.5, 42.0])
    assert merge(average="agreeing", **slots) == [9.5, 18.0, 31.0, 42.0]
    assert merge(average="agreeing_signed", **slots) == pytest.approx([10.0 - 0.75 / 0.5, 20.0 - 5.0 / 1.5, 29.0, 42.0])


def test_ram_by_hand() -> None:
    keep = KeepMagnitude(np.full((1, 3), 0.3, np.float32))
    found = merge(keep=keep, average="unique", weights=np.array([2.0, 3.0, 5.0]))
    # alone only in the third
    assert found == pytest.approx([10.75, 20.0 + 1.0 / 3.0, 25.0, 42.0])


def test_variance_by_hand() -> None:
    # variances 0.264, 6.889, 0.222, 1.556
    keep = KeepVariance(0.5)
    assert merge(keep=keep) == [10.0, 21.0, 30.0, 44.0]
    assert merge((TAUS[0], TAUS[0]), keep=KeepVariance(0.0)) == [10.0, 20.0, 30.0, 40.0]


def test_zero_elects_the_sign_that_the_plan_says() -> None:
    slots: dict[str, Any] = {"vote": "weighted", "average": "agreeing_sum"}
    assert merge(([1.0], [-1.0]), **slots) == [11.0]
    assert merge(([1.0], [-1.0]), **slots, zero_sign=-1.0) == [9.0]


def test_rows_have_their_own_scalars() -> None:
    scales = np.array([[1.0, 0.0], [0.5, 2.0]])
    taus = (TAUS[0], TAUS[1])
    n = 2
    base = torch.arange(10.0, 41.0, 10.0)
    plan = TensorPlan("deltas", (0, 1), scales, np.array([1.0, 0.0]), np.array([1.0, 2.0]))
    buffers = Buffers("t", torch.empty(4), base, tuple(torch.tensor(t) for t in taus), (True, True), ("a", "b"), n)
    assert merged(reference.execute, plan, buffers).tolist() == [10.5, 18.0, 0.0, 13.0]


def test_no_models_give_the_base_or_zero() -> None:
    plan, buffers = Case(sources="float32", out="float32").build()
    nothing = replace(plan, used=(), scales=plan.scales[:, :0])
    assert buffers.base is not None
    assert_same_bits(merged(reference.execute, nothing, buffers), buffers.base)
    assert merged(reference.execute, replace(nothing, origin=None), buffers).eq(0.0).all()


def test_how_a_tensor_is_cut_changes_no_bit() -> None:
    case = Case("variance_tie", AVERAGES[2], 3, row_length=2 * reference.CHUNK_ON_CPU + 11)
    plan, buffers = case.build()
    cuts = [0, 7, 40_000, case.size]
    parts = [merged(reference.execute, plan, buffers, a, b)[a:b] for a, b in itertools.pairwise(cuts)]
    assert_same_bits(torch.cat(parts), merged(reference.execute, plan, buffers))


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("average", AVERAGES, ids="-".join)
def test_every_keep_and_average_in_float64(keep: str, average: tuple[Average, Vote]) -> None:
    stored = STORED[(KEEPS.index(keep) + AVERAGES.index(average)) % 5]
    for n_rows, zero_sign in ((1, 1.0), (3, -1.0)):
        case = Case(keep, average, 3, "float32", "float32", stored, n_rows, 128, 0.5, 0.75, zero_sign, seed=n_rows)
        plan, buffers = case.build()
        expected, is_clear = recomputed(plan, buffers)
        found = merged(reference.execute, plan, buffers).numpy()
        assert is_clear.mean() > 0.9
        np.testing.assert_allclose(found[is_clear], expected[is_clear], rtol=1e-5, atol=1e-5)


def recomputed(plan: TensorPlan, buffers: Buffers) -> tuple[Doubles, Mask]:
    """The merge, and where no decision hangs on a rounding error."""
    row = np.arange(buffers.out.numel()) // buffers.row_length
    v = vectors(plan.vectors, buffers)
    m, is_clear = kept(plan, buffers, v, row)
    s = plan.scales[row].T * m
    weights = plan.weights[:, None] * np.ones_like(m)
    if plan.average == "sum":
        total = s.sum(0)
    elif plan.average == "unique":
        number = (m != 0.0).sum(0)
        total = np.where(number == 1, (weights * s).sum(0), s.sum(0) / np.maximum(number, 1))
    else:
        vote = (s if plan.vote == "weighted" else np.sign(plan.scales[row].T) * m).sum(0)
        is_clear = np.logical_and(is_clear, (np.abs(vote) > 1e-6) | (np.abs(s).max(0) == 0.0))
        agrees = s * np.where(vote == 0.0, plan.zero_sign, np.sign(vote)) > 0.0
        divisors = {"agreeing": np.abs(weights), "agreeing_signed": weights, "agreeing_count": np.ones_like(m)}
        divisor = (agrees * divisors.get(plan.average, 0.0 * m)).sum(0)
        total = (agrees * s).sum(0) / np.where(divisor == 0.0, 1.0, divisor)
    out = plan.factor[row] * total
    if plan.origin is not None:
        assert buffers.base is not None
        out = out + plan.origin[row] * buffers.base.double().numpy()
    return out, is_clear


def kept(plan: TensorPlan, buffers: Buffers, v: NDArray[np.float32], row: NDArray[np.int64]) -> tuple[Doubles, Mask]:
    """``m_k``, shape (K', n)."""
    keep, exact, n = plan.keep, v.astype(np.float64), v.shape[1]
    clear: Mask = np.ones(n, np.bool_)
    words = [random_words(buffers.tensor, name, np.arange(n, dtype=np.uint64), _seed(plan)) for name in buffers.names]
    if isinstance(keep, KeepMagnitude):
        return np.where(_between(keep, buffers.tensor, exact, row), exact, 0.0), clear
    if isinstance(keep, KeepRandom):
        return np.where(np.array(words).astype(np.int64) < keep.bounds[:, None], exact, 0.0), clear
    if isinstance(keep, KeepRanked):
        share = np.array([r.numpy() for r in keep.ranks]) / 65535.0
        p = keep.low[:, None] + share * (keep.high - keep.low)[:, None].astype(np.float64)
        uniform = (np.array(words) >> np.uint32(8)) / 2.0**24
        clear = np.asarray((np.abs(uniform - p) > 1e-6).all(0))
        return np.where(uniform < p, exact / p if keep.rescale else exact, 0.0), clear
    if isinstance(keep, KeepImportance):
        importance = np.abs(exact) * keep.row_factor[row].T
        clear = np.asarray((np.abs(importance - keep.threshold[:, None]) > 1e-6).all(0))
        return np.where(importance >= keep.threshold[:, None], exact, 0.0), clear
    if isinstance(keep, Clip):
        limit = keep.limit[:, None]
        return np.clip(exact, -limit, limit), clear
    if isinstance(keep, KeepMask):
        return np.where(keep.mask.numpy(), exact, 0.0), clear
    if isinstance(keep, KeepVariance):
        variance = exact.var(axis=0)
        return np.where(variance > keep.threshold, exact, 0.0), np.abs(variance - keep.threshold) > 1e-6
    return exact, clear


def _seed(plan: TensorPlan) -> int:
    return plan.keep.seed if isinstance(plan.keep, KeepRandom | KeepRanked) else 0


def _between(keep: KeepMagnitude, tensor: str, v: Doubles, row: NDArray[np.int64]) -> Mask:
    i = np.arange(v.shape[1]).astype(np.uint32)
    x = i * np.uint32(0x9E3779B9) + np.uint32(tensor_key(tensor, 0))
    tie = (x ^ (x >> np.uint32(16))) * np.uint32(0x21F0AAAD)
    magnitude, low = np.abs(v), keep.low[row].T
    mask = magnitude > low
    if keep.low_tie is not None:
        mask |= (magnitude == low) & (tie <= keep.low_tie[row].T)
    if keep.high is not None:
        high = keep.high[row].T
        below = magnitude < high
        if keep.high_tie is not None:
            below |= (magnitude == high) & (tie > keep.high_tie[row].T)
        mask &= below
    return mask
