"""Where merged weights are computed, in which type they are stored, and whether they are numbers at all."""

from __future__ import annotations

import torch

from searcher.errors import ConfigError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Storage types by name."""


def device_of(name: str, *, where: str = "pool.device") -> str:
    """A torch device that works here.

    Args:
        name: ``auto`` (cuda if present, else cpu) or a torch device.
        where: The key or option that named it.

    Raises:
        ConfigError: If the device does not exist or cannot hold a tensor.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise ConfigError(
            f"Device {name!r} cannot be used: {str(error).splitlines()[0]}",
            where=where,
            fix="Use auto, cpu, or a CUDA device that torch sees.",
        ) from error
    return name


def dtype_of(widest: str, name: str | None) -> torch.dtype:
    """The type that weights are stored in.

    Args:
        widest: The pool's widest type.
        name: ``float32``, ``bfloat16`` or ``float16``; None takes the pool's widest (float64 becomes float32).

    Raises:
        ConfigError: If weights cannot be stored in it.
    """
    wanted = name or ("float32" if widest == "float64" else widest)
    if wanted not in DTYPES:
        raise ConfigError(
            f"Storage type {wanted!r} is not supported.", where="pool.dtype", fix=f"Use one of: {', '.join(DTYPES)}."
        )
    return DTYPES[wanted]


def is_finite(weights: torch.Tensor) -> bool:
    """Whether no weight is NaN or infinite; one pass without a copy.

    Args:
        weights: Any shape, at least one element.
    """
    low, high = torch.aminmax(weights)  # NaN propagates to both
    return bool(low.isfinite() and high.isfinite())
