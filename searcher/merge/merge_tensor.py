"""Merge one tensor in memory, without a pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from searcher.merge.backend import COMPILED_FROM, Backend, make_backend
from searcher.merge.facts import NoTables, TensorFacts
from searcher.merge.kernels.buffers import Buffers
from searcher.merge.plan import TensorPlan, WholeTensor

if TYPE_CHECKING:
    from searcher.merge.operators.base import Operator


@torch.no_grad()
def merge_tensor(
    operator: Operator,
    coefficients: Sequence[float],
    models: Sequence[torch.Tensor],
    *,
    base: torch.Tensor | None = None,
    name: str = "",
    names: Sequence[str] | None = None,
    dtype: torch.dtype | None = None,
    block: tuple[int, int] | None = None,
) -> torch.Tensor:
    """The merge of one tensor of several models; the same numbers as an engine with these models gives.

    Args:
        operator: From ``make_operator``.
        coefficients: One per model.
        models: Weights of each model, all of one shape, any float type and layout.
        base: Weights of the base, in that shape, for operators that need one.
        name: Name of the tensor; random masks depend on it.
        names: Names of the models, on which random masks depend too; ``"0"``, ``"1"`` ... by default.
        dtype: Type of the result; the base's, or the first model's, by default.
        block: The tensor's block and the number of blocks, for depth scaling.

    Returns:
        A new tensor in the models' shape.

    Raises:
        ValueError: If shapes or numbers of models and coefficients disagree, or a base is missing.
        CandidateError: If the operator is undefined for the coefficients.
    """
    _check(operator, coefficients, models, base)
    shape, n = models[0].shape, len(models)
    flat = [_flat(model) for model in models]
    flat_base = None if base is None else _flat(base)
    stored = dtype or (models[0] if base is None else base).dtype
    out = torch.empty(flat[0].numel(), dtype=_narrow(stored), device=flat[0].device)
    labels = tuple(str(k) for k in range(n)) if names is None else tuple(names)
    facts = TensorFacts(
        name, tuple(shape), labels, (False,) * n, base is not None,
        lambda k: flat[k] if k >= 0 or flat_base is None else flat_base, NoTables(), *(block or (None, 0)),
    )  # fmt: skip
    plan = scaled_plan(operator, operator.plan(tuple(float(c) for c in coefficients), facts), facts)
    run(plan, facts, out)
    return out.view(shape).to(stored)


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """One dimension, at most 32 bits: arithmetic is float32 anyway."""
    return tensor.reshape(-1).contiguous().to(_narrow(tensor.dtype))


def _narrow(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype == torch.float64 else dtype


def scaled_plan(operator: Operator, plan: TensorPlan | WholeTensor, facts: TensorFacts) -> TensorPlan | WholeTensor:
    """The plan with the operator's depth scaling of the merged change of the base.

    Raises:
        ValueError: If depth is to be scaled but there is no base.
    """
    scale = operator.lines_scale(facts.block, facts.n_blocks)
    if scale == 1.0:
        return plan
    if not facts.has_base:
        raise ValueError("Expected a base for lines_alpha and lines_beta, which scale changes of it, but got none.")
    if isinstance(plan, WholeTensor):
        return WholeTensor(partial(_with_scaled_change, plan.function, scale))
    origin = np.zeros(plan.n_rows) if plan.origin is None else plan.origin
    kept = plan.vectors == "deltas" and bool(np.all(origin == 1.0))  # what is added to the base is scaled, not the base
    return replace(plan, factor=plan.factor * scale, origin=origin if kept else (1.0 - scale) + scale * origin)


def _with_scaled_change(
    function: Callable[[torch.Tensor | None, list[torch.Tensor]], torch.Tensor],
    scale: float,
    base: torch.Tensor | None,
    models: list[torch.Tensor],
) -> torch.Tensor:
    assert base is not None  # checked before
    return base + scale * (function(base, models) - base)


def run(plan: TensorPlan | WholeTensor, facts: TensorFacts, out: torch.Tensor) -> None:
    """Execute a plan over a whole tensor; ``out`` has shape ``(size,)``."""
    if isinstance(plan, WholeTensor):
        out.copy_(whole(plan, facts))
        return
    base = facts.read(-1) if facts.has_base else None
    buffers = Buffers(
        facts.name, out, base, tuple(facts.read(k) for k in plan.used), tuple(facts.is_delta[k] for k in plan.used),
        tuple(facts.models[k] for k in plan.used), max(1, facts.size // plan.n_rows),
    )  # fmt: skip
    backend = _backend(out.device.type, facts.size >= COMPILED_FROM)
    backend.submit([(plan, buffers, 0, facts.size)])
    backend.wait()


@lru_cache(maxsize=4)
def _backend(device: str, is_large: bool) -> Backend:
    """The backend for tensors of a device, with its threads."""
    return make_backend("auto", device, COMPILED_FROM if is_large else 0)


def whole(plan: WholeTensor, facts: TensorFacts) -> torch.Tensor:
    """The result of a function of whole tensors, shape ``(size,)``."""
    base = facts.base().view(facts.shape) if facts.has_base else None
    models = [facts.weights(k).view(facts.shape) for k in range(len(facts.models))]
    return plan.function(base, models).reshape(-1)


def _check(
    operator: Operator, coefficients: Sequence[float], models: Sequence[torch.Tensor], base: torch.Tensor | None
) -> None:
    low, high = operator.n_models
    if len(models) < low or (high is not None and len(models) > high):
        raise ValueError(f"Expected {low} to {high or 'any number of'} models, but got {len(models)}.")
    if len(coefficients) != len(models):
        raise ValueError(f"Expected one coefficient per model, {len(models)} of them, but got {len(coefficients)}.")
    shapes = {tuple(t.shape) for t in [*models, *([] if base is None else [base])]}
    if len(shapes) > 1:
        raise ValueError(f"Expected tensors of one shape, but got {sorted(shapes)}.")
    if base is None and (operator.needs_base or (operator.interpolates and len(models) == 1)):
        raise ValueError("Expected a base for this operator, but got none.")
