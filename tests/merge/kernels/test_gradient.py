from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from searcher.merge.kernels import reference
from searcher.merge.kernels.buffers import Buffers
from searcher.merge.kernels.gradient import BLOCK_ON_CPU, ScalarGradients, inner_products
from searcher.merge.plan import Average, TensorPlan, Vote
from tests.merge.kernels.cases import AVERAGES, KEEPS, STORED, Case, merged

NAMES = ("scales", "weights", "origin", "factor")
UNWEIGHTED: list[tuple[Average, Vote]] = [a for a in AVERAGES if a[1] != "weighted"]


def gradient_of(case: Case) -> torch.Tensor:
    return torch.randn(case.size, generator=torch.Generator().manual_seed(case.seed))


def kept(plan: TensorPlan, buffers: Buffers) -> list[torch.Tensor]:
    """``m_k``, float64: plain sums with one model at a time."""
    found = []
    for k in range(len(plan.used)):
        one = np.zeros_like(plan.scales)
        one[:, k] = 1.0
        alone = replace(plan, average="sum", vote="none", scales=one, origin=None, factor=np.ones(plan.n_rows))
        found.append(merged(reference.execute, alone, replace(buffers, out=buffers.out.float())).double())
    return found


class Merge:
    """The formulas of plan.py in float64, differentiable; signs and masks are constants."""

    def __init__(self, plan: TensorPlan, buffers: Buffers) -> None:
        self.plan, self.base = plan, buffers.base
        self.kept = kept(plan, buffers)
        self.row = torch.arange(buffers.out.numel()) // buffers.row_length
        self.scalars = {
            name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
            for name in NAMES
            if (value := getattr(plan, name)) is not None
        }

    def merged(self) -> torch.Tensor:
        out = self.scalars["factor"][self.row] * self.total()
        if "origin" in self.scalars:
            assert self.base is not None
            out = out + self.scalars["origin"][self.row] * self.base.double()
        return out

    def total(self) -> torch.Tensor:
        scales = self.scalars["scales"][self.row]  # (n, K')
        s = torch.stack([scales[:, k] * m for k, m in enumerate(self.kept)])
        weights = self.scalars["weights"][:, None]
        if self.plan.average == "sum":
            return s.sum(0)
        active = torch.stack(self.kept) != 0.0
        number = active.sum(0)
        if self.plan.average == "unique":
            return torch.where(number == 1, (weights * s).sum(0), s.sum(0) / number.clamp_min(1))
        votes = s if self.plan.vote == "weighted" else torch.sign(scales.T) * torch.stack(self.kept)
        sign = torch.sign(votes.sum(0).detach())
        sign[sign == 0.0] = self.plan.zero_sign
        agrees = (s.detach() * sign > 0.0).double()
        numerator = (agrees * s).sum(0)
        if self.plan.average == "agreeing_sum":
            return numerator
        counted = {"agreeing": weights.abs(), "agreeing_signed": weights, "agreeing_count": torch.ones_like(weights)}
        divisor = (agrees * counted[self.plan.average]).sum(0)
        return numerator / torch.where(divisor == 0.0, 1.0, divisor)


def check(case: Case) -> None:
    plan, buffers = case.build()
    gradient = gradient_of(case)
    merge = Merge(plan, buffers)
    torch.autograd.backward((merge.merged() * gradient).sum())
    found = inner_products(plan, buffers, gradient, 0, case.size)
    for name, scalars in merge.scalars.items():
        expected = np.zeros(scalars.shape) if scalars.grad is None else scalars.grad.numpy()
        np.testing.assert_allclose(getattr(found, name), expected, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("average", AVERAGES, ids="-".join)
def test_every_average_against_autograd(average: tuple[Average, Vote]) -> None:
    for j, stored in enumerate(STORED):
        origin = (1.0, None, 0.5)[j % 3]
        check(Case("above_tie", average, 3, "float32", stored=stored, n_rows=1 + j % 2 * 2, origin=origin, factor=0.7))


@pytest.mark.parametrize("keep", KEEPS)
def test_every_keep_against_autograd(keep: str) -> None:
    for j, zero_sign in enumerate((1.0, -1.0)):
        check(Case(keep, AVERAGES[1], 4, "mixed", n_rows=1 + 2 * j, factor=0.7, zero_sign=zero_sign, seed=j))


@pytest.mark.parametrize("average", UNWEIGHTED, ids="-".join)
def test_differences_of_merges(average: tuple[Average, Vote]) -> None:
    case = Case("above", average, 3, "float32", "float32", factor=0.7, origin=0.5)
    plan, buffers = case.build()
    gradient = gradient_of(case)

    def loss(changed: TensorPlan) -> float:
        return float((merged(reference.execute, changed, buffers).double() * gradient).sum())

    found = inner_products(plan, buffers, gradient, 0, case.size)
    for name in NAMES:
        values = getattr(plan, name)
        for index in np.ndindex(values.shape):
            step = np.zeros_like(values)
            step[index] = 1e-3
            high, low = (loss(replace(plan, **{name: values + sign * step})) for sign in (1, -1))
            assert getattr(found, name)[index] == pytest.approx((high - low) / 2e-3, rel=1e-3, abs=2e-3), name


def test_stretches_add_up_and_touch_only_their_rows() -> None:
    case = Case("band_tie", AVERAGES[1], 2, n_rows=4, row_length=50)
    plan, buffers = case.build()
    gradient = gradient_of(case)
    whole = inner_products(plan, buffers, gradient, 0, 200)
    parts = [inner_products(plan, buffers, gradient, a, b) for a, b in ((0, 60), (60, 60), (60, 200))]
    for name in NAMES:
        np.testing.assert_allclose(sum(getattr(p, name) for p in parts), getattr(whole, name), rtol=1e-12, atol=1e-12)
    assert not parts[0].scales[2:].any()
    assert not parts[0].factor[2:].any()
    assert not any(getattr(parts[1], name).any() for name in NAMES)


def test_the_number_of_threads_changes_no_bit() -> None:
    case = Case("random", n_models=2, row_length=5 * BLOCK_ON_CPU + 7)
    plan, buffers = case.build()
    gradient = gradient_of(case)

    def with_threads(n: int) -> ScalarGradients:
        torch.set_num_threads(n)
        return inner_products(plan, buffers, gradient, 3, case.size)

    before = torch.get_num_threads()
    try:
        one, three = with_threads(1), with_threads(3)
    finally:
        torch.set_num_threads(before)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))


def test_sums_are_float64() -> None:
    n = 3 * BLOCK_ON_CPU
    values = torch.ones(n)
    plan = TensorPlan("weights", (0,), np.ones((1, 1)), None, np.ones(1))
    buffers = Buffers("t", values, None, (values,), (False,), ("a",), n)
    gradient = torch.full((n,), 2.0**-30)
    gradient[0] = 1.0  # a float32 sum would lose the others
    assert inner_products(plan, buffers, gradient, 0, n).scales[0, 0] == 1.0 + (n - 1) * 2.0**-30


def test_without_models_only_the_base_counts() -> None:
    case = Case(n_models=2, sources="float32")
    plan, buffers = case.build()
    nothing = replace(plan, used=(), scales=plan.scales[:, :0])
    gradient = gradient_of(case)
    found = inner_products(nothing, buffers, gradient, 0, case.size)
    assert buffers.base is not None
    np.testing.assert_allclose(found.origin, [float(gradient.double() @ buffers.base.double())], rtol=1e-12)
    assert found.scales.shape == (1, 0)
    assert found.factor.tolist() == [0.0]


def test_gradients_may_be_bfloat16_and_nothing_is_written() -> None:
    case = Case("clip", AVERAGES[9], n_models=3, out="bfloat16")
    plan, buffers = case.build()
    gradient = gradient_of(case).bfloat16()
    found = inner_products(plan, buffers, gradient, 0, case.size)
    same = inner_products(plan, buffers, gradient.float(), 0, case.size)
    np.testing.assert_array_equal(found.scales, same.scales)
    assert buffers.out.eq(7.0).all()
