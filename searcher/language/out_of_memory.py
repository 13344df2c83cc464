"""Telling that memory ran out, and giving back what can be given."""

from __future__ import annotations

import gc

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that host or device memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def release() -> None:
    """Collect garbage, and empty the device's cache so that what remains can be used in one piece."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
