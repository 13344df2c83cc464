"""Values over layers and tensor names."""

from __future__ import annotations

from typing import Any

import pytest

from searcher.mergekit.setting import Branch, Kind, Setting, interpolated, scalar


@pytest.mark.parametrize(
    ("values", "t", "expected"),
    [
        ((0.5,), 1.0, 0.5),
        ((0.0, 1.0), 0.25, 0.25),
        ((0.0, 0.5, 0.3, 0.7, 1.0), 1 / 3, 0.5 * 2 / 3 + 0.3 / 3),
        ((0.0, 1.0), 0.0, 0.0),
        ((0.0, 2.0), 1.0, 2.0),
        ((True, False), 0.9, True),
        ((True, False), 1.0, False),
        ((4, 8), 0.5, 6),
    ],
)
def test_gradients_are_interpolated_and_switches_are_not(values: Any, t: float, expected: float) -> None:
    assert interpolated(values, t) == pytest.approx(expected)
    assert type(interpolated(values, t)) is type(values[0])


def test_the_first_branch_that_matches_holds() -> None:
    setting = Setting((Branch((1.0,), "mlp"), Branch((2.0,), "layers.1."), Branch((0.0, 4.0))))
    assert setting.at("model.layers.1.mlp.up_proj.weight", 0.5) == 1.0
    assert setting.at("model.layers.1.self_attn.q_proj.weight", 0.5) == 2.0
    assert setting.at("model.norm.weight", 0.5) == 2.0
    assert Setting((Branch((1.0,), "mlp"),)).at("model.norm.weight", 0.0) is None
    assert Setting((Branch((1.0,), "*"),)).at("model.norm.weight", 0.0) == 1.0
    assert Setting((Branch((), "norm"), Branch((1.0,)))).at("model.norm.weight", 0.0) is None  # as mergekit


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [(1, "float", 1.0), ("1e-5", "float", 1e-5), (True, "float", 1.0), ("yes", "bool", True), (0, "bool", False),
     ("off", "bool", False), (7.0, "int", 7), ("8", "int", 8)],
)  # fmt: skip
def test_scalars_are_read_as_mergekit_reads_them(value: object, kind: Kind, expected: object) -> None:
    assert scalar(value, kind) == expected
    assert type(scalar(value, kind)) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(float("nan"), "float"), (float("inf"), "float"), ("nan", "float"), ("much", "float"), (None, "float"), (10**400, "float"),
     ([1], "float"), ({}, "float"), (1.5, "int"), (True, "int"), (2, "bool"), ("perhaps", "bool"), (None, "bool"), (1e300, "int")],
)  # fmt: skip
def test_what_is_no_ordinary_scalar_is_refused(value: object, kind: Kind) -> None:
    with pytest.raises(ValueError, match="expected"):
        scalar(value, kind)
