"""What a backend reads and writes for one tensor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Buffers:
    """One tensor of the models that take part, of the base, and of the result; all flat, on one device.

    Args:
        tensor: Name of the tensor, which seeds its hashes.
        out: Where the result goes, storage type, shape ``(n,)``.
        base: Base weights, any float type, shape ``(n,)``, or None.
        models: What is stored for each model that takes part, any float type, shape ``(n,)`` each.
        is_delta: Per model, True if ``models`` holds its task vector.
        names: Their names, which seed their hashes.
        row_length: Elements per row of the plan's scalars; ``n`` for one row.
    """

    tensor: str
    out: torch.Tensor
    base: torch.Tensor | None
    models: tuple[torch.Tensor, ...]
    is_delta: tuple[bool, ...]
    names: tuple[str, ...]
    row_length: int

    @cached_property
    def arrays(self) -> tuple[Any, ...]:
        """Result, base (or None) and models as numpy arrays of the integers that hold their bits."""
        return tuple(None if t is None else _bits(t) for t in (self.out, self.base, *self.models))


def _bits(tensor: torch.Tensor) -> Any:  # noqa: ANN401 - uint16, int16 or float32
    """The same memory: bfloat16 as uint16, float16 as int16."""
    import torch

    kind = {torch.bfloat16: torch.uint16, torch.float16: torch.int16}.get(tensor.dtype, tensor.dtype)
    return tensor.view(kind).numpy()
