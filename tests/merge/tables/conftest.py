"""Values like those of task vectors, and what a cut keeps of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from searcher.merge.tables.magnitudes import Cut
from searcher.merge.tables.sorting import tie_hashes


def bf16_deltas(rng: np.random.Generator, size: int, scale: float) -> torch.Tensor:
    """Change of weights stored in 16 bits: few distinct magnitudes, many zeros."""
    base = torch.from_numpy(rng.standard_normal(size, np.float32) * np.float32(0.02)).bfloat16().float()
    change = torch.from_numpy(rng.standard_normal(size, np.float32) * np.float32(scale))
    return (base + change).bfloat16().float() - base


def make_values(kind: str, size: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng([size, seed, *kind.encode()])
    if kind.startswith("bf16"):
        return bf16_deltas(rng, size, float(kind.split()[1]))
    makers: dict[str, Callable[[], NDArray[np.generic]]] = {
        "gaussian": lambda: 1e-3 * rng.standard_normal(size),
        "laplace": lambda: rng.laplace(size=size),
        "student": lambda: rng.standard_t(2, size=size),
        "uniform": lambda: rng.uniform(-1.0, 1.0, size),
        "few": lambda: rng.integers(-3, 4, size),
        "lattice": lambda: rng.integers(1, 2001, size),
        "sparse": lambda: rng.standard_normal(size) * (rng.random(size) < 0.02),
        "constant": lambda: np.full(size, -0.5),
        "zeros": lambda: np.zeros(size),
    }
    return torch.from_numpy(makers[kind]().astype(np.float32))


def kept_mask(values: torch.Tensor, cut: Cut, name: str) -> NDArray[np.bool_]:
    """Which elements a cut keeps, from the definition."""
    magnitudes = values.abs().numpy()
    low = np.float32(cut.low)
    assert float(low) == cut.low  # a float32
    hashes = tie_hashes(name, torch.arange(values.numel())).numpy()
    mask: NDArray[np.bool_] = (magnitudes > low) | ((magnitudes == low) & (hashes <= cut.last_tie))
    return mask


@contextmanager
def torch_threads(n: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def values_of() -> Callable[..., torch.Tensor]:
    """The function :func:`make_values`; fixtures because test folders are not packages."""
    return make_values


@pytest.fixture(scope="session")
def kept() -> Callable[[torch.Tensor, Cut, str], NDArray[np.bool_]]:
    """The function :func:`kept_mask`."""
    return kept_mask


@pytest.fixture(scope="session")
def threads() -> Callable[[int], object]:
    """The context manager :func:`torch_threads`."""
    return torch_threads
