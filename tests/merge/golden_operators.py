"""The golden merges of ``tests/golden/make_mergekit_operators_golden.py``, case by case and tensor by tensor."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from typing_extensions import override

FOLDER = Path(__file__).parents[1] / "golden"
NAME = "mergekit_operators_0_1_5"
RECORD: dict[str, Any] = json.loads((FOLDER / f"{NAME}.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class GoldenCase:
    """One merge method with its settings on one pool.

    Args:
        record: The case as the script stored it.
        pool: Name of the pool.
    """

    record: dict[str, Any]
    pool: str

    @override
    def __str__(self) -> str:
        return f"{self.method}/{self.record['label']}/{self.pool}"

    @property
    def method(self) -> str:
        """Name of the operator."""
        return str(self.record["method"])

    @property
    def coefficients(self) -> tuple[float, ...]:
        """One per model."""
        return tuple(self.record["coefficients"])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models; masks depend on them."""
        return tuple(self.record["models"])

    def tensors(self) -> tuple[str, ...]:
        """Names of the tensors that mergekit merges."""
        refused = self._notes("refused")
        return tuple(name for name in RECORD["shapes"] if name not in refused)

    def settings(self, tensor: str) -> dict[str, Any]:
        """Settings for one tensor."""
        settings: dict[str, Any] = self.record["settings"] | dict(self._notes("by_tensor")).get(tensor, {})
        return settings

    def sources(self, tensor: str) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """The base, if it takes part, and the models, in the pool's type."""
        base, *models = (_tensor(f"source/{self.pool}/{name}", tensor) for name in ("base", *self.names))
        return (base if self.record["base"] else None), models

    def results(self, tensor: str) -> tuple[torch.Tensor, ...]:
        """What mergekit made of it in float32 and, where that hangs on rounding, also in float64; as float32."""
        kinds = ("output", "float64") if tensor in self._notes("float32_error") else ("output",)
        return tuple(_tensor(f"{kind}/{self}", tensor) for kind in kinds)

    def _notes(self, key: str) -> Any:
        return self.record["pools"][self.pool].get(key, ())


def golden_cases() -> Iterator[GoldenCase]:
    """Every case on each of its pools."""
    return (GoldenCase(record, pool) for record in RECORD["cases"] for pool in record["pools"])


@cache
def stored() -> dict[str, torch.Tensor]:
    """Every source and result, all tensors on one line."""
    tensors: dict[str, torch.Tensor] = load_file(FOLDER / f"{NAME}.safetensors")
    return tensors


def _tensor(line: str, tensor: str) -> torch.Tensor:
    """A copy of the part of a line that is one tensor."""
    shapes: dict[str, list[int]] = RECORD["shapes"]
    start = sum(math.prod(shapes[name]) for name in list(shapes)[: list(shapes).index(tensor)])
    return stored()[line][start : start + math.prod(shapes[tensor])].reshape(shapes[tensor]).clone()
