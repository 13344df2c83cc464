"""How generated CPU kernels read and write stored numbers, compiled into them by numba.

Arrays arrive as addresses, so that one call of a kernel can work on many tensors. 16-bit numbers are also read and
written two at a time, as the halves of a word: a vector of words is one load, and each half takes one operation
to widen, where a vector of 16-bit numbers takes two. Loads and stores are told not to expect alignment.
"""

# numba has no types; the file is executed by it and only imported by generated code
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN202

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

RANK_UNIT = float(np.float32(1.0 / 65535.0))
I8, I16, I32, F32 = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()


def _c(value):
    return ir.Constant(I32, value & 0xFFFFFFFF)


def _place(b, args, kind):
    """Pointer to element ``args[1]`` of an array of LLVM type ``kind`` at address ``args[0]``."""
    return b.gep(b.inttoptr(args[0], kind.as_pointer()), [args[1]], inbounds=True)


def _loader(result, kind, align, widen):
    """A function of an address and an index."""

    @intrinsic
    def load(context, address, i):
        def code(_, b, __, args):
            loaded = b.load(_place(b, args, kind), align=align)
            return widen(b, loaded)

        return result(types.int64, types.int64), code

    return load


def _storer(kind, align, narrow):
    """A function of an address, an index and a value."""

    @intrinsic
    def store(context, address, i, value):
        def code(_, b, __, args):
            b.store(narrow(b, args[2]), _place(b, args, kind), align=align)
            return ir.Constant(I32, 0)

        return types.int32(types.int64, types.int64, types.float32), code

    return store


def _half(widen, high):
    """A function of a word: the number in one of its halves."""

    @intrinsic
    def half(context, word):
        def code(_, b, __, args):
            return widen(b, args[0], high)

        return types.float32(types.uint32), code

    return half


def _pair_storer(narrow):
    """A function of an address, an index, and the numbers for the lower and the upper half of a word."""

    @intrinsic
    def store(context, address, i, low, high):
        def code(_, b, __, args):
            low, high = (narrow(b, x) for x in args[2:])
            b.store(b.or_(low, b.shl(high, _c(16))), _place(b, args, I32), align=2)
            return ir.Constant(I32, 0)

        return types.int32(types.int64, types.int64, types.float32, types.float32), code

    return store


def _widen_bfloat16(b, word, high):
    bits = b.and_(word, _c(0xFFFF0000)) if high else b.shl(word, _c(16))
    return b.bitcast(bits, F32)


def _round_bfloat16(b, value):
    """Round to nearest, ties to even; NaN stays NaN. 16 bits in 32."""
    u = b.bitcast(value, I32)
    odd = b.and_(b.lshr(u, _c(16)), _c(1))
    rounded = b.lshr(b.add(u, b.add(_c(0x7FFF), odd)), _c(16))
    is_nan = b.fcmp_unordered("uno", value, value)
    return b.select(is_nan, _c(0x7FC0), rounded)


def _widen_float16(b, word, high):
    """By a multiplication with 2^112, which also makes subnormal numbers normal."""
    h = b.lshr(word, _c(16)) if high else word
    magnitude = b.shl(b.and_(h, _c(0x7FFF)), _c(13))
    scaled = b.bitcast(b.fmul(b.bitcast(magnitude, F32), b.bitcast(_c(0x77800000), F32)), I32)
    special = b.or_(magnitude, _c(0x7F800000))
    is_special = b.icmp_unsigned(">=", magnitude, _c(0x0F800000))
    sign = b.shl(b.and_(h, _c(0x8000)), _c(16))
    return b.bitcast(b.or_(b.select(is_special, special, scaled), sign), F32)


def _round_float16(b, value):
    """Round to nearest, ties to even; subnormal results through the addition of a number with their last bit."""
    u = b.bitcast(value, I32)
    sign = b.and_(u, _c(0x80000000))
    u = b.xor(u, sign)
    magic = _c((127 - 15 + 23 - 10 + 1) << 23)
    small = b.sub(b.bitcast(b.fadd(b.bitcast(u, F32), b.bitcast(magic, F32)), I32), magic)
    odd = b.and_(b.lshr(u, _c(13)), _c(1))
    normal = b.lshr(b.add(b.add(u, _c(((15 - 127) << 23) + 0xFFF)), odd), _c(13))
    large = b.select(b.icmp_unsigned(">", u, _c(0x7F800000)), _c(0x7E00), _c(0x7C00))
    result = b.select(b.icmp_unsigned("<", u, _c(113 << 23)), small, normal)
    result = b.select(b.icmp_unsigned(">=", u, _c((127 + 16) << 23)), large, result)
    return b.or_(result, b.lshr(sign, _c(16)))


def _rank(b, word, high):
    """A 16-bit rank as a fraction of the highest."""
    bits = b.lshr(word, _c(16)) if high else b.and_(word, _c(0xFFFF))
    return b.fmul(b.sitofp(bits, F32), ir.Constant(F32, RANK_UNIT))


def _lone(widen):
    """From 16 bits, through a word that holds them in its lower half."""
    return lambda b, bits: widen(b, b.zext(bits, I32), False)


def _trimmed(narrow):
    return lambda b, value: b.trunc(narrow(b, value), I16)


load_bfloat16 = _loader(types.float32, I16, 2, _lone(_widen_bfloat16))
load_float16 = _loader(types.float32, I16, 2, _lone(_widen_float16))
load_rank = _loader(types.float32, I16, 2, _lone(_rank))
load_float32 = _loader(types.float32, F32, 4, lambda b, x: x)
load_mask = _loader(types.boolean, I8, 1, lambda b, x: b.icmp_unsigned("!=", x, ir.Constant(I8, 0)))
load_word = _loader(types.uint32, I32, 2, lambda b, x: x)
low_bfloat16, high_bfloat16 = _half(_widen_bfloat16, False), _half(_widen_bfloat16, True)
low_float16, high_float16 = _half(_widen_float16, False), _half(_widen_float16, True)
low_rank, high_rank = _half(_rank, False), _half(_rank, True)
store_bfloat16 = _storer(I16, 2, _trimmed(_round_bfloat16))
store_float16 = _storer(I16, 2, _trimmed(_round_float16))
store_float32 = _storer(F32, 4, lambda b, x: x)
store_pair_bfloat16 = _pair_storer(_round_bfloat16)
store_pair_float16 = _pair_storer(_round_float16)
