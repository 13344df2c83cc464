from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from searcher.merge.counter_hash import model_key
from searcher.merge.kernels import reference
from searcher.merge.kernels.source import KernelText
from searcher.merge.kernels.spec import kernel_spec, scalars
from searcher.merge.plan import KeepMagnitude, KeepRandom
from tests.merge.kernels import numpy_functions
from tests.merge.kernels.cases import AVERAGES, KEEPS, SOURCES, STORED, Case, assert_same_bits, merged

ENDINGS = ((1.0, 1.0, 1.0), (None, 0.75, -1.0), (0.5, 1.0, -1.0))  # origin, factor, zero_sign


def check_text(case: Case) -> None:
    plan, buffers = case.build()
    found, expected = merged(numpy_functions.execute, plan, buffers), merged(reference.execute, plan, buffers)
    assert_same_bits(found, expected)


@pytest.mark.parametrize("keep", KEEPS)
def test_text_of_every_keep_with_every_vote_and_average_equals_the_reference(keep: str) -> None:
    for j, (average, stored) in enumerate(itertools.product(AVERAGES, STORED)):
        origin, factor, zero_sign = ENDINGS[j % 3]
        rows = 1 + 2 * (j % 2)
        check_text(
            Case(
                keep, average, 2 + j % 3, SOURCES[j % 4], "float32", stored, rows, 96, origin, factor, zero_sign, seed=j
            )
        )


@pytest.mark.parametrize("n_models", range(1, 13))
def test_text_of_any_number_of_models_equals_the_reference(n_models: int) -> None:
    for keep, average in (("above_tie", AVERAGES[1]), ("variance_tie", AVERAGES[8]), ("random", AVERAGES[9])):
        check_text(Case(keep, average, n_models, row_length=64, out="float32", seed=n_models))


@pytest.mark.parametrize("keep", KEEPS)
def test_infinities_and_nan_end_as_in_the_reference(keep: str) -> None:
    for average in AVERAGES:
        plan, buffers = Case(keep, average, sources="float32", out="float32").build()
        for model, i, value in ((0, 5, "nan"), (1, 7, "inf"), (0, 9, "-inf"), (1, 9, "inf"), (0, 11, "-inf")):
            buffers.models[model][i] = float(value)
        found, expected = merged(numpy_functions.execute, plan, buffers), merged(reference.execute, plan, buffers)
        assert_same_bits(found, expected)


def test_a_model_of_scale_zero_has_no_unweighted_vote() -> None:
    plan, buffers = Case(average=("agreeing", "unweighted"), n_models=3, out="float32").build()
    plan = replace(plan, scales=plan.scales * np.array([[1.0, 0.0, 1.0]]))
    found, expected = merged(numpy_functions.execute, plan, buffers), merged(reference.execute, plan, buffers)
    assert_same_bits(found, expected)


def test_rows_without_a_base_beside_rows_with_one() -> None:
    plan, buffers = Case("above", n_rows=3, out="float32").build()
    nothing = KeepMagnitude(np.full((3, 2), 9.0, np.float32))
    origin = np.array([0.0, 1.0, 0.5])
    plan = replace(plan, scales=-np.abs(plan.scales), keep=nothing, origin=origin)
    found, expected = merged(numpy_functions.execute, plan, buffers), merged(reference.execute, plan, buffers)
    assert_same_bits(found, expected)


def test_the_text_of_ties() -> None:
    plan, buffers = Case("above", ("agreeing", "weighted"), n_models=1, origin=1.0).build()
    text = KernelText(kernel_spec(plan, buffers))
    assert text.arrays == ["out", "base", "model0"]
    assert text.prelude == ["scale0 = floats[row, 0]", "low0 = floats[row, 1]", "weight0 = floats[row, 2]"]
    assert text.body == [
        "b = load_bfloat16(base, i)",
        "v0 = load_bfloat16(model0, i) - b",
        "a0 = absolute(v0)",
        "m0 = where((a0 > low0), v0, ZERO)",
        "s0 = m0 * scale0",
        "vote = s0",
        "sign = sign_bits(vote)",
        "x0 = flip(s0, sign)",
        "t0 = where(x0 > ZERO, x0, ZERO)",
        "value = t0",
        "w0 = where(x0 > ZERO, weight0, ZERO)",
        "divisor = w0",
        "value = divide(value, where(divisor == ZERO, ONE, divisor))",
        "value = flip(value, sign)",
        "value = value + b",
    ]


def test_numbers_change_the_tables_and_not_the_text() -> None:
    plan, buffers = Case("band_tie", ("agreeing", "weighted"), n_rows=2).build()
    assert isinstance(plan.keep, KeepMagnitude)
    other = replace(plan, scales=plan.scales * 2, keep=replace(plan.keep, low=plan.keep.low * 2))
    spec = kernel_spec(plan, buffers)
    assert spec == kernel_spec(other, buffers)
    assert hash(spec) == hash(kernel_spec(other, buffers))
    assert not np.array_equal(scalars(plan, spec, buffers.names)[0], scalars(other, spec, buffers.names)[0])


def test_the_order_of_scalars() -> None:
    case = Case("band_tie", ("agreeing", "weighted"), n_rows=2, origin=0.5, factor=0.25)
    plan, buffers = case.build()
    keep = plan.keep
    assert isinstance(keep, KeepMagnitude)
    assert keep.low_tie is not None
    assert keep.high is not None
    assert keep.high_tie is not None
    assert plan.origin is not None
    spec = kernel_spec(plan, buffers)
    floats, whole = scalars(plan, spec, buffers.names)
    above = np.nextafter(keep.low, np.float32(np.inf))
    weights = np.broadcast_to(np.abs(plan.weights), (2, 2))
    parts: list[NDArray[Any]] = [
        plan.scales,
        keep.low,
        above,
        keep.high,
        weights,
        plan.factor[:, None],
        plan.origin[:, None],
    ]
    np.testing.assert_array_equal(floats, np.concatenate(parts, axis=1).astype(np.float32))
    np.testing.assert_array_equal(whole, np.concatenate([keep.low_tie, keep.high_tie], axis=1))
    named = [line.split(" = ")[0] for line in KernelText(spec).prelude if "floats" in line]
    assert named == [
        "scale0", "scale1", "low0", "low1", "above_low0", "above_low1", "high0", "high1", "weight0", "weight1",
        "factor", "origin",
    ]  # fmt: skip


def test_keys_of_models_are_scalars() -> None:
    plan, buffers = Case("random", n_models=2).build()
    assert isinstance(plan.keep, KeepRandom)
    floats, whole = scalars(plan, kernel_spec(plan, buffers), buffers.names)
    assert floats.dtype == np.float32
    bounds = [int(b) - 1 for b in plan.keep.bounds]
    assert whole.tolist() == [[*bounds, *model_key("m0"), *model_key("m1")]]


def test_the_base_is_read_only_where_it_is_needed() -> None:
    def reads_base(case: Case) -> bool:
        plan, buffers = case.build()
        return bool(kernel_spec(plan, buffers).dtypes[1])

    assert not reads_base(Case(stored=("weights", "weights"), origin=None))
    assert not reads_base(Case(stored=("deltas", "deltas"), origin=0.0))
    assert reads_base(Case(stored=("weights", "mixed"), origin=None))
    assert reads_base(Case(stored=("deltas", "weights"), origin=None))
    assert reads_base(Case(stored=("weights", "weights"), origin=0.5))


def test_the_specification_names_storage_types() -> None:
    plan, buffers = Case(sources="mixed", n_models=3, out="float16").build()
    assert kernel_spec(plan, buffers).dtypes == ("float16", "float32", "bfloat16", "float16", "float32")
    assert buffers.models[0].dtype == torch.bfloat16
