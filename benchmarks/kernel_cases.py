"""Two plans over one tensor, and other ways to execute them: functions for `torch.compile`, one numba loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np
import torch

from searcher.merge.kernels.buffers import Buffers
from searcher.merge.plan import KeepMagnitude, TensorPlan

Tensors = Sequence[torch.Tensor]

K = 4  # models
SCALES = np.linspace(0.2, 0.5, K)
LOWS = np.full((1, K), 0.00207, np.float32)  # keeps about 30 % of changes that are N(0, 0.002)
TIES_KEEP = KeepMagnitude(LOWS, np.full((1, K), 1 << 31, np.uint32))
SUMMED = TensorPlan("deltas", tuple(range(K)), SCALES[None], np.ones(1), np.ones(1))
PLANS = {
    "task_arithmetic": SUMMED,
    "ties": replace(SUMMED, keep=TIES_KEEP, vote="weighted", average="agreeing", weights=SCALES),
}


def make_buffers(n: int) -> Buffers:
    """N(0, 0.02) weights and N(0, 0.002) changes."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(n, generator=generator) * 0.02
    models = [(base + torch.randn(n, generator=generator) * 0.002).bfloat16() for _ in range(K)]
    names = tuple(f"model{k}" for k in range(K))
    return Buffers("weight", torch.empty_like(models[0]), base.bfloat16(), tuple(models), (False,) * K, names, n)


def task_arithmetic(
    out: torch.Tensor, base: torch.Tensor, models: Tensors, scales: torch.Tensor, lows: torch.Tensor
) -> None:
    """``base + sum_k scales_k * (model_k - base)``; ``lows`` is not looked at."""
    b = base.float()
    out.copy_(reduce(add, [(m.float() - b) * scales[k] for k, m in enumerate(models)]) + b)


def ties(out: torch.Tensor, base: torch.Tensor, models: Tensors, scales: torch.Tensor, lows: torch.Tensor) -> None:
    """TIES with a magnitude above ``lows_k`` kept, a weighted vote, and the weighted average of those that agree."""
    b = base.float()
    changes = [m.float() - b for m in models]
    scaled = [torch.where(v.abs() > lows[k], v, 0.0) * scales[k] for k, v in enumerate(changes)]
    sign = torch.where(reduce(add, scaled) >= 0.0, 1.0, -1.0)
    turned = [s * sign for s in scaled]
    total = reduce(add, [torch.where(t > 0.0, t, 0.0) for t in turned])
    divisor = reduce(add, [torch.where(t > 0.0, scales[k].abs(), 0.0) for k, t in enumerate(turned)])
    out.copy_(total / torch.where(divisor == 0.0, 1.0, divisor) * sign + b)


PLAIN: dict[str, Callable[..., None]] = {"task_arithmetic": task_arithmetic, "ties": ties}


def any_number(buffers: Buffers) -> Callable[[int, int], None]:
    """Task arithmetic of bfloat16 weights with the number of models in a variable; merges ``start ... stop``."""
    import numba

    @numba.njit(nogil=True, error_model="numpy")
    def merge(out, base, models, scales, start, stop):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        for i in range(start, stop):
            b = np.uint32(np.uint32(base[i]) << 16).view(np.float32)
            total = np.float32(0.0)
            for k in range(models.shape[0]):
                total += (np.uint32(np.uint32(models[k, i]) << 16).view(np.float32) - b) * scales[k]
            bits = np.float32(total + b).view(np.uint32)
            out[i] = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # to nearest, ties to even

    assert buffers.base is not None
    stacked, scales = torch.stack(buffers.models), SCALES.astype(np.float32)
    out, base, models = (t.view(torch.uint16).numpy() for t in (buffers.out, buffers.base, stacked))
    return lambda start, stop: merge(out, base, models, scales, start, stop)
