"""The functions that generated GPU kernels call, compiled into them by Triton.

They do what their namesakes in ``cpu_functions`` do. Two are written in integers on purpose: bfloat16 arrives as the
uint16 that holds its bits and is rounded here, because a cast truncates in Triton's interpreter, where these
kernels are tested. Division is the exactly rounded one; Triton's ``/`` is not.
"""

# Triton gives the arguments their types; the file is only imported by generated code
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, D103

import triton
import triton.language as tl

from searcher.merge import counter_hash

ZERO, ONE = tl.constexpr(0.0), tl.constexpr(1.0)
GOLDEN, HIGH, SHARED = (tl.constexpr(c) for c in (counter_hash.GOLDEN, counter_hash.HIGH, counter_hash.SHARED))
RANK_UNIT = tl.constexpr(float.fromhex("0x1.0001p-16"))  # float32(1 / 65535)


@triton.jit
def FLOAT(x):
    """A number; Python's own are float32 here."""
    return x


@triton.jit
def scalar_float(row, j):
    """Entry j of a row of the table, which holds the bits."""
    return tl.load(row + j).to(tl.float32, bitcast=True)


@triton.jit
def scalar_whole(row, j):
    return tl.load(row + j)


@triton.jit
def key_of_row(key, first):
    """The key with which ``shared_hash(i)`` is that of element ``first + i``."""
    return key + first.to(tl.uint32) * GOLDEN


@triton.jit
def shared_hash(index, key):
    x = index.to(tl.uint32) * GOLDEN + key
    return (x ^ (x >> 16)) * SHARED


@triton.jit
def finish_hash(shared, offset, multiplier):
    y = shared + offset
    return (y ^ (y >> 16)) * multiplier


@triton.jit
def at_most(left, right):
    return left <= right


@triton.jit
def above(left, right):
    return left > right


@triton.jit
def sign_bits(x):
    """The sign bit alone."""
    return x.to(tl.uint32, bitcast=True) & 0x80000000


@triton.jit
def flip(x, sign):
    """Negate where the sign bit is set."""
    return (x.to(tl.uint32, bitcast=True) ^ sign).to(tl.float32, bitcast=True)


@triton.jit
def uniform(bits):
    """The upper 24 bits as a float32 in [0, 1)."""
    return (bits >> 8).to(tl.float32) * 5.9604644775390625e-08  # 2^-24


@triton.jit
def where(condition, yes, no):
    return tl.where(condition, yes, no)


@triton.jit
def absolute(x):
    return tl.abs(x)


@triton.jit
def divide(x, y):
    return tl.div_rn(x, y)


@triton.jit
def load_bfloat16(array, i, inside):
    bits = tl.load(array + i, mask=inside, other=0)
    return (bits.to(tl.uint32) << 16).to(tl.float32, bitcast=True)


@triton.jit
def load_float16(array, i, inside):
    return tl.load(array + i, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def load_float32(array, i, inside):
    return tl.load(array + i, mask=inside, other=0.0)


@triton.jit
def load_rank(array, i, inside):
    return tl.load(array + i, mask=inside, other=0).to(tl.float32) * RANK_UNIT


@triton.jit
def load_mask(array, i, inside):
    return tl.load(array + i, mask=inside, other=0) != 0


@triton.jit
def store_bfloat16(array, i, value, inside):
    """Round to nearest, ties to even; NaN stays NaN."""
    u = value.to(tl.uint32, bitcast=True)
    rounded = (u + (0x7FFF + ((u >> 16) & 1))) >> 16
    is_nan = (u & 0x7FFFFFFF) > 0x7F800000
    tl.store(array + i, tl.where(is_nan, 0x7FC0, rounded).to(tl.uint16), mask=inside)


@triton.jit
def store_float16(array, i, value, inside):
    tl.store(array + i, value.to(tl.float16), mask=inside)


@triton.jit
def store_float32(array, i, value, inside):
    tl.store(array + i, value, mask=inside)
