"""Settings of components are read from their constructors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import ValidationError

from searcher.components import SUPPLIED, argument_help, settings_model, summary
from searcher.registry import Registry
from searcher.spaces.base import SPACES
from searcher.strategies.base import STRATEGIES, Problem


class Climber:
    """Climbs one step at a time.

    It never goes back.

    Args:
        problem: Not a setting.
        step: How far to go,
            as a fraction of the cube.
        kind: Which neighbours are tried:
            ``all`` or ``one``.

        patience: Steps without progress; None: no limit.

    Raises:
        ValueError: If step: is not positive.
    """

    def __init__(
        self,
        problem: Problem,
        position: int = 3,
        *,
        step: float,
        kind: Literal["all", "one"] = "all",
        patience: int | None = None,
        root: Path = Path(),
        undocumented: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        self.settings = (problem, position, step, kind, patience, root, undocumented)


def test_keyword_only_parameters_are_the_settings() -> None:
    model = settings_model("hill_climbing", Climber)
    assert model.__name__ == "HillClimbing"
    assert list(model.model_fields) == ["name", "step", "kind", "patience", "undocumented"]  # no position, no root
    assert model.model_fields["step"].is_required()
    assert model.model_fields["undocumented"].default == (0.0, 1.0)
    found: Any = model.model_validate({"name": "hill_climbing", "step": 1, "undocumented": [0, 2]})
    assert (found.step, found.kind, found.patience, found.undocumented) == (1.0, "all", None, (0.0, 2.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {},  # step is missing
        {"step": 0.1, "stepp": 1},
        {"step": "far"},
        {"step": float("nan")},
        {"step": float("inf")},
        {"step": 0.1, "kind": "some"},
        {"step": 0.1, "name": "another"},
        {"step": 0.1, "problem": None},
        {"step": 0.1, "root": "/"},
        {"step": 0.1, "position": 1},
    ],
)
def test_wrong_settings_are_refused_without_repeating_them(wrong: dict[str, Any]) -> None:
    model = settings_model("hill_climbing", Climber)
    with pytest.raises(ValidationError) as caught:
        model.model_validate({"name": "hill_climbing", **wrong})
    assert "far" not in str(caught.value)


def test_the_key_of_the_name_can_be_another() -> None:
    model = settings_model("accuracy", Climber, key="type")
    assert next(iter(model.model_fields)) == "type"
    model.model_validate({"type": "accuracy", "step": 1.0})


def test_help_is_the_args_section() -> None:
    assert argument_help(Climber) == {
        "problem": "Not a setting.",
        "step": "How far to go, as a fraction of the cube.",
        "kind": "Which neighbours are tried: ``all`` or ``one``.",
        "patience": "Steps without progress; None: no limit.",
    }
    fields = settings_model("x", Climber).model_fields
    assert fields["step"].description == "How far to go, as a fraction of the cube."
    assert fields["name"].description == "Climbs one step at a time."
    assert fields["undocumented"].description is None


def test_a_component_without_a_docstring_has_no_help() -> None:
    def bare(*, x: int = 1) -> int:
        return x

    assert (summary(bare), argument_help(bare)) == ("", {})
    assert list(settings_model("bare", bare).model_fields) == ["name", "x"]


def test_a_function_is_read_like_a_class() -> None:
    def build(problem: Problem, *, size: int) -> int:
        """Builds.

        Args:
            size: How many.
        """
        return size

    model = settings_model("build", build)
    assert model.model_fields["size"].description == "How many."
    assert model.model_fields["size"].is_required()


@pytest.mark.parametrize("name", ["optuna:TPE-Sampler", "a.b_c"])
def test_any_name_gives_a_model(name: str) -> None:
    assert settings_model(name, Climber).__name__.isidentifier()


@pytest.mark.parametrize(("registry", "name"), [(t, n) for t in (STRATEGIES, SPACES) for n in t.names()])
def test_no_registered_component_offers_what_the_program_supplies(registry: Registry[Any], name: str) -> None:
    component: Callable[..., Any] = registry.get(name)
    assert not (set(settings_model(name, component).model_fields) - {"name"}) & SUPPLIED
