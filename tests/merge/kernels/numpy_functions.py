"""The functions that generated kernel text calls, in numpy over whole arrays, and a backend made of them.

It runs the text without a compiler, so that every combination of slots can be compared with the reference.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from searcher.merge.counter_hash import GOLDEN, SHARED, TIES, tensor_key
from searcher.merge.kernels.buffers import Buffers
from searcher.merge.kernels.source import KernelText
from searcher.merge.kernels.spec import kernel_spec, scalars
from searcher.merge.plan import KeepMask, KeepRandom, KeepRanked, TensorPlan

SIGN = np.uint32(0x80000000)


def execute(plan: TensorPlan, buffers: Buffers, start: int, stop: int) -> None:
    """As ``reference.execute``; elements below 2^32."""
    spec = kernel_spec(plan, buffers)
    text = KernelText(spec)
    floats, whole = scalars(plan, spec, buffers.names)
    seed = plan.keep.seed if isinstance(plan.keep, KeepRandom | KeepRanked) else TIES[1]
    arrays = dict(zip(text.arrays, _arrays(plan, buffers, bool(spec.dtypes[1])), strict=True))
    program = compile("\n".join([*text.prelude, *text.body]), "kernel text", "exec")
    while start < stop:
        row = start // buffers.row_length
        end = min(stop, (row + 1) * buffers.row_length)
        names: dict[str, Any] = FUNCTIONS | {name: array[start:end] for name, array in arrays.items()}
        key = np.uint32(tensor_key(buffers.tensor, seed)) + np.array([start], np.uint32) * np.uint32(GOLDEN)
        names |= {"floats": floats, "whole": whole, "row": row, "key": key, "i": np.arange(end - start)}
        with np.errstate(all="ignore"):
            exec(program, names)  # noqa: S102
        assert names["value"].dtype == np.float32
        buffers.out[start:end] = torch.from_numpy(names["value"])
        start = end


def _arrays(plan: TensorPlan, buffers: Buffers, reads_base: bool) -> list[torch.Tensor]:
    extra: list[torch.Tensor] = []
    if isinstance(plan.keep, KeepRanked):
        extra = list(plan.keep.ranks)
    elif isinstance(plan.keep, KeepMask):
        extra = list(plan.keep.mask)
    base = [buffers.base] if reads_base and buffers.base is not None else []
    return [buffers.out, *base, *buffers.models, *extra]


def _load(array: torch.Tensor, i: Any) -> Any:
    return array[torch.from_numpy(i)].float().numpy()


def _load_rank(array: torch.Tensor, i: Any) -> Any:
    return array.numpy()[i].astype(np.float32) * np.float32(1.0 / 65535.0)


def _shared_hash(i: Any, key: Any) -> Any:
    x = i.astype(np.uint32) * np.uint32(GOLDEN) + key
    return (x ^ (x >> np.uint32(16))) * np.uint32(SHARED)


def _finish_hash(shared: Any, offset: Any, multiplier: Any) -> Any:
    y = shared + offset
    return (y ^ (y >> np.uint32(16))) * multiplier


def _uniform(bits: Any) -> Any:
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


FUNCTIONS: dict[str, Any] = {
    "FLOAT": np.float32,
    "ZERO": np.float32(0.0),
    "ONE": np.float32(1.0),
    "where": np.where,
    "absolute": np.abs,
    "divide": np.divide,
    "at_most": np.less_equal,
    "above": np.greater,
    "sign_bits": lambda x: x.view(np.uint32) & SIGN,
    "flip": lambda x, sign: (x.view(np.uint32) ^ sign).view(np.float32),
    "shared_hash": _shared_hash,
    "finish_hash": _finish_hash,
    "uniform": _uniform,
    "load_bfloat16": _load,
    "load_float16": _load,
    "load_float32": _load,
    "load_mask": lambda array, i: array.numpy()[i],
    "load_rank": _load_rank,
}
