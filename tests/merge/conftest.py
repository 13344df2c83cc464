"""Pools in memory: everything the engine asks of a pool, without files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

import pytest
import torch

from searcher.pool.layout import Layout, TensorEntry

if TYPE_CHECKING:
    from searcher.pool.pool import Pool


class TinyNet(torch.nn.Module):
    """Tied weights, floating and integer buffers, and a buffer that no file stores."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(6, 4)
        self.inner = torch.nn.Linear(4, 5)
        self.norm = torch.nn.BatchNorm1d(5)
        self.head = torch.nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("rotary", torch.tensor([1.0, 1e-9]), persistent=False)


@dataclass
class MemorySource:
    """A source whose tensors are in memory; counts the reads."""

    name: str
    tensors: dict[str, torch.Tensor]
    is_delta: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    n_reads: int = 0

    @property
    def kind(self) -> str:
        return "lora" if self.is_delta else "full"

    @property
    def path(self) -> Path:
        return Path(self.name)

    def read(self, tensor: str) -> torch.Tensor:
        self.n_reads += 1
        return self.tensors[tensor]


@dataclass(frozen=True)
class MemoryPool:
    """A base, models and a module."""

    base: MemorySource | None
    models: tuple[MemorySource, ...]
    layout: Layout
    dtype: str
    make_module: Callable[[], torch.nn.Module] = TinyNet

    def load_module(self) -> tuple[torch.nn.Module, None]:
        return self.make_module(), None


Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


def layout_of(shapes: Shapes, tied: Mapping[str, str] | None = None) -> Layout:
    entries, offset = [], 0
    for name, shape in shapes.items():
        size = int(torch.Size(shape).numel())
        entries.append(TensorEntry(name, shape, offset, size, None, "other"))
        offset += size
    return Layout(tuple(entries), tied or {})


def tiny_shapes() -> dict[str, tuple[int, ...]]:
    state = TinyNet().state_dict()
    return {name: tuple(t.shape) for name, t in state.items() if t.is_floating_point() and name != "head.weight"}


def tiny_pool(
    n_models: int = 3,
    dtype: torch.dtype = torch.float32,
    *,
    n_adapters: int = 0,
    has_base: bool = True,
    shapes: Shapes | None = None,
    scale: float = 0.3,
) -> Pool:
    """Random weights around a base; the last ``n_adapters`` models are task vectors."""
    generator = torch.Generator().manual_seed(7)
    used = shapes or tiny_shapes()
    base = {name: torch.randn(shape, generator=generator) for name, shape in used.items()}
    models = []
    for k in range(n_models):
        deltas = {name: scale * torch.randn(shape, generator=generator) for name, shape in used.items()}
        if k >= n_models - n_adapters:
            models.append(MemorySource(f"m{k}", deltas, is_delta=True))
        else:
            models.append(MemorySource(f"m{k}", {name: (base[name] + d).to(dtype) for name, d in deltas.items()}))
    source = MemorySource("base", {name: t.to(dtype) for name, t in base.items()}) if has_base else None
    tied = {"head.weight": "embed.weight"} if shapes is None else {}
    pool = MemoryPool(source, tuple(models), layout_of(used, tied), str(dtype).removeprefix("torch."))
    return cast("Pool", pool)


@pytest.fixture(scope="session")
def make_pool() -> Callable[..., Pool]:
    """The factory :func:`tiny_pool`; a fixture because test folders are not packages."""
    return tiny_pool


@pytest.fixture(scope="session")
def make_source() -> type[MemorySource]:
    """The class :class:`MemorySource`."""
    return MemorySource
