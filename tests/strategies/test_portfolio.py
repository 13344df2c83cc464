"""The portfolio: one history for all, more proposals for those that improve it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from searcher.candidate import Genome, Trial
from searcher.components import settings_model
from searcher.errors import ConfigError
from searcher.strategies.base import Problem
from searcher.strategies.portfolio import Portfolio


def problem(n_objectives: int = 1, budget: int = 200) -> Problem:
    return Problem(tuple("abcd"), tuple(f"o{i}" for i in range(n_objectives)), budget, 5)


def sphere(genome: Genome) -> float:
    return -float(np.sum((genome - 0.3) ** 2))


def run(strategy: Portfolio, n: int) -> list[float]:
    found = []
    for number in range(n):
        genome = strategy.ask(1)[0].genome
        found.append(sphere(genome))
        strategy.tell([Trial(number, genome, (), np.array([found[-1]]))])
    return found


def test_what_improves_gets_more_proposals() -> None:
    strategy = Portfolio(problem(), members=("cma_es", "random"))
    run(strategy, 120)
    cma_es, random = strategy._n_proposed
    assert cma_es > 2 * random
    assert random > 0
    assert f"cma_es {cma_es / 120:.0%}" in strategy.describe()


def test_every_member_is_told_of_everything() -> None:
    strategy = Portfolio(problem(), members=("random", {"name": "natural_niches", "archive": 500, "warm_up": 0}))
    strategy.tell([Trial(900, np.full(4, 0.5), (), np.array([-1.0]))])
    run(strategy, 60)
    assert strategy._n_proposed[0] > 0
    niches: Any = strategy._members[1]
    assert len(niches.members) == 61


def test_cma_es_takes_up_what_others_found() -> None:
    taught = Portfolio(problem(), members=({"name": "cma_es", "sigma0": 0.02}, "random"))
    cma_es: Any = taught._members[0]
    cma_es.ask(1)
    best = [*cma_es._results]
    taught.tell([Trial(0, np.full(4, 0.3), (), np.array([0.0])), Trial(1, np.full(4, 0.9), (), np.array([-5.0]))])
    assert len(cma_es._results) == len(best) + 1


def test_members_draw_different_numbers() -> None:
    strategy = Portfolio(problem(), members=("random", "random"))
    first, second = (member.ask(1)[0].genome.tolist() for member in strategy._members)
    assert first != second


def test_default_members_follow_from_the_objectives() -> None:
    assert "cma_es" in Portfolio(problem()).describe()
    assert "nsga2" in Portfolio(problem(2)).describe()


def test_example_scores_are_asked_for_if_a_member_wants_them() -> None:
    assert Portfolio(problem(), members=("cma_es", "natural_niches")).wants_examples
    assert not Portfolio(problem(), members=("cma_es", "random")).wants_examples


def test_the_config_accepts_names_and_mappings() -> None:
    model = settings_model("portfolio", Portfolio)
    section = model(name="portfolio", members=["random", {"name": "nsga2", "population": 20}])
    settings = section.model_dump(exclude={"name"})
    assert "nsga2" in Portfolio(problem(2), **settings).describe()


@pytest.mark.parametrize(
    "settings",
    [
        {"members": ("random",)},
        {"members": ("random", "portfolio")},
        {"members": ("random", {"population": 5})},
        {"members": ("random", 3)},
        {"members": ("random", "nothing")},
        {"members": ("random", {"name": "cma_es", "population": 2})},
        {"discount": 0.0},
        {"discount": 1.5},
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Portfolio(problem(), **settings)
    assert f"strategy.{next(iter(settings))}" in str(caught.value)
