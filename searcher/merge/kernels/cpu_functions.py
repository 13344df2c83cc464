"""Hashes and arithmetic that generated CPU kernels call, compiled into them by numba.

numba widens 32-bit integers to 64 bits, which halves what one vector instruction does; hashes are therefore
written in LLVM's 32-bit operations.
"""

# numba has no types; the file is executed by it and only imported by generated code
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN201, ANN202, D103

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from searcher.merge.counter_hash import GOLDEN, HIGH, SHARED

ZERO, ONE = np.float32(0.0), np.float32(1.0)
FLOAT = np.float32
I32, F32 = ir.IntType(32), ir.FloatType()

compiled = njit(nogil=True, error_model="numpy")


def _c(value):
    return ir.Constant(I32, value & 0xFFFFFFFF)


@intrinsic
def key_of_row(context, key, first):
    """The key with which ``shared_hash(i)`` is that of element ``first + i``."""

    def code(_, b, __, args):
        return b.add(args[0], b.mul(b.trunc(args[1], I32), _c(GOLDEN)))

    return types.uint32(types.uint32, types.int64), code


@intrinsic
def next_key(context, key):
    """The key of the element after."""

    def code(_, b, __, args):
        return b.add(args[0], _c(GOLDEN))

    return types.uint32(types.uint32), code


@intrinsic
def key_of_member(context, key, start):
    """The key of a tensor for indices from ``start`` to the next multiple of 2^32."""

    def code(_, b, __, args):
        high = b.trunc(b.lshr(args[1], ir.Constant(args[1].type, 32)), I32)
        return b.add(b.trunc(args[0], I32), b.mul(high, _c(HIGH)))

    return types.uint32(types.int64, types.int64), code


def _mixed(b, x):
    return b.mul(b.xor(x, b.lshr(x, _c(16))), _c(SHARED))


@intrinsic
def pair_hash(context, index, key):
    """``shared_hash`` of element ``2 * index``."""

    def code(_, b, __, args):
        return _mixed(b, b.add(b.mul(b.trunc(args[0], I32), _c(2 * GOLDEN)), args[1]))

    return types.uint32(types.int64, types.uint32), code


@intrinsic
def shared_hash(context, index, key):
    def code(_, b, __, args):
        return _mixed(b, b.add(b.mul(b.trunc(args[0], I32), _c(GOLDEN)), args[1]))

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
