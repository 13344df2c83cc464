"""Short ways for tests to merge a tensor and to see what an operator keeps of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch

from searcher.merge.facts import NoTables, TensorFacts
from searcher.merge.kernels import reference
from searcher.merge.kernels.buffers import Buffers
from searcher.merge.merge_tensor import merge_tensor
from searcher.merge.operators.base import OPERATORS, Operator
from searcher.merge.plan import TensorPlan

NAME = "block.weight"
SETTINGS: dict[str, dict[str, Any]] = {
    "ties": {"density": 0.4},
    "dare_linear": {"density": 0.5},
    "dare_ties": {"density": 0.5},
    "della": {"density": 0.5},
    "della_linear": {"density": 0.5},
    "breadcrumbs": {"density": 0.7, "gamma": 0.1},
    "breadcrumbs_ties": {"density": 0.7, "gamma": 0.1},
    "sce": {"select_topk": 0.5},
    "nuslerp": {"flatten": False},
    "model_stock": {"filter_wise": True},
    "slerp": {"threshold": 1.0},
}
"""Settings with which an operator does what its defaults leave out."""
OURS = sorted(n for n in OPERATORS.names() if OPERATORS.get(n).__module__.startswith("searcher."))


def facts_of(
    base: torch.Tensor | None,
    models: Sequence[torch.Tensor],
    *,
    is_delta: bool = False,
    name: str = NAME,
    names: Sequence[str] | None = None,
) -> TensorFacts:
    """Facts of one tensor; with ``is_delta`` the models are task vectors."""
    labels = tuple(names or map(str, range(len(models))))
    stored = [model.reshape(-1) for model in models]
    origin = torch.empty(0) if base is None else base.reshape(-1)
    return TensorFacts(
        name, tuple(models[0].shape), labels, (is_delta,) * len(models), base is not None,
        lambda k: stored[k] if k >= 0 else origin, NoTables(),
    )  # fmt: skip


def in_stretches(operator: Operator, c: Sequence[float], facts: TensorFacts, cuts: Iterable[int] = ()) -> torch.Tensor:
    """What the reference kernel makes of a plan, executed between the given borders; float32, shape ``(n,)``."""
    plan = operator.plan(tuple(c), facts)
    assert isinstance(plan, TensorPlan)
    out = torch.full((facts.size,), torch.nan)
    buffers = Buffers(
        facts.name, out, facts.read(-1) if facts.has_base else None, tuple(facts.read(k) for k in plan.used),
        tuple(facts.is_delta[k] for k in plan.used), tuple(facts.models[k] for k in plan.used),
        max(1, facts.size // plan.n_rows),
    )  # fmt: skip
    for start, stop in pairwise([0, *sorted(cuts), facts.size]):
        reference.execute(plan, buffers, start, stop)
    return out


def change(
    operator: Operator, c: Sequence[float], *vectors: torch.Tensor, names: Sequence[str] | None = None, name: str = NAME
) -> torch.Tensor:
    """The merged task vector of task vectors around a base of zeros."""
    return merge_tensor(operator, c, vectors, base=torch.zeros_like(vectors[0]), name=name, names=names)


def changes(operator: Operator, c: Sequence[float], *vectors: list[float]) -> list[float]:
    """The same with plain numbers."""
    found: list[float] = change(operator, c, *map(torch.tensor, vectors)).tolist()
    return found


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers, float32, none of them zero."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(values == 0.0, 1.0, values)
