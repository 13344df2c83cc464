"""What a backend reads and writes for one tensor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

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
    def dtypes(self) -> tuple[str, ...]:
        """Storage types of the result, the base (empty without one) and the models, in torch's spelling."""
        tensors = (self.out, self.base, *self.models)
        return tuple("" if t is None else str(t.dtype).removeprefix("torch.") for t in tensors)

    @cached_property
    def addresses(self) -> tuple[int, ...]:
        """Where the result, the base (0 without one) and the models begin in memory."""
        tensors = (self.out, self.base, *self.models)
        assert all(t is None or t.is_contiguous() for t in tensors)  # kernels count elements, not strides
        return tuple(0 if t is None else t.data_ptr() for t in tensors)
