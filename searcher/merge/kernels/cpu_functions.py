"""The functions that generated CPU kernels call, compiled into them by numba.

numba widens 32-bit integers to 64 bits, which halves what one vector instruction does; conversions and hashes are
therefore written in LLVM's 32-bit operations. Storage types arrive as the integers that hold their bits:
bfloat16 as uint16, float16 as int16.
"""

# numba has no types; the file is executed by it and only imported by generated code
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, D103

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from searcher.merge.counter_hash import GOLDEN, SHARED

FLOAT = np.float32
ZERO, ONE = np.float32(0.0), np.float32(1.0)
RANK_UNIT = np.float32(1.0 / 65535.0)
I16, I32, F32 = ir.IntType(16), ir.IntType(32), ir.FloatType()

compiled = njit(nogil=True, error_model="numpy")


def _c(value):
    return ir.Constant(I32, value & 0xFFFFFFFF)


@intrinsic
def _widen_bfloat16(context, bits):
    def code(_, b, __, args):
        return b.bitcast(b.shl(b.zext(args[0], I32), _c(16)), F32)

    return types.float32(types.uint16), code


@intrinsic
def _round_bfloat16(context, value):
    """Round to nearest, ties to even; NaN stays NaN."""

    def code(_, b, __, args):
        u = b.bitcast(args[0], I32)
        odd = b.and_(b.lshr(u, _c(16)), _c(1))
        rounded = b.lshr(b.add(u, b.add(_c(0x7FFF), odd)), _c(16))
        is_nan = b.fcmp_unordered("uno", args[0], args[0])
        return b.trunc(b.select(is_nan, _c(0x7FC0), rounded), I16)

    return types.uint16(types.float32), code


@intrinsic
def _widen_float16(context, bits):
    """By a multiplication with 2^112, which also makes subnormal numbers normal."""

    def code(_, b, __, args):
        h = b.zext(args[0], I32)
        magnitude = b.shl(b.and_(h, _c(0x7FFF)), _c(13))
        scaled = b.bitcast(b.fmul(b.bitcast(magnitude, F32), b.bitcast(_c(0x77800000), F32)), I32)
        special = b.or_(magnitude, _c(0x7F800000))
        is_special = b.icmp_unsigned(">=", magnitude, _c(0x0F800000))
        sign = b.shl(b.and_(h, _c(0x8000)), _c(16))
        return b.bitcast(b.or_(b.select(is_special, special, scaled), sign), F32)

    return types.float32(types.int16), code


@intrinsic
def _round_float16(context, value):
    """Round to nearest, ties to even; subnormal results through the addition of a number with their last bit."""

    def code(_, b, __, args):
        u = b.bitcast(args[0], I32)
        sign = b.and_(u, _c(0x80000000))
        u = b.xor(u, sign)
        magic = _c((127 - 15 + 23 - 10 + 1) << 23)
        small = b.sub(b.bitcast(b.fadd(b.bitcast(u, F32), b.bitcast(magic, F32)), I32), magic)
        odd = b.and_(b.lshr(u, _c(13)), _c(1))
        normal = b.lshr(b.add(b.add(u, _c(((15 - 127) << 23) + 0xFFF)), odd), _c(13))
        large = b.select(b.icmp_unsigned(">", u, _c(0x7F800000)), _c(0x7E00), _c(0x7C00))
        result = b.select(b.icmp_unsigned("<", u, _c(113 << 23)), small, normal)
        result = b.select(b.icmp_unsigned(">=", u, _c((127 + 16) << 23)), large, result)
        return b.trunc(b.or_(result, b.lshr(sign, _c(16))), I16)

    return types.int16(types.float32), code


@intrinsic
def key_of_row(context, key, first):
    """The key with which ``shared_hash(i)`` is that of element ``first + i``."""

    def code(_, b, __, args):
        return b.add(args[0], b.mul(b.trunc(args[1], I32), _c(GOLDEN)))

    return types.uint32(types.uint32, types.int64), code


@intrinsic
def shared_hash(context, index, key):
    def code(_, b, __, args):
        x = b.add(b.mul(b.trunc(args[0], I32), _c(GOLDEN)), args[1])
        return b.mul(b.xor(x, b.lshr(x, _c(16))), _c(SHARED))

    return types.uint32(types.int64, types.uint32), code


@intrinsic
def finish_hash(context, shared, offset, multiplier):
    def code(_, b, __, args):
        y = b.add(args[0], args[1])
        return b.mul(b.xor(y, b.lshr(y, _c(16))), args[2])

    return types.uint32(types.uint32, types.uint32, types.uint32), code


@intrinsic
def at_most(context, left, right):
    def code(_, b, __, args):
        return b.icmp_unsigned("<=", args[0], args[1])

    return types.boolean(types.uint32, types.uint32), code


@intrinsic
def above(context, left, right):
    def code(_, b, __, args):
        return b.icmp_unsigned(">", args[0], args[1])

    return types.boolean(types.uint32, types.uint32), code


@intrinsic
def sign_bits(context, x):
    """The sign bit alone."""

    def code(_, b, __, args):
        return b.and_(b.bitcast(args[0], I32), _c(0x80000000))

    return types.uint32(types.float32), code


@intrinsic
def flip(context, x, sign):
    """Negate where the sign bit is set."""

    def code(_, b, __, args):
        return b.bitcast(b.xor(b.bitcast(args[0], I32), args[1]), F32)

    return types.float32(types.float32, types.uint32), code


@intrinsic
def uniform(context, bits):
    """The upper 24 bits as a float32 in [0, 1)."""

    def code(_, b, __, args):
        return b.fmul(b.sitofp(b.lshr(args[0], _c(8)), F32), ir.Constant(F32, 2.0**-24))

    return types.float32(types.uint32), code


@intrinsic
def _rank_to_float(context, rank):
    def code(_, b, __, args):
        return b.sitofp(b.zext(args[0], I32), F32)

    return types.float32(types.uint16), code


@intrinsic
def where(context, condition, yes, no):
    """Both sides are computed, so that a loop stays free of branches."""

    def code(_, b, __, args):
        return b.select(args[0], args[1], args[2])

    return yes(types.boolean, yes, yes), code


@compiled
def absolute(x):
    return abs(x)


@compiled
def divide(x, y):
    return x / y


@compiled
def load_bfloat16(array, i):
    return _widen_bfloat16(array[i])


@compiled
def load_float16(array, i):
    return _widen_float16(array[i])


@compiled
def load_float32(array, i):
    return array[i]


@compiled
def load_rank(array, i):
    return _rank_to_float(array[i]) * RANK_UNIT


@compiled
def load_mask(array, i):
    return array[i]


@compiled
def store_bfloat16(array, i, value):
    array[i] = _round_bfloat16(value)


@compiled
def store_float16(array, i, value):
    array[i] = _round_float16(value)


@compiled
def store_float32(array, i, value):
    array[i] = value
