"""Strategies by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from searcher.errors import ConfigError, UnknownNameError
from searcher.strategies.base import Problem
from searcher.strategies.cma_es import CmaEs
from searcher.strategies.factory import make_strategy
from searcher.strategies.optuna_sampler import OptunaSampler

PROBLEM = Problem(("a", "b"), ("score",), 100, 0)


def test_makes_registered_and_optuna_strategies() -> None:
    assert isinstance(make_strategy("cma_es", PROBLEM, {"population": 5}), CmaEs)
    assert isinstance(make_strategy("optuna:TPESampler", PROBLEM, {"n_startup_trials": 5}), OptunaSampler)


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("cma-es", {}, "Did you mean 'cma_es'"),
        ("tpe", {}, "optuna:SAMPLER"),
        ("optuna:TPE", {}, "optuna:TPESampler"),
        ("cma_es", {"sigma": 0.2}, "Did you mean 'sigma0'"),
        ("random", {"population": 3}, "no settings"),
        ("nsga2", {"population": 2}, "at least 4"),
        ("optuna:TPESampler", {"startup_trials": 3}, "Did you mean 'n_startup_trials'"),
    ],
)
def test_errors_name_the_nearest(name: str, settings: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_strategy(name, PROBLEM, settings)
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


def test_unknown_name_is_of_its_own_class() -> None:
    with pytest.raises(UnknownNameError):
        make_strategy("simulated_annealing", PROBLEM, {})


def test_loading_the_registry_imports_no_heavy_package() -> None:
    code = (
        "import sys; from searcher.strategies.base import STRATEGIES; STRATEGIES.load();"
        "print([m for m in ('torch', 'optuna', 'cma', 'scipy', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
