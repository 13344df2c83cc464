from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pytest
from typing_extensions import override

from searcher.errors import ConfigError, UnknownNameError
from searcher.merge.operators.base import (
    OPERATORS,
    Choice,
    ExecutionClass,
    Operator,
    Setting,
    make_operator,
    per_model,
)
from searcher.merge.operators.ties import Ties

if TYPE_CHECKING:
    from collections.abc import Iterator

    from searcher.merge.facts import TensorFacts
    from searcher.merge.plan import TensorPlan


@dataclass(frozen=True)
class Whole(Operator):
    """An operator with a whole-number setting."""

    execution_class: ClassVar[ExecutionClass] = "E1"
    needs_base: ClassVar[bool] = False
    reference: ClassVar[str] = "test"

    seed: Annotated[int, Setting(0, 100, "seed", maximum=1000)] = 0
    plain: Annotated[bool, Choice("help")] = True

    @override
    def plan(self, coefficients: tuple[float, ...], facts: TensorFacts) -> TensorPlan:
        raise NotImplementedError


@pytest.fixture
def whole() -> Iterator[str]:
    name = "whole_for_test"
    OPERATORS.load()
    OPERATORS.register(name)(Whole)
    yield name
    OPERATORS._by_name.pop(name)


def test_settings_reach_the_fields() -> None:
    found = make_operator("ties", {"lambda": 2, "density": [0.5, 0.25], "vote": "unweighted", "normalize": False})
    assert found == Ties(density=(0.5, 0.25), lambda_=2.0, vote="unweighted", normalize=False)
    assert Ties.settings() == {
        "density": 1.0, "lambda": 1.0, "vote": "weighted", "normalize": True, "rescale": False, "convention": "paper",
        "lines_alpha": 1.0, "lines_beta": 0.0,
    }  # fmt: skip


def test_equal_settings_give_one_object() -> None:
    assert make_operator("ties", {"density": 0.5, "lambda": 1.0}) is make_operator(
        "ties", {"lambda": 1.0, "density": 0.5}
    )


def test_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'density'") as caught:
        make_operator("ties", {"densty": 0.5})
    assert str(caught.value).count("\n") == 2


def test_unknown_operator_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'slerp'"):
        make_operator("slrp", {})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("density", -0.1),
        ("density", 1.5),
        ("density", float("nan")),
        ("density", (0.5, 2.0)),
        ("density", True),
        ("density", "half"),
        ("lambda", float("inf")),
        ("lambda", (1.0, 1.0)),
        ("normalize", 1),
        ("normalize", "yes"),
        ("vote", "heavy"),
        ("vote", 1.0),
    ],
)
def test_wrong_values_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        make_operator("ties", {key: value})
    assert caught.value.where == f"operator.{key}"
    assert str(caught.value).count("\n") == 2


def test_true_is_not_one_even_after_true_was_accepted() -> None:
    make_operator("linear", {"normalize": True})
    with pytest.raises(ConfigError):
        make_operator("linear", {"normalize": 1.0})


def test_whole_numbers(whole: str) -> None:
    assert make_operator(whole, {"seed": 7.0}) == Whole(seed=7)
    assert isinstance(make_operator(whole, {"seed": 7.0}).seed, int)  # type: ignore[attr-defined]
    make_operator(whole, {"seed": 1000})
    for value in (0.5, 1001, -1):
        with pytest.raises(ConfigError, match="seed"):
            make_operator(whole, {"seed": value})


def test_depth_scaling_grows_over_the_blocks() -> None:
    operator = Whole(lines_alpha=0.5, lines_beta=1.0)
    assert [operator.lines_scale(block, 3) for block in (0, 1, 2, None)] == [0.5, 1.0, 1.5, 0.5]
    assert operator.lines_scale(0, 1) == 0.5
    assert Whole().lines_scale(2, 3) == 1.0


def test_one_value_per_model() -> None:
    assert per_model(0.5, 2, "density") == (0.5, 0.5)
    assert per_model((0.5, 0.1), 2, "density") == (0.5, 0.1)
    with pytest.raises(ValueError, match="one density per model, 2 of them, but got 3"):
        per_model((0.5, 0.1, 0.2), 2, "density")
